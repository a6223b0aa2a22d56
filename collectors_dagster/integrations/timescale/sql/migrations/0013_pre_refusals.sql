-- What was not stored, and why: counted per source and hour, by whoever refused it (a load's dataset, or "agent").
create table core.refusal (
    tenant_key  integer not null references core.tenant,
    origin      text not null,
    host        text not null,
    collector   text not null,
    hour        timestamptz not null,  -- that of the samples, or of their arrival where their time is what is wrong
    reason      text not null,
    samples     bigint not null,
    example     text not null default '',  -- one of them, for people
    noted_at    timestamptz not null default now(),
    primary key (tenant_key, origin, host, collector, hour, reason)
);
