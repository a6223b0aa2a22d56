-- name: patience
-- Whoever reads may be slower than a statement is usually allowed to take.
select set_config('statement_timeout', '30min', true);

-- name: series
-- The series of these metrics and hosts; null means all.
select series_id, host, collector, metric, labels, unit, kind
from core.series
where tenant_key = %(tenant_key)s::integer
  and (%(metrics)s::text[] is null or metric = any (%(metrics)s::text[]))
  and (%(hosts)s::text[] is null or host = any (%(hosts)s::text[]))
order by series_id;

-- name: keys
-- The keys of these series, within the statements below where nobody knows them yet.
select series_id
from core.series
where tenant_key = %(tenant_key)s::integer
  and (%(metrics)s::text[] is null or metric = any (%(metrics)s::text[]))
  and (%(hosts)s::text[] is null or host = any (%(hosts)s::text[]));

-- name: named
-- Series by their keys.
select series_id, host, collector, metric, labels, unit, kind
from core.series
where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[]);

-- name: raw
-- Samples as they were delivered, packed by series: a row of the answer is a day's, of 16 bytes each (time, value).
select series_id, string_agg(timestamptz_send(ts) || float8send(value), ''::bytea)
from (
    select series_id, ts, value from core.sample
    where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
      and ts >= %(start)s::timestamptz and ts < %(end)s::timestamptz
    order by series_id, ts
) ordered
group by series_id
order by series_id;

-- name: minute
-- Minutes computed from the samples and counted from an origin, packed by series: start, mean, least, greatest, count.
select series_id, string_agg(
    timestamptz_send(bucket) || float8send(mean) || float8send(min) || float8send(max) || int8send(n), ''::bytea)
from (
    select series_id, date_bin('1 minute', ts, %(origin)s::timestamptz) as bucket,
           avg(value) as mean, min(value) as min, max(value) as max, count(*) as n
    from core.sample
    where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
      and ts >= %(start)s::timestamptz and ts < %(end)s::timestamptz
    group by series_id, bucket
    order by series_id, bucket
) minutes
group by series_id
order by series_id;

-- name: hour
-- Hours as they were added up, packed by series like minutes.
select series_id, string_agg(
    timestamptz_send(bucket) || float8send(sum / n) || float8send(min) || float8send(max) || int8send(n), ''::bytea
    order by bucket)
from core.sample_1h
where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz
group by series_id
order by series_id;

-- name: day
-- Days as they were added up, packed by series like minutes.
select series_id, string_agg(
    timestamptz_send(bucket) || float8send(sum / n) || float8send(min) || float8send(max) || int8send(n), ''::bytea
    order by bucket)
from core.sample_1d
where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz
group by series_id
order by series_id;

-- name: hour_quantiles
-- Hours of the metrics whose samples are counted in bins, packed by series: start, three quantiles, count.
select series_id, string_agg(
    timestamptz_send(bucket) || float8send(p50) || float8send(p95) || float8send(p99) || int8send(n), ''::bytea
    order by bucket)
from core.sample_1h_quantiles
where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz
group by series_id
order by series_id;

-- name: day_quantiles
-- Days of the metrics whose samples are counted in bins, packed by series: start, three quantiles, count.
select series_id, string_agg(
    timestamptz_send(bucket) || float8send(p50) || float8send(p95) || float8send(p99) || int8send(n), ''::bytea
    order by bucket)
from core.sample_1d_quantiles
where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz
group by series_id
order by series_id;
