-- What tells how a run went (steps, logs, resources), of runs that ended long enough ago. The assets' own events
-- stay: the UI's partitions are made of them.
with doomed as (
    select e.id
    from event_logs as e
    join runs as r on r.run_id = e.run_id
    where r.status = any (%(statuses)s::text[])
      and r.end_time < extract(epoch from %(before)s::timestamptz)
      and e.asset_key is null
      and coalesce(e.dagster_event_type, '') not like 'ASSET\_%%'
    limit %(chunk)s::integer
)
delete from event_logs using doomed where event_logs.id = doomed.id
