-- name: book
-- Books a load or a computation of a window; doing it again replaces the row.
insert into core.load (tenant_key, dataset, window_start, window_end, run_id, rows, sha256, detail)
values (
    %(tenant_key)s::integer, %(dataset)s::text, %(start)s::timestamptz, %(end)s::timestamptz,
    %(run_id)s::text, %(rows)s::bigint, %(sha256)s::text, %(detail)s::jsonb
)
on conflict (tenant_key, dataset, window_start, window_end) do update set
    run_id = excluded.run_id, rows = excluded.rows, sha256 = excluded.sha256,
    detail = excluded.detail, loaded_at = now();

-- name: entries
-- What is booked of one dataset in a span, by window.
select window_start, window_end, run_id, rows, sha256, detail, loaded_at
from core.load
where tenant_key = %(tenant_key)s::integer and dataset = %(dataset)s::text
  and window_end > %(start)s::timestamptz and window_start < %(end)s::timestamptz
order by window_start, window_end;

-- name: collection_report
-- Per source: samples expected and stored in a window, and what the agents say about them.
-- A series is expected from its first sample on (or the window's start), until now (or the window's end),
-- and only if it was seen in the window or the day before it.
with bounds as (
    select %(start)s::timestamptz as start, least(%(end)s::timestamptz, now()) as until
),
seen as materialized (
    select s.host, s.collector, s.series_id,
           greatest(b.start, oldest.ts - %(resolution)s::interval) as since, b.until
    from core.series s
    cross join bounds b
    cross join lateral (
        select p.ts from core.sample p
        where p.tenant_key = s.tenant_key and p.series_id = s.series_id
        order by p.ts limit 1
    ) oldest
    where s.tenant_key = %(tenant_key)s::integer and oldest.ts <= b.until and exists (
        select from core.sample p
        where p.tenant_key = s.tenant_key and p.series_id = s.series_id
          and p.ts > b.start - interval '1 day' and p.ts <= b.until
    )
),
stored as materialized (
    select series_id, count(*) as rows, max(ts) as last_ts
    from core.sample
    where tenant_key = %(tenant_key)s::integer and series_id = any (array(select series_id from seen))
      and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz
    group by series_id
),
sources as (
    select s.host, s.collector,
           sum(greatest(floor(extract(epoch from s.until - s.since) / extract(epoch from %(resolution)s::interval)), 0))::bigint as expected,
           coalesce(sum(t.rows), 0)::bigint as received, max(t.last_ts) as last_ts
    from seen s left join stored t using (series_id)
    group by s.host, s.collector
),
said as (
    select host, collector, sum(duplicates)::bigint as duplicates, sum(late)::bigint as late,
           sum(gap_seconds) as gap_seconds, sum(bytes)::bigint as bytes
    from core.delivery
    where tenant_key = %(tenant_key)s::integer
      and hour >= date_trunc('hour', %(start)s::timestamptz) and hour < %(end)s::timestamptz
    group by host, collector
)
select host, collector, coalesce(expected, 0), coalesce(received, 0), coalesce(duplicates, 0), coalesce(late, 0),
       coalesce(gap_seconds, 0), coalesce(bytes, 0), last_ts
from sources full join said using (host, collector)
order by host, collector;

-- name: clock_events
-- What happened to the hosts' clocks in a window.
select host, ts, kind, seconds
from core.clock_event
where tenant_key = %(tenant_key)s::integer and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz
order by ts, host, kind;

-- name: refused
-- What was refused in a window, most first; what came out of quarantine is not any more.
select origin, host, collector, reason, sum(samples)::bigint, min(example)
from core.refusal
where tenant_key = %(tenant_key)s::integer
  and hour >= date_trunc('hour', %(start)s::timestamptz) and hour < %(end)s::timestamptz
group by origin, host, collector, reason
having sum(samples) > 0
order by sum(samples) desc, host, collector, reason, origin;
