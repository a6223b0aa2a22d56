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

-- name: raw
-- Samples as they were delivered, by series and time.
select series_id, ts, value
from core.sample
where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
  and ts >= %(start)s::timestamptz and ts < %(end)s::timestamptz
order by series_id, ts;

-- name: minute
-- Minutes computed from the samples, by series and time; counted from an origin.
select series_id, date_bin('1 minute', ts, %(origin)s::timestamptz) as bucket,
       avg(value), min(value), max(value), count(*)
from core.sample
where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
  and ts >= %(start)s::timestamptz and ts < %(end)s::timestamptz
group by series_id, bucket
order by series_id, bucket;

-- name: hour
-- Hours as they were added up, by series and time.
select series_id, bucket, sum / n, min, max, n
from core.sample_1h
where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz
order by series_id, bucket;

-- name: day
-- Days as they were added up, by series and time.
select series_id, bucket, sum / n, min, max, n
from core.sample_1d
where tenant_key = %(tenant_key)s::integer and series_id = any (%(series_ids)s::integer[])
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz
order by series_id, bucket;
