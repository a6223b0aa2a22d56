-- The platform's tables. Isolation is by the security-barrier views in "api"; nobody but the
-- application's role has rights on "core".
create schema core;
create schema api;

create table core.tenant (
    tenant_key  integer generated always as identity primary key,
    tenant_id   text not null unique check (tenant_id ~ '^[a-z][a-z0-9-]{0,38}[a-z0-9]$'),
    name        text not null,
    tier        text not null check (tier in ('premium', 'standard')),
    synthetic   boolean not null default false,
    status      text not null default 'active' check (status in ('active', 'removed')),
    created_at  timestamptz not null default now(),
    raw_kept_from    timestamptz,  -- retention's horizon: samples before it are gone on purpose
    hourly_kept_from timestamptz   -- the same for hourly aggregates; aggregates are never rebuilt from before it
);

-- Which migrations were applied, and with which text.
create table core.schema_migration (
    version     integer primary key,
    name        text not null,
    sha256      text not null,
    applied_at  timestamptz not null,
    seconds     double precision not null
);

-- Which login roles may read which tenant through "api".
create table core.tenant_member (
    role_name   name not null,
    tenant_key  integer not null references core.tenant,
    primary key (role_name, tenant_key)
);

create table core.series (
    series_id   integer generated always as identity primary key,
    tenant_key  integer not null references core.tenant,
    host        text not null,
    collector   text not null,
    metric      text not null,
    labels      jsonb not null default '{}',
    unit        text not null default '',
    kind        text not null check (kind in ('gauge', 'counter')),
    created_at  timestamptz not null default now(),
    unique (tenant_key, host, collector, metric, labels)
);

-- One value per series and instant. Partitions (one a day) are made before each load.
-- The bound refuses NaN and infinity, and keeps sums of squares finite.
create table core.sample (
    tenant_key  integer not null,
    series_id   integer not null,
    ts          timestamptz not null,
    value       double precision not null check (value between '-1e100' and '1e100'),
    unique (tenant_key, series_id, ts)
) partition by range (ts);

create table core.sample_1h (
    tenant_key  integer not null,
    series_id   integer not null,
    bucket      timestamptz not null,
    n           bigint not null,
    sum         double precision not null,
    min         double precision not null,
    max         double precision not null,
    sumsq       double precision not null,
    last        double precision not null,
    primary key (tenant_key, series_id, bucket)
);

create table core.sample_1d (like core.sample_1h including all);

-- What was loaded or computed for which window: the books of every asset.
create table core.load (
    tenant_key   integer not null references core.tenant,
    dataset      text not null,
    window_start timestamptz not null,
    window_end   timestamptz not null check (window_end > window_start),
    run_id       text not null,
    rows         bigint not null,
    sha256       text,
    detail       jsonb not null default '{}',
    loaded_at    timestamptz not null default now(),
    primary key (tenant_key, dataset, window_start, window_end)
);

-- How far each agent's spool is delivered; written in the data's transaction.
create table core.agent_cursor (
    agent_id    text not null,
    epoch       text not null,
    tenant_key  integer not null references core.tenant,
    acked_seq   bigint not null,
    acked_at    timestamptz not null default now(),
    primary key (agent_id, epoch, tenant_key)
);

create table core.agent (
    agent_id    text primary key,
    host        text not null,
    version     text not null,
    started_at  timestamptz not null,
    seen_at     timestamptz not null default now(),
    state       jsonb not null default '{}'
);

-- What the agents sent per tenant, host, source and hour: expected against received.
create table core.delivery (
    tenant_key     integer not null references core.tenant,
    host           text not null,
    collector      text not null,
    hour           timestamptz not null,
    intervals      bigint not null default 0,  -- resolution intervals covered by the spool
    samples        bigint not null default 0,  -- rows sent
    duplicates     bigint not null default 0,  -- rows refused because they were there already
    late           bigint not null default 0,  -- rows that arrived more than 5 minutes after their time
    gap_seconds    double precision not null default 0,
    bytes          bigint not null default 0,  -- spool bytes read for them
    primary key (tenant_key, host, collector, hour)
);

create table core.feature_set (
    version     text primary key,
    columns     text[] not null,
    created_at  timestamptz not null default now()
);

create table core.feature (
    tenant_key  integer not null references core.tenant,
    host        text not null,
    ts          timestamptz not null,
    version     text not null references core.feature_set,
    "values"    double precision[] not null,
    primary key (tenant_key, host, ts)
);

create table core.score (
    tenant_key    integer not null references core.tenant,
    host          text not null,
    ts            timestamptz not null,
    source        text not null check (source in ('stream', 'batch')),
    score         double precision not null check (score between 0 and 1),
    state         text not null,
    model_version text not null,
    contributions jsonb not null default '[]',
    primary key (tenant_key, host, source, ts)
);

create table core.incident (
    incident_id   bigint generated always as identity primary key,
    tenant_key    integer not null references core.tenant,
    host          text not null,
    source        text not null check (source in ('stream', 'batch')),
    opened_at     timestamptz not null,
    updated_at    timestamptz not null,
    resolved_at   timestamptz,
    severity      text not null check (severity in ('notice', 'warning', 'critical')),
    peak_score    double precision not null,
    title         text not null,
    contributions jsonb not null default '[]',
    model_version text not null
);
-- At most one open incident per host of the stream, whoever writes.
create unique index incident_open on core.incident (tenant_key, host)
    where resolved_at is null and source = 'stream';
create index incident_by_time on core.incident (tenant_key, opened_at);

create table core.incident_event (
    event_id     bigint generated always as identity primary key,
    incident_id  bigint not null references core.incident on delete cascade,
    kind         text not null check (kind in ('opened', 'updated', 'resolved')),
    at           timestamptz not null,
    snapshot     jsonb not null
);

-- One row per event and target: an alert is never sent twice.
create table core.alert (
    event_id     bigint not null references core.incident_event on delete cascade,
    target       text not null,
    status       text not null check (status in ('pending', 'delivered', 'failed')),
    attempts     integer not null default 0,
    last_error   text,
    updated_at   timestamptz not null default now(),
    primary key (event_id, target)
);

create table core.forecast (
    tenant_key    integer not null references core.tenant,
    host          text not null,
    signal        text not null,
    issued_at     timestamptz not null,
    ts            timestamptz not null,
    mean          double precision not null,
    low80         double precision not null,
    high80        double precision not null,
    low95         double precision not null,
    high95        double precision not null,
    model_version text not null,
    primary key (tenant_key, host, signal, issued_at, ts)
);

create table core.health (
    tenant_key      integer not null references core.tenant,
    host            text not null,
    ts              timestamptz not null,
    score           smallint check (score between 0 and 100),
    reasons         jsonb not null default '[]',
    recommendations jsonb not null default '[]',
    primary key (tenant_key, host, ts)
);

-- The truth behind synthetic histories, for comparison with what was detected.
create table core.planted_incident (
    tenant_key  integer not null references core.tenant,
    host        text not null,
    started_at  timestamptz not null,
    ended_at    timestamptz not null check (ended_at > started_at),
    kind        text not null,
    signals     text[] not null,
    primary key (tenant_key, host, started_at)
);
