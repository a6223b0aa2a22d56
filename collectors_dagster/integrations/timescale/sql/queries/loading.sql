-- name: lock
-- Lets one load of a tenant's dataset run at a time, until its transaction ends.
select pg_advisory_xact_lock(hashtextextended('collectors:load:' || %(dataset)s::text, %(tenant_key)s::bigint));

-- name: series_of
-- The keys of all series of these sources (host and collector).
select s.series_id
from core.series s
join unnest(%(hosts)s::text[], %(collectors)s::text[]) as w (host, collector) using (host, collector)
where s.tenant_key = %(tenant_key)s::integer
order by s.series_id;

-- name: delete_window
-- Empties a window (start excluded, end included) of these series. Never planned without their keys: TimescaleDB drops
-- whole compressed batches for constants, and decompresses them for what a plan only learns when it runs.
delete from core.sample
where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
  and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz;

-- name: contents
-- What a window holds of these series, packed by series: time and value in the order of time, 16 bytes each.
select series_id, string_agg(timestamptz_send(ts) || float8send(value), ''::bytea)
from (
    select series_id, ts, value from core.sample
    where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
      and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz
    order by series_id, ts
) ordered
group by series_id;

-- name: delete_instants
-- Deletes single values of one series; the first and the last of them lead to the chunks.
delete from core.sample
where tenant_key = %(tenant_key)s::integer and series_id = %(series_id)s::integer
  and ts = any (%(instants)s::timestamptz[]) and ts >= %(first)s::timestamptz and ts <= %(last)s::timestamptz;

-- name: insert_new
-- Adds what is not stored yet (times in microseconds since 2000); counts per series.
with added as (
    insert into core.sample (tenant_key, series_id, ts, value)
    select %(tenant_key)s::integer, series_id, '2000-01-01 00:00+00'::timestamptz + stamp * interval '1 microsecond', value
    from unnest(%(series_ids)s::integer[], %(stamps)s::bigint[], %(values)s::double precision[])
        as u (series_id, stamp, value)
    on conflict (tenant_key, series_id, ts) do nothing
    returning series_id
)
select series_id, count(*) from added group by series_id;

-- name: copy
-- Loads rows of (tenant_key, series_id, ts, value) in the binary format.
copy core.sample (tenant_key, series_id, ts, value) from stdin (format binary);
