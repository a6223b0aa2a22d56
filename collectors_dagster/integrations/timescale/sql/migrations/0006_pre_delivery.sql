-- Deliveries out of order: fresh samples go before a backlog, so what is delivered may have holes.
alter table core.agent_cursor add column ahead int8multirange not null default '{}';

-- When a host's wall clock was set, or the host slept: why times repeat, or are missing.
create table core.clock_event (
    tenant_key  integer not null references core.tenant,
    host        text not null,
    ts          timestamptz not null,
    kind        text not null check (kind in ('clock_step', 'suspend')),
    seconds     double precision not null,
    primary key (tenant_key, host, ts, kind)
);
