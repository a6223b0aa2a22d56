-- TimescaleDB's full edition: chunks can be compressed, and the server keeps the aggregates.
do $$
begin
    if exists (select from core.sample_1h) or exists (select from core.sample_1d) then
        raise exception 'aggregates came while the schema was made: run `collectors db migrate` again';
    end if;
end
$$;

-- When a chunk is compressed is decided by the upkeep, from its age and from what is still written to it: no policy.
alter table core.sample set (
    timescaledb.enable_columnstore = true,
    timescaledb.segmentby = 'tenant_key, series_id',
    timescaledb.orderby = 'ts'
);

drop view api.metrics_hourly;
drop table core.sample_1h, core.sample_1d;

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

create view api.metrics_hourly with (security_barrier) as
select
    h.bucket,
    s.collector as collector_name,
    s.metric as metric_name,
    h.sum / h.n as avg_value,
    h.max as max_value,
    h.min as min_value,
    h.n as sample_count,
    t.tenant_id,
    s.labels || jsonb_build_object('host', s.host, 'unit', s.unit, 'kind', s.kind) as metadata
from core.sample_1h h
join core.series s on s.series_id = h.series_id and s.tenant_key = h.tenant_key
join core.tenant t on t.tenant_key = h.tenant_key
where h.tenant_key = any (array(select m.tenant_key from core.tenant_member m where m.role_name = session_user));

grant select on api.metrics_hourly to public;

-- Forgets a tenant's hours before an instant, where the server keeps them.
create function core.drop_hourly_aggregates(for_tenant integer, before timestamptz) returns bigint
language plpgsql as $$
declare
    kept_in regclass;
    touched bigint;
begin
    select format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)::regclass into strict kept_in
    from timescaledb_information.continuous_aggregates
    where view_schema = 'core' and view_name = 'sample_1h';
    execute format('delete from %s where tenant_key = $1 and bucket < %L', kept_in, before) using for_tenant;
    get diagnostics touched = row_count;
    return touched;
end
$$;

-- What the upkeep saw of each chunk the last time: chunks to which nothing is written any more can be compressed.
create table core.chunk_activity (
    chunk_name  name primary key,
    writes      bigint not null,
    changed_at  timestamptz not null
);
