-- name: size
-- Bytes of all our tables and of the chunks of our hypertables, compressed or not, with indexes.
select (
    select coalesce(sum(pg_total_relation_size(c.oid)), 0)
    from pg_class c
    where c.relnamespace = 'core'::regnamespace and c.relkind = 'r'
      and not exists (
          select from timescaledb_information.hypertables h
          where h.hypertable_schema = 'core' and h.hypertable_name = c.relname
      )
)::bigint + (
    select coalesce(sum(hypertable_size(format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass)), 0)
    from timescaledb_information.hypertables h
    where h.hypertable_schema = 'core'
)::bigint;

-- name: interval
-- How much time a new chunk of the samples holds.
select time_interval from timescaledb_information.dimensions
where hypertable_schema = 'core' and hypertable_name = 'sample';

-- name: rate
-- Samples in a day and their series, by the last 24 whole hours if at least six of them have any, and a third of what
-- the planner believes to be cached: a quarter of the memory on a server that is set up for it.
select case when count(distinct bucket) >= 6 then sum(n) * 24 / count(distinct bucket) else 0 end::double precision,
       count(distinct series_id),
       pg_size_bytes(current_setting('effective_cache_size')) / 3
from core.sample_1h
where bucket >= date_bin('1 hour', %(now)s::timestamptz, '2000-01-01 00:00+00') - interval '24 hours'
  and bucket < date_bin('1 hour', %(now)s::timestamptz, '2000-01-01 00:00+00');

-- name: set_interval
-- Says how much time new chunks hold; those that are there stay as they are.
select set_chunk_time_interval('core.sample', %(interval)s::interval);

-- name: jobs
-- Background jobs that concern our tables or failed the last time: number, procedure, table, outcome.
select j.job_id, j.proc_name::text, j.hypertable_schema = 'core' or exists (
           select from timescaledb_information.continuous_aggregates a
           where a.view_schema = 'core' and a.materialization_hypertable_name = j.hypertable_name
       ), coalesce(s.last_run_status, '')
from timescaledb_information.jobs j
left join timescaledb_information.job_stats s using (job_id)
order by j.job_id;
