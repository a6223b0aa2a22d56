-- What people said about incidents: normal, to be learned, or real, never to be. By host and beginning, not by the
-- incident's number: history that is scored again makes its incidents anew.
create table core.feedback (
    tenant_key    integer not null references core.tenant,
    host          text not null,
    opened_at     timestamptz not null,
    ended_at      timestamptz not null check (ended_at >= opened_at),
    verdict       text not null check (verdict in ('normal', 'real')),
    reason        text not null default '',
    said_by       text not null,
    said_at       timestamptz not null,
    title         text not null,               -- of the incident, as it was when the word was said
    contributions jsonb not null default '[]',
    model_version text not null,               -- that raised it
    primary key (tenant_key, host, opened_at)
);
