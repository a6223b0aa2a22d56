-- Looks of sensors that found nothing: one every few seconds.
with doomed as (
    select id
    from job_ticks
    where status = 'SKIPPED' and "timestamp" < %(before)s::timestamptz at time zone 'UTC'
    limit %(chunk)s::integer
)
delete from job_ticks using doomed where job_ticks.id = doomed.id
