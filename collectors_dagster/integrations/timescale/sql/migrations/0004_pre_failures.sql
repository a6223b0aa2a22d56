-- Failed runs that tenants are told about, and the ledger of telling them.
create table core.failure (
    failure_id  bigint generated always as identity primary key,
    tenant_key  integer not null references core.tenant,
    key         text not null,
    run_id      text not null,
    what        text not null,
    error       text not null,
    url         text,
    at          timestamptz not null,
    unique (tenant_key, key)
);
create index failure_by_what on core.failure (tenant_key, what, at);

-- One row per failure and target, as core.alert is for incidents.
create table core.failure_alert (
    failure_id   bigint not null references core.failure on delete cascade,
    target      text not null,
    status      text not null check (status in ('pending', 'delivered', 'failed')),
    attempts    integer not null default 0,
    last_error  text,
    updated_at  timestamptz not null default now(),
    primary key (failure_id, target)
);
