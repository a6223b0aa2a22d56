-- Bytes of the tables that grow, with their indexes.
select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint
from pg_class
where relnamespace = 'public'::regnamespace
  and relname in ('event_logs', 'asset_event_tags', 'asset_check_executions', 'job_ticks', 'runs', 'run_tags')
