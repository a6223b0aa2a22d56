-- name: horizons
-- From when on a tenant's samples and hourly aggregates are kept; holds retention off until the transaction ends.
select raw_kept_from, hourly_kept_from from core.tenant where tenant_key = %(tenant_key)s::integer for share;

-- name: lock
-- Lets one roll-up of a tenant run at a time, until its transaction ends.
select pg_advisory_xact_lock(hashtextextended('collectors:rollup', %(tenant_key)s::bigint));

-- name: delete_hourly
-- Empties hours of a tenant.
delete from core.sample_1h
where tenant_key = %(tenant_key)s::integer
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz;

-- name: insert_hourly
-- Adds up samples per series and hour, in the order of time: the same samples give the same bits. One series after the
-- other: the index has them in this order, where all together would be sorted on the disk.
with hours as (
    select s.series_id, h.*
    from core.series s
    cross join lateral (
        select date_bin('1 hour', ts, '2000-01-01 00:00+00') as bucket, count(*) as n, sum(value) as sum,
               min(value) as min, max(value) as max,
               sum(case when abs(value) < '1e-150' then 0 else value * value end) as sumsq, max(ts) as last_ts
        from (
            select p.ts, p.value from core.sample p
            where p.tenant_key = %(tenant_key)s::integer and p.series_id = s.series_id
              and p.ts >= %(start)s::timestamptz and p.ts < %(end)s::timestamptz
            order by p.ts
        ) ordered
        group by 1
    ) h
    where s.tenant_key = %(tenant_key)s::integer
),
added as (
    insert into core.sample_1h (tenant_key, series_id, bucket, n, sum, min, max, sumsq, last)
    select %(tenant_key)s::integer, h.series_id, h.bucket, h.n, h.sum, h.min, h.max, h.sumsq, (
        select p.value from core.sample p
        where p.tenant_key = %(tenant_key)s::integer and p.series_id = h.series_id and p.ts = h.last_ts
    )
    from hours h
    returning series_id, n
)
select count(*), count(distinct series_id), coalesce(sum(n), 0)::bigint from added;

-- name: delete_daily
-- Empties days of a tenant.
delete from core.sample_1d
where tenant_key = %(tenant_key)s::integer
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz;

-- name: insert_daily
-- Adds up hours per series and day.
with added as (
    insert into core.sample_1d (tenant_key, series_id, bucket, n, sum, min, max, sumsq, last)
    select %(tenant_key)s::integer, series_id, date_bin('1 day', bucket, '2000-01-01 00:00+00'), sum(n)::bigint, sum(sum),
           min(min), max(max), sum(sumsq), (array_agg(last order by bucket desc))[1]
    from (
        select * from core.sample_1h
        where tenant_key = %(tenant_key)s::integer
          and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz
        order by series_id, bucket
    ) ordered
    group by 2, 3
    returning series_id, n
)
select count(*), count(distinct series_id), coalesce(sum(n), 0)::bigint from added;

-- name: count_hourly
-- What the aggregates of a tenant's hours hold.
select count(*), count(distinct series_id), coalesce(sum(n), 0)::bigint from core.sample_1h
where tenant_key = %(tenant_key)s::integer
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz;

-- name: count_daily
-- What the aggregates of a tenant's days hold.
select count(*), count(distinct series_id), coalesce(sum(n), 0)::bigint from core.sample_1d
where tenant_key = %(tenant_key)s::integer
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz;

-- name: delete_bins_hourly
-- Empties the bins of a tenant's hours.
delete from core.sample_1h_bins
where tenant_key = %(tenant_key)s::integer
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz;

-- name: insert_bins_hourly
-- Counts the samples of the chosen metrics in bins, by series and hour. What is below 1e-100 counts as zero.
insert into core.sample_1h_bins (tenant_key, series_id, bucket, bins, counts)
select %(tenant_key)s::integer, series_id, bucket, array_agg(bin order by bin), array_agg(n order by bin)
from (
    select series_id, date_bin('1 hour', ts, '2000-01-01 00:00+00') as bucket,
           (case when abs(value) < '1e-100' then 0
                 else sign(value) * (ceil(ln(abs(value)) / ln(1.01::double precision / 0.99)) + 11515)
            end)::smallint as bin,
           count(*)::integer as n
    from core.sample
    where tenant_key = %(tenant_key)s::integer
      and series_id = any (array(
          select s.series_id from core.series s
          where s.tenant_key = %(tenant_key)s::integer and s.metric = any (%(metrics)s::text[])
      ))
      and ts >= %(start)s::timestamptz and ts < %(end)s::timestamptz
    group by 1, 2, 3
) counted
group by series_id, bucket;

-- name: delete_bins_daily
-- Empties the bins of a tenant's days.
delete from core.sample_1d_bins
where tenant_key = %(tenant_key)s::integer
  and bucket >= %(start)s::timestamptz and bucket < %(end)s::timestamptz;

-- name: insert_bins_daily
-- Adds up the bins of hours per series and day: bins of equal limits lose nothing by that.
insert into core.sample_1d_bins (tenant_key, series_id, bucket, bins, counts)
select %(tenant_key)s::integer, series_id, bucket, array_agg(bin order by bin), array_agg(n order by bin)
from (
    select h.series_id, date_bin('1 day', h.bucket, '2000-01-01 00:00+00') as bucket, u.bin, sum(u.n)::integer as n
    from core.sample_1h_bins h
    cross join lateral unnest(h.bins, h.counts) as u (bin, n)
    where h.tenant_key = %(tenant_key)s::integer
      and h.series_id = any (array(
          select s.series_id from core.series s
          where s.tenant_key = %(tenant_key)s::integer and s.metric = any (%(metrics)s::text[])
      ))
      and h.bucket >= %(start)s::timestamptz and h.bucket < %(end)s::timestamptz
    group by 1, 2, 3
) counted
group by series_id, bucket;
