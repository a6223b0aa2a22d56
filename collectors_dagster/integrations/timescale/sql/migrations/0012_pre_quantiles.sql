-- How the samples of an hour are spread, for metrics that are chosen: counts in bins whose limits grow by a fiftieth, so that
-- any quantile is known to 1 % of its value (Masson, Rim and Lee, "DDSketch", VLDB 2019). Bins are in the order of values:
-- 0 holds zeros, negative ones are mirrored. Of all editions, because arrays of counts are added up by none of them.
create table core.sample_1h_bins (
    tenant_key  integer not null,
    series_id   integer not null,
    bucket      timestamptz not null,
    bins        smallint[] not null,
    counts      integer[] not null,
    primary key (tenant_key, series_id, bucket),
    check (cardinality(bins) = cardinality(counts))
);

create table core.sample_1d_bins (like core.sample_1h_bins including all);

-- The value that stands for a bin lies within 1 % of all that the bin holds; 11515 makes room for 1e-100 to 1e100.
create view core.sample_1h_quantiles as
select b.tenant_key, b.series_id, b.bucket, q.n, q.p50, q.p95, q.p99
from core.sample_1h_bins b
cross join lateral (
    select max(total)::bigint as n,
           min(value) filter (where upto >= total * 0.50) as p50,
           min(value) filter (where upto >= total * 0.95) as p95,
           min(value) filter (where upto >= total * 0.99) as p99
    from (
        select sign(u.bin) * 0.99 * power(1.01::double precision / 0.99, abs(u.bin) - 11515) as value,
               sum(u.n) over (order by u.bin) as upto,
               sum(u.n) over () as total
        from unnest(b.bins, b.counts) as u (bin, n)
    ) counted
) q;

create view core.sample_1d_quantiles as
select b.tenant_key, b.series_id, b.bucket, q.n, q.p50, q.p95, q.p99
from core.sample_1d_bins b
cross join lateral (
    select max(total)::bigint as n,
           min(value) filter (where upto >= total * 0.50) as p50,
           min(value) filter (where upto >= total * 0.95) as p95,
           min(value) filter (where upto >= total * 0.99) as p99
    from (
        select sign(u.bin) * 0.99 * power(1.01::double precision / 0.99, abs(u.bin) - 11515) as value,
               sum(u.n) over (order by u.bin) as upto,
               sum(u.n) over () as total
        from unnest(b.bins, b.counts) as u (bin, n)
    ) counted
) q;

-- For tenants, in the manner of the other views (0010).
create view api.metrics_hourly_quantiles with (security_barrier) as
select
    h.bucket,
    s.collector as collector_name,
    s.metric as metric_name,
    case when random() is not null then h.p50 end as p50,
    case when random() is not null then h.p95 end as p95,
    case when random() is not null then h.p99 end as p99,
    case when random() is not null then h.n end as sample_count,
    s.tenant_id,
    s.labels || jsonb_build_object('host', s.host, 'unit', s.unit, 'kind', s.kind) as metadata,
    h.series_id
from core.sample_1h_quantiles h
join core.visible_series s on s.series_id = h.series_id and s.tenant_key = h.tenant_key
where h.tenant_key = any (array(select v.tenant_key from core.visible_tenant v));

create view api.metrics_daily_quantiles with (security_barrier) as
select
    h.bucket,
    s.collector as collector_name,
    s.metric as metric_name,
    case when random() is not null then h.p50 end as p50,
    case when random() is not null then h.p95 end as p95,
    case when random() is not null then h.p99 end as p99,
    case when random() is not null then h.n end as sample_count,
    s.tenant_id,
    s.labels || jsonb_build_object('host', s.host, 'unit', s.unit, 'kind', s.kind) as metadata,
    h.series_id
from core.sample_1d_quantiles h
join core.visible_series s on s.series_id = h.series_id and s.tenant_key = h.tenant_key
where h.tenant_key = any (array(select v.tenant_key from core.visible_tenant v));

grant select on api.metrics_hourly_quantiles, api.metrics_daily_quantiles to public;
