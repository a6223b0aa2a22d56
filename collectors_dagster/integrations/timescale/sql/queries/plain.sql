-- name: ensure_partitions
-- Makes the partitions of core.sample for these days, if they are missing.
select core.ensure_sample_partitions(%(days)s::date[]);

-- name: drop_raw
-- Forgets one tenant's old samples: whole partitions where nobody needs them, rows otherwise.
select rows_deleted, partitions_dropped
from core.drop_raw_samples(%(tenant_key)s::integer, %(before)s::timestamptz);

-- name: drop_hourly
-- Forgets hourly aggregates.
delete from core.sample_1h where tenant_key = %(tenant_key)s::integer and bucket < %(before)s::timestamptz;

-- name: size
-- Bytes of all our tables, with indexes.
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
from pg_class c
where c.relnamespace = 'core'::regnamespace and c.relkind = 'r';
