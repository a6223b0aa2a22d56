-- name: lift_limit
-- Lets this transaction decompress what it must: late samples meet compressed ones.
select set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true);

-- name: ready_to_refresh
-- Lets a refresh wait for others, each of which takes a fraction of a second, and decompress the hours that it renews.
select set_config('lock_timeout', '90s', false),
       set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', false);

-- name: lock_session
-- Lets one refresh run at a time, and no retention beside it, until the session ends.
select pg_advisory_lock(hashtextextended('collectors:aggregates', 0));

-- name: lock
-- The same until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('collectors:aggregates', 0));

-- name: bounds_hourly
-- What of a window may be refreshed: from where every tenant still has its samples, to the last hour that is over.
select
    greatest(%(start)s::timestamptz, (select max(raw_kept_from) from core.tenant)),
    least(%(end)s::timestamptz, date_bin('1 hour', now(), '2000-01-01 00:00+00'));

-- name: bounds_daily
-- The same for days: from where every tenant still has its hours, to the last day that is over.
select
    greatest(%(start)s::timestamptz, (select max(hourly_kept_from) from core.tenant)),
    least(%(end)s::timestamptz, date_bin('1 day', now(), '2000-01-01 00:00+00'));

-- name: refresh_hourly
-- Adds up the hours in which samples came or went.
call refresh_continuous_aggregate('core.sample_1h', %(start)s::timestamptz, %(end)s::timestamptz);

-- name: refresh_daily
-- Adds up the days in which hours came or went.
call refresh_continuous_aggregate('core.sample_1d', %(start)s::timestamptz, %(end)s::timestamptz);

-- name: drop_hourly
-- Forgets hourly aggregates.
select core.drop_hourly_aggregates(%(tenant_key)s::integer, %(before)s::timestamptz);

-- name: forget_activity
-- Forgets chunks that are gone.
delete from core.chunk_activity a
where not exists (select from timescaledb_information.chunks c where c.chunk_name = a.chunk_name);

-- name: note_activity
-- Notes how much was written to each chunk of samples and hours by now, and when that changed.
insert into core.chunk_activity as a (chunk_name, writes, changed_at)
select c.chunk_name, coalesce(s.n_tup_ins + s.n_tup_upd + s.n_tup_del, 0), %(now)s::timestamptz
from (values ('core.sample'::regclass), (core.kept_in('sample_1h'))) as h (kept_in)
join pg_class k on k.oid = h.kept_in
join timescaledb_information.chunks c
    on c.hypertable_schema = k.relnamespace::regnamespace::name and c.hypertable_name = k.relname
left join pg_stat_all_tables s on s.schemaname = c.chunk_schema and s.relname = c.chunk_name
on conflict (chunk_name) do update set writes = excluded.writes, changed_at = excluded.changed_at
where a.writes <> excluded.writes;

-- name: chunks
-- The chunks of samples, then of hours, oldest first. Bit 8 of a chunk's status says that rows came after it was
-- compressed.
select format('%I.%I', c.chunk_schema, c.chunk_name), c.range_start, c.range_end, c.is_compressed,
       (k.status & 8) <> 0, d.total_bytes,
       pg_total_relation_size(format('%I.%I', c.chunk_schema, c.chunk_name)::regclass), a.changed_at, h.of
from (values ('samples', 'core.sample'::regclass), ('hours', core.kept_in('sample_1h'))) as h (of, kept_in)
cross join lateral chunks_detailed_size(h.kept_in) d
join timescaledb_information.chunks c on c.chunk_schema = d.chunk_schema and c.chunk_name = d.chunk_name
join _timescaledb_catalog.chunk k on k.schema_name = c.chunk_schema and k.table_name = c.chunk_name
join core.chunk_activity a on a.chunk_name = c.chunk_name
order by h.of desc, c.range_start;

-- name: limit_waiting
-- Gives up early if others hold the chunk, but lets the work itself take its time.
select set_config('lock_timeout', '3s', true), set_config('statement_timeout', '30min', true);

-- name: decompress
-- Makes a chunk rows again.
select decompress_chunk(%(chunk)s::regclass);

-- name: compress
-- Compresses a chunk, or what came to it since.
select compress_chunk(%(chunk)s::regclass);

-- name: chunk_size
-- Bytes of a chunk with its indexes, compressed or not.
select d.total_bytes
from (values ('core.sample'::regclass), (core.kept_in('sample_1h'))) as h (kept_in)
cross join lateral chunks_detailed_size(h.kept_in) d
where format('%%I.%%I', d.chunk_schema, d.chunk_name) = %(chunk)s::text;

-- name: add_up_hourly
-- Adds up a tenant's own late samples from before the others' horizon, if there is one.
select core.add_up_hours(%(tenant_key)s::integer, %(start)s::timestamptz, %(end)s::timestamptz)
where exists (select from core.tenant where raw_kept_from > %(start)s::timestamptz);

-- name: add_up_daily
-- The same for days.
select core.add_up_days(%(tenant_key)s::integer, %(start)s::timestamptz, %(end)s::timestamptz)
where exists (select from core.tenant where hourly_kept_from > %(start)s::timestamptz);
