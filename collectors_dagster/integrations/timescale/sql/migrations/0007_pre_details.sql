-- Every sweep around an incident, or of a window somebody asked for: beside the samples, because aggregates, features
-- and books count on one value per interval there. One row per series and minute; a minute is written once.
create table core.sample_detail (
    tenant_key  integer not null references core.tenant,
    series_id   integer not null,
    minute      timestamptz not null,
    offsets     integer[] not null,           -- microseconds from the minute to each value's time
    "values"    double precision[] not null,
    primary key (tenant_key, series_id, minute),
    check (cardinality(offsets) = cardinality("values"))
);

-- How far an agent delivered the window of an incident; written in the data's transaction.
create table core.detail_window (
    tenant_key     integer not null references core.tenant,
    agent_id       text not null,
    incident_id    bigint not null references core.incident on delete cascade,
    shipped_until  timestamptz not null,
    complete       boolean not null default false,
    "values"       bigint not null default 0,
    primary key (tenant_key, agent_id, incident_id)
);
create index detail_window_by_incident on core.detail_window (incident_id);

create view api.metrics_detail with (security_barrier) as
select
    d.minute + u.microseconds * interval '1 microsecond' as "timestamp",
    s.collector as collector_name,
    s.metric as metric_name,
    u.value as metric_value,
    t.tenant_id,
    s.labels || jsonb_build_object('host', s.host, 'unit', s.unit, 'kind', s.kind) as metadata
from core.sample_detail d
cross join lateral unnest(d.offsets, d."values") as u (microseconds, value)
join core.series s on s.series_id = d.series_id and s.tenant_key = d.tenant_key
join core.tenant t on t.tenant_key = d.tenant_key
where d.tenant_key = any (array(select m.tenant_key from core.tenant_member m where m.role_name = session_user));

grant select on api.metrics_detail to public;
