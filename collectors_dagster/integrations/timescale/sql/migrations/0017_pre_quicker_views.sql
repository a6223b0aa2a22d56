-- Views of "api" that are planned in a fraction of the time: none joins what a statement does not ask for.

-- Whom the connected role may see. By the role that logged in, which no statement can change: not by the
-- current one, nor by a setting, which whoever writes SQL simply sets. A function, because the planner would take longer
-- to look into this in each view than a dashboard's question takes; nobody but the views can name it.
create function core.visible_tenant_keys() returns integer[]
language plpgsql stable parallel safe security definer set search_path = pg_catalog, pg_temp as $$
begin
    return array(
        select m.tenant_key from core.tenant_member m
        where m.role_name = session_user and (m.expires_at is null or m.expires_at > now())
        union
        select t.tenant_key from core.tenant t
        where exists (select from core.staff_member s where s.role_name = session_user)
    );
end
$$;

create or replace view core.visible_tenant as
select t.tenant_key, t.tenant_id
from core.tenant t
where t.tenant_key = any ((select core.visible_tenant_keys())::integer[])
offset 0;

-- Their series. The OFFSET is a wall, here and above: no condition of a reader passes it.
create or replace view core.visible_series as
select s.series_id, s.tenant_key, t.tenant_id, s.host, s.collector, s.metric, s.labels, s.unit, s.kind
from core.series s
left join core.tenant t using (tenant_key)
where s.tenant_key = any ((select core.visible_tenant_keys())::integer[])
offset 0;

-- The same as what values are named by: DISTINCT tells the planner that there is one of each, and a statement that asks
-- for no names does without them.
create view core.series_name as
select distinct on (s.series_id)
    s.series_id,
    t.tenant_id,
    s.collector,
    s.metric,
    s.labels || jsonb_build_object('host', s.host, 'unit', s.unit, 'kind', s.kind) as metadata
from core.series s
left join core.tenant t using (tenant_key)
where s.tenant_key = any ((select core.visible_tenant_keys())::integer[])
offset 0;

create or replace view api.metrics with (security_barrier) as
select
    p.ts as "timestamp",
    s.collector as collector_name,
    s.metric as metric_name,
    case when random() is not null then p.value end as metric_value,
    s.tenant_id,
    s.metadata,
    p.series_id
from core.sample p
left join core.series_name s on s.series_id = p.series_id
where p.tenant_key = any ((select core.visible_tenant_keys())::integer[]);

create or replace view api.metrics_hourly with (security_barrier) as
select
    h.bucket,
    s.collector as collector_name,
    s.metric as metric_name,
    case when random() is not null then h.sum / h.n end as avg_value,
    case when random() is not null then h.max end as max_value,
    case when random() is not null then h.min end as min_value,
    case when random() is not null then h.n end as sample_count,
    s.tenant_id,
    s.metadata,
    h.series_id
from core.sample_1h h
left join core.series_name s on s.series_id = h.series_id
where h.tenant_key = any ((select core.visible_tenant_keys())::integer[]);

create or replace view api.metrics_daily with (security_barrier) as
select
    h.bucket,
    s.collector as collector_name,
    s.metric as metric_name,
    case when random() is not null then h.sum / h.n end as avg_value,
    case when random() is not null then h.max end as max_value,
    case when random() is not null then h.min end as min_value,
    case when random() is not null then h.n end as sample_count,
    s.tenant_id,
    s.metadata,
    h.series_id
from core.sample_1d h
left join core.series_name s on s.series_id = h.series_id
where h.tenant_key = any ((select core.visible_tenant_keys())::integer[]);

create or replace view api.metrics_detail with (security_barrier) as
select
    d.minute + u.microseconds * interval '1 microsecond' as "timestamp",
    s.collector as collector_name,
    s.metric as metric_name,
    u.value as metric_value,
    s.tenant_id,
    s.metadata,
    d.series_id
from core.sample_detail d
cross join lateral unnest(d.offsets, d."values") as u (microseconds, value)
left join core.series_name s on s.series_id = d.series_id
where d.tenant_key = any ((select core.visible_tenant_keys())::integer[]);

create or replace view api.metrics_hourly_quantiles with (security_barrier) as
select
    h.bucket,
    s.collector as collector_name,
    s.metric as metric_name,
    case when random() is not null then h.p50 end as p50,
    case when random() is not null then h.p95 end as p95,
    case when random() is not null then h.p99 end as p99,
    case when random() is not null then h.n end as sample_count,
    s.tenant_id,
    s.metadata,
    h.series_id
from core.sample_1h_quantiles h
left join core.series_name s on s.series_id = h.series_id
where h.tenant_key = any ((select core.visible_tenant_keys())::integer[]);

create or replace view api.metrics_daily_quantiles with (security_barrier) as
select
    h.bucket,
    s.collector as collector_name,
    s.metric as metric_name,
    case when random() is not null then h.p50 end as p50,
    case when random() is not null then h.p95 end as p95,
    case when random() is not null then h.p99 end as p99,
    case when random() is not null then h.n end as sample_count,
    s.tenant_id,
    s.metadata,
    h.series_id
from core.sample_1d_quantiles h
left join core.series_name s on s.series_id = h.series_id
where h.tenant_key = any ((select core.visible_tenant_keys())::integer[]);

-- A view runs its functions with its reader's rights.
grant execute on function core.visible_tenant_keys() to public;
