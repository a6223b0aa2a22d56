-- Spotify accounts whose users let a tenant read them, and the tokens that are shared by all processes. One more row per
-- tenant, with an empty user_id, is the application itself. Tokens are sealed (AES-256-GCM, bound to tenant and user).
create table core.spotify_account (
    tenant_key      integer not null references core.tenant,
    user_id         text not null,
    client_id       text not null,              -- the application that was let in
    state           text not null default 'connected' check (state in ('connected', 'needs_consent', 'leaving')),
    reason          text,                       -- why consent is needed
    scopes          text[] not null default '{}',
    version         bigint not null default 1,  -- one more with each change of tokens: who writes names the one it read
    refresh_token   bytea,
    access_token    bytea,
    issued_at       timestamptz,                -- of the access token
    expires_at      timestamptz,
    consented_at    timestamptz,
    attempt         uuid,                       -- a request for tokens whose answer is not here yet
    attempt_until   timestamptz,                -- until then nobody else asks
    not_before      timestamptz,                -- the service asked for a pause
    warned_at       timestamptz,                -- when it was noted for the alerts that consent ends soon
    alerted_at      timestamptz,                -- and that it is needed
    primary key (tenant_key, user_id),
    check (user_id = '' or consented_at is not null)
);

-- Alerts that are not about runs go through the same ledger.
alter table core.failure add column kind text not null default 'run.failed';
