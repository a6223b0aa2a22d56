-- What tenants may see: security-barrier views that show a login role the tenants it is a member of.
-- Everybody may ask; a role without membership gets no rows. Nobody has rights on "core".

create view api.series with (security_barrier) as
select
    s.series_id,
    t.tenant_id,
    s.host,
    s.collector as collector_name,
    s.metric as metric_name,
    s.labels,
    s.unit,
    s.kind
from core.series s
join core.tenant t using (tenant_key)
where s.tenant_key = any (array(select m.tenant_key from core.tenant_member m where m.role_name = session_user));

create view api.metrics with (security_barrier) as
select
    p.ts as "timestamp",
    s.collector as collector_name,
    s.metric as metric_name,
    p.value as metric_value,
    t.tenant_id,
    s.labels || jsonb_build_object('host', s.host, 'unit', s.unit, 'kind', s.kind) as metadata
from core.sample p
join core.series s on s.series_id = p.series_id and s.tenant_key = p.tenant_key
join core.tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select m.tenant_key from core.tenant_member m where m.role_name = session_user));

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

grant usage on schema api to public;
grant select on api.series, api.metrics, api.metrics_hourly to public;
