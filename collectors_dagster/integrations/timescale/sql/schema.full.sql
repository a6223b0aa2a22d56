-- When a chunk is compressed is decided by the upkeep, from its age and from what is still written to it: no policy.
alter table core.sample set (
    timescaledb.enable_columnstore = true,
    timescaledb.segmentby = 'tenant_key, series_id',
    timescaledb.orderby = 'ts'
);

-- Made empty and refreshed for windows: a refresh of everything would reach behind the horizon of retention.
create materialized view core.sample_1h
with (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) as
select
    tenant_key,
    series_id,
    time_bucket('1 hour', ts) as bucket,
    count(*) as n,
    sum(value) as sum,
    min(value) as min,
    max(value) as max,
    sum(case when abs(value) < '1e-150' then 0 else value * value end) as sumsq,
    last(value, ts) as last
from core.sample
group by tenant_key, series_id, time_bucket('1 hour', ts)
with no data;
create index sample_1h_by_series on core.sample_1h (tenant_key, series_id, bucket);
-- Days are not compressed: a chunk of theirs holds so few of each series that nothing is won.
alter materialized view core.sample_1h set (
    timescaledb.enable_columnstore = true,
    timescaledb.segmentby = 'tenant_key, series_id',
    timescaledb.orderby = 'bucket'
);

create materialized view core.sample_1d
with (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) as
select
    tenant_key,
    series_id,
    time_bucket('1 day', bucket) as bucket,
    sum(n)::bigint as n,
    sum(sum) as sum,
    min(min) as min,
    max(max) as max,
    sum(sumsq) as sumsq,
    last(last, bucket) as last
from core.sample_1h
group by tenant_key, series_id, time_bucket('1 day', bucket)
with no data;
create index sample_1d_by_series on core.sample_1d (tenant_key, series_id, bucket);

-- Where the server keeps an aggregate.
create function core.kept_in(aggregate text) returns regclass
language sql stable as $$
    select format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)::regclass
    from timescaledb_information.continuous_aggregates
    where view_schema = 'core' and view_name = aggregate
$$;

-- Forgets a tenant's hours before an instant.
create function core.drop_hourly_aggregates(for_tenant integer, before timestamptz) returns bigint
language plpgsql as $$
declare
    touched bigint;
begin
    execute format('delete from %s where tenant_key = $1 and bucket < %L', core.kept_in('sample_1h'), before)
    using for_tenant;
    get diagnostics touched = row_count;
    return touched;
end
$$;

-- No refresh reaches behind the horizon of the tenant that keeps the least: it would take the others' aggregates of
-- that time away or count what is not there any more. What another tenant, which keeps more, got late is added up here
-- for that tenant alone.
create function core.add_up_hours(for_tenant integer, starts_at timestamptz, ends_at timestamptz) returns void
language plpgsql as $$
declare
    until timestamptz := least(ends_at, (select max(raw_kept_from) from core.tenant));
    kept_in regclass := core.kept_in('sample_1h');
begin
    if until > starts_at then
        execute format('delete from %s where tenant_key = $1 and bucket >= %L and bucket < %L', kept_in, starts_at, until)
        using for_tenant;
        execute format(
            'insert into %s (tenant_key, series_id, bucket, n, sum, min, max, sumsq, last)
             select tenant_key, series_id, time_bucket(''1 hour'', ts), count(*), sum(value), min(value), max(value),
                    sum(case when abs(value) < ''1e-150'' then 0 else value * value end), last(value, ts)
             from core.sample
             where tenant_key = $1 and ts >= %L and ts < %L
             group by 1, 2, 3', kept_in, starts_at, until)
        using for_tenant;
    end if;
end
$$;

-- The same for days, from the hours.
create function core.add_up_days(for_tenant integer, starts_at timestamptz, ends_at timestamptz) returns void
language plpgsql as $$
declare
    until timestamptz := least(ends_at, (select max(hourly_kept_from) from core.tenant));
    kept_in regclass := core.kept_in('sample_1d');
begin
    if until > starts_at then
        execute format('delete from %s where tenant_key = $1 and bucket >= %L and bucket < %L', kept_in, starts_at, until)
        using for_tenant;
        execute format(
            'insert into %s (tenant_key, series_id, bucket, n, sum, min, max, sumsq, last)
             select tenant_key, series_id, time_bucket(''1 day'', bucket), sum(n)::bigint, sum(sum), min(min), max(max),
                    sum(sumsq), last(last, bucket)
             from core.sample_1h
             where tenant_key = $1 and bucket >= %L and bucket < %L
             group by 1, 2, 3', kept_in, starts_at, until)
        using for_tenant;
    end if;
end
$$;

-- What the upkeep saw of each chunk the last time: chunks to which nothing is written any more can be compressed.
create table core.chunk_activity (
    chunk_name  name primary key,
    writes      bigint not null,
    changed_at  timestamptz not null
);
