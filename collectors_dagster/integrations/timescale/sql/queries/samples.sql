-- name: buckets
-- Mean and maximum per bucket, packed: one row per series, 24 bytes per bucket (end, mean, maximum).
-- Bucket ends are counted back from the window's end; a bucket holds the samples after its start up to its end.
with wanted as materialized (
    select series_id, host, collector, metric, labels, unit, kind
    from core.series
    where tenant_key = %(tenant_key)s::integer and metric = any (%(metrics)s::text[])
      and (%(hosts)s::text[] is null or host = any (%(hosts)s::text[]))
),
binned as (
    select series_id, date_bin(%(step)s::interval, ts, %(end)s::timestamptz + interval '1 microsecond') as bucket,
           avg(value) as mean, max(value) as maximum
    from core.sample
    where tenant_key = %(tenant_key)s::integer
      and series_id = any (array(select series_id from wanted))
      and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz
    group by 1, 2
),
packed as materialized (
    select series_id, string_agg(
        timestamptz_send(bucket + %(step)s::interval - interval '1 microsecond')
        || float8send(mean) || float8send(maximum), ''::bytea order by bucket) as content
    from binned group by series_id
)
select w.host, w.collector, w.metric, w.labels, w.unit, w.kind, p.content
from packed p
join wanted w using (series_id)
order by w.host, w.metric, w.labels, w.collector;

-- name: hosts
-- Hosts with at least one sample in a window (start excluded, end included).
select distinct s.host
from core.series s
where s.tenant_key = %(tenant_key)s::integer and exists (
    select from core.sample p
    where p.tenant_key = s.tenant_key and p.series_id = s.series_id
      and p.ts > %(start)s::timestamptz and p.ts <= %(end)s::timestamptz
)
order by s.host;

-- name: latest
-- The newest sample of each host.
select s.host, max(newest.ts)
from core.series s
cross join lateral (
    select p.ts from core.sample p
    where p.tenant_key = s.tenant_key and p.series_id = s.series_id
    order by p.ts desc limit 1
) newest
where s.tenant_key = %(tenant_key)s::integer
group by s.host order by s.host;

-- name: newest
-- The newest sample of each host among some metrics, if it is newer than an instant: who is alive, cheaply.
select s.host, max(newest.ts)
from core.series s
cross join lateral (
    select p.ts from core.sample p
    where p.tenant_key = s.tenant_key and p.series_id = s.series_id and p.ts > %(since)s::timestamptz
    order by p.ts desc limit 1
) newest
where s.tenant_key = %(tenant_key)s::integer and s.metric = any (%(metrics)s::text[])
group by s.host order by s.host;

-- name: span
-- The oldest and the newest sample of a tenant.
select min(oldest.ts), max(newest.ts)
from core.series s
cross join lateral (
    select p.ts from core.sample p
    where p.tenant_key = s.tenant_key and p.series_id = s.series_id
    order by p.ts limit 1
) oldest
cross join lateral (
    select p.ts from core.sample p
    where p.tenant_key = s.tenant_key and p.series_id = s.series_id
    order by p.ts desc limit 1
) newest
where s.tenant_key = %(tenant_key)s::integer;
