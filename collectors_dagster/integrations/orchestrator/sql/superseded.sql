-- Materialisations that a newer one of the same partition replaced, and plans that came true or were made again. The
-- newest of each stays, so every partition keeps its state and its metadata.
with ranked as (
    select
        id,
        dagster_event_type as kind,
        "timestamp" as at,
        max(id) filter (where dagster_event_type = 'ASSET_MATERIALIZATION') over same as done,
        max(id) over same as newest
    from event_logs
    where asset_key is not null
      and dagster_event_type in ('ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED')
    window same as (partition by asset_key, partition)
),
doomed as (
    select id
    from ranked
    where at < %(before)s::timestamptz at time zone 'UTC'
      and id < case kind when 'ASSET_MATERIALIZATION' then done else newest end
    limit %(chunk)s::integer
),
tags as (
    delete from asset_event_tags using doomed where asset_event_tags.event_id = doomed.id
)
delete from event_logs using doomed where event_logs.id = doomed.id
