-- Executions of checks but the newest of each, plans that were never followed up, and the events behind them.
with ranked as (
    select
        id,
        evaluation_event_storage_id as event_id,
        create_timestamp as at,
        execution_status as status,
        max(id) over (partition by asset_key, check_name, partition) as newest
    from asset_check_executions
),
doomed as (
    select id, event_id
    from ranked
    where (id < newest or status = 'PLANNED') and at < %(before)s::timestamptz at time zone 'UTC'
    limit %(chunk)s::integer
),
events as (
    delete from event_logs using doomed where event_logs.id = doomed.event_id
)
delete from asset_check_executions using doomed where asset_check_executions.id = doomed.id
