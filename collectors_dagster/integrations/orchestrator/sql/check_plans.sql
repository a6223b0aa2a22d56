-- Plans of checks: the execution row says the same.
with doomed as (
    select id
    from event_logs
    where dagster_event_type = 'ASSET_CHECK_EVALUATION_PLANNED'
      and "timestamp" < %(before)s::timestamptz at time zone 'UTC'
    limit %(chunk)s::integer
)
delete from event_logs using doomed where event_logs.id = doomed.id
