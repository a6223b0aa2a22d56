-- name: ensure_partitions
-- Makes the partitions of core.sample for these days, if they are missing.
select core.ensure_sample_partitions(%(days)s::date[]);

-- name: drop_raw
-- Forgets one tenant's old samples: whole partitions where nobody needs them, rows otherwise.
select rows_deleted, partitions_dropped
from core.drop_raw_samples(%(tenant_key)s::integer, %(before)s::timestamptz);
