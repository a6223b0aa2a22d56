-- The whole schema as all migrations leave it; a test compares the two on every edition. Change it together with
-- each new migration, and read it instead of them.

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
    created_here boolean not null default false,  -- the role is ours to drop
    granted_at  timestamptz not null default now(),
    expires_at  timestamptz,  -- null: until it is revoked
    primary key (role_name, tenant_key)
);

-- Login roles of the staff: they see every tenant through "api".
create table core.staff_member (
    role_name   name primary key,
    rank        text not null check (rank in ('reader', 'operator', 'owner'))
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
-- Dashboards ask for a metric of all hosts.
create index series_by_metric on core.series (tenant_key, metric);

-- edition: the samples with their hourly and daily aggregates, from this folder's "schema.*.sql" of the edition.

-- How the samples of an hour are spread, for metrics that are chosen: counts in bins whose limits grow by a fiftieth, so that
-- any quantile is known to 1 % of its value (Masson, Rim and Lee, "DDSketch", VLDB 2019). Bins are in the order of values:
-- 0 holds zeros, negative ones are mirrored. Of all editions, because arrays of counts are added up by none of them.
create table core.sample_1h_bins (
    tenant_key  integer not null,
    series_id   integer not null,
    bucket      timestamptz not null,
    bins        smallint[] not null,
    counts      integer[] not null,
    primary key (tenant_key, series_id, bucket),
    check (cardinality(bins) = cardinality(counts))
);

create table core.sample_1d_bins (like core.sample_1h_bins including all);

-- The value that stands for a bin lies within 1 % of all that the bin holds; 11515 makes room for 1e-100 to 1e100.
create view core.sample_1h_quantiles as
select b.tenant_key, b.series_id, b.bucket, q.n, q.p50, q.p95, q.p99
from core.sample_1h_bins b
cross join lateral (
    select max(total)::bigint as n,
           min(value) filter (where upto >= total * 0.50) as p50,
           min(value) filter (where upto >= total * 0.95) as p95,
           min(value) filter (where upto >= total * 0.99) as p99
    from (
        select sign(u.bin) * 0.99 * power(1.01::double precision / 0.99, abs(u.bin) - 11515) as value,
               sum(u.n) over (order by u.bin) as upto,
               sum(u.n) over () as total
        from unnest(b.bins, b.counts) as u (bin, n)
    ) counted
) q;

create view core.sample_1d_quantiles as
select b.tenant_key, b.series_id, b.bucket, q.n, q.p50, q.p95, q.p99
from core.sample_1d_bins b
cross join lateral (
    select max(total)::bigint as n,
           min(value) filter (where upto >= total * 0.50) as p50,
           min(value) filter (where upto >= total * 0.95) as p95,
           min(value) filter (where upto >= total * 0.99) as p99
    from (
        select sign(u.bin) * 0.99 * power(1.01::double precision / 0.99, abs(u.bin) - 11515) as value,
               sum(u.n) over (order by u.bin) as upto,
               sum(u.n) over () as total
        from unnest(b.bins, b.counts) as u (bin, n)
    ) counted
) q;

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
    acked_seq   bigint not null,  -- everything up to here
    acked_at    timestamptz not null default now(),
    ahead       int8multirange not null default '{}',  -- and these beyond it: fresh samples go before a backlog
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

-- When a host's wall clock was set, or the host slept: why times repeat, or are missing. Rows, not samples: they are
-- rare, signed and exact, where a mean over an interval would blur them and their absence would look like a gap.
create table core.clock_event (
    tenant_key  integer not null references core.tenant,
    host        text not null,
    ts          timestamptz not null,  -- the first look afterwards, by the clock as it is then
    kind        text not null check (kind in ('clock_step', 'suspend')),
    seconds     double precision not null,  -- negative: the clock was set back
    primary key (tenant_key, host, ts, kind)
);

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
create index incident_event_by_incident on core.incident_event (incident_id);

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
    primary key (tenant_key, host, signal, ts, issued_at)
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
    kind        text not null default 'run.failed',
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

-- What was pulled from Spotify for tenants that asked for it. Everything is of one tenant, and nearly everything of one of its
-- users: it is deleted when the user disconnects. Nothing of it is read by features or models (docs/spotify.md).

-- One row per dataset and user ('': of the tenant): why the data are kept and for how long, where the next pull goes on
-- (written in the transaction of the page before it), and how the last one ended.
create table core.spotify_pull (
    tenant_key      integer not null references core.tenant,
    dataset         text not null,
    user_id         text not null default '',
    purpose         text not null,
    keep_days       integer not null check (keep_days > 0),
    position        jsonb not null default '{}',
    sandbox         boolean not null,            -- it comes from the local sandbox, not from Spotify
    mode            text,                        -- the quota mode of the last pull
    moved_at        timestamptz,                 -- the last page that was stored
    completed_at    timestamptz,                 -- the last pull that came to its end
    put_off_until   timestamptz,                 -- null unless the last pull was put off
    put_off_reason  text,
    put_off_partition text,                      -- the partition of the asset that waits
    unavailable     text,                        -- why this quota mode lacks it
    gap_at          timestamptz,                 -- the last time that rows may have been lost
    detail          jsonb not null default '{}',
    primary key (tenant_key, dataset, user_id)
);
create index spotify_pull_put_off on core.spotify_pull (put_off_until) where put_off_until is not null;

-- What the client has learned and must not forget with a process: limits, bans, quota modes. No content, nothing secret.
create table core.spotify_memory (
    kind      text not null,
    name      text not null,
    document  jsonb not null,
    saved_at  timestamptz not null default now(),
    primary key (kind, name)
);

-- Tracks and episodes that other rows name.
create table core.spotify_track (
    tenant_key   integer not null references core.tenant,
    track_uri    text not null,                  -- a local file has a uri, too, but no id
    name         text not null,
    artist_ids   text[] not null,
    artist_names text[] not null,
    album_id     text,
    duration_ms  integer,
    isrc         text,
    seen_at      timestamptz not null,
    primary key (tenant_key, track_uri)
);

create table core.spotify_play (
    tenant_key   integer not null references core.tenant,
    user_id      text not null,
    played_at    timestamptz not null,
    track_uri    text not null,
    context_uri  text,
    primary key (tenant_key, user_id, played_at, track_uri)
);

create table core.spotify_saved_track (
    tenant_key   integer not null references core.tenant,
    user_id      text not null,
    track_uri    text not null,
    added_at     timestamptz not null,
    seen_at      timestamptz not null,           -- the start of the last pull that met it
    removed_at   timestamptz,                    -- null while it is saved
    primary key (tenant_key, user_id, track_uri)
);

create table core.spotify_followed_artist (
    tenant_key     integer not null references core.tenant,
    user_id        text not null,
    artist_id      text not null,
    name           text not null,
    first_seen_at  timestamptz not null,
    seen_at        timestamptz not null,
    unfollowed_at  timestamptz,
    primary key (tenant_key, user_id, artist_id)
);

-- Popularity and followers are null in development mode, which does not tell them.
create table core.spotify_artist (
    tenant_key   integer not null references core.tenant,
    artist_id    text not null,
    day          date not null,
    name         text not null,
    genres       text[] not null,
    popularity   smallint,
    followers    integer,
    primary key (tenant_key, artist_id, day)
);

create table core.spotify_artist_album (
    tenant_key     integer not null references core.tenant,
    artist_id      text not null,
    album_id       text not null,
    name           text not null,
    album_type     text,
    release_date   text,                         -- of the precision that Spotify knows: 1981, 1981-12, 1981-12-15
    total_tracks   integer,
    first_seen_at  timestamptz not null,
    seen_at        timestamptz not null,
    primary key (tenant_key, artist_id, album_id)
);

create table core.spotify_playlist (
    tenant_key     integer not null references core.tenant,
    user_id        text not null,
    playlist_id    text not null,
    owner_id       text,
    name           text not null,
    public         boolean,
    collaborative  boolean,
    items_total    integer,
    snapshot_id    text,                         -- as it was listed last; its items may be those of an older one
    unreadable     text,                         -- why its items cannot be read
    seen_at        timestamptz not null,
    removed_at     timestamptz,
    primary key (tenant_key, user_id, playlist_id)
);

-- A reading of a playlist: whole and verified, or unstable with the reason. Items of one that did not become whole are
-- not shown.
create table core.spotify_playlist_snapshot (
    snapshot_key   bigint generated always as identity primary key,
    tenant_key     integer not null references core.tenant,
    user_id        text not null,
    playlist_id    text not null,
    snapshot_id    text not null,
    state          text not null check (state in ('loading', 'complete', 'unstable')),
    reason         text,
    started_at     timestamptz not null,
    ended_at       timestamptz,
    items          integer not null default 0,
    added          integer,                      -- against the complete snapshot before it; null for the first
    removed        integer,
    moved          integer,
    unique (tenant_key, user_id, playlist_id, snapshot_id)
);

create table core.spotify_playlist_item (
    snapshot_key   bigint not null references core.spotify_playlist_snapshot on delete cascade,
    tenant_key     integer not null,
    position       integer not null,
    track_uri      text,                         -- null: Spotify does not say any more what it was
    added_at       timestamptz,
    added_by       text,
    primary key (snapshot_key, position)
);

create table core.spotify_playlist_change (
    snapshot_key   bigint not null references core.spotify_playlist_snapshot on delete cascade,
    tenant_key     integer not null,
    number         integer not null,
    kind           text not null check (kind in ('added', 'removed', 'moved')),
    old_position   integer,
    position       integer,
    track_uri      text,
    added_at       timestamptz,
    added_by       text,
    primary key (snapshot_key, number)
);

create table core.spotify_top_item (
    tenant_key   integer not null references core.tenant,
    user_id      text not null,
    day          date not null,
    kind         text not null check (kind in ('artists', 'tracks')),
    time_range   text not null check (time_range in ('short_term', 'medium_term', 'long_term')),
    rank         smallint not null,
    item_uri     text not null,
    name         text not null,
    primary key (tenant_key, user_id, day, kind, time_range, rank)
);

create table core.spotify_profile (
    tenant_key    integer not null references core.tenant,
    user_id       text not null,
    day           date not null,
    account_id    text,
    display_name  text,
    country       text,
    product       text,
    followers     integer,
    primary key (tenant_key, user_id, day)
);

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

create view core.visible_tenant as
select t.tenant_key, t.tenant_id
from core.tenant t
where t.tenant_key = any ((select core.visible_tenant_keys())::integer[])
offset 0;

-- Their series. The OFFSET is a wall, here and above: no condition of a reader passes it.
create view core.visible_series as
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

-- No statistics of names: estimates would tell whether a guessed one exists.
alter table core.tenant alter column tenant_id set statistics 0;
alter table core.tenant alter column name set statistics 0;
alter table core.series alter column host set statistics 0;
alter table core.series alter column collector set statistics 0;
alter table core.series alter column metric set statistics 0;
alter table core.series alter column labels set statistics 0;
alter table core.series alter column unit set statistics 0;
alter table core.series alter column kind set statistics 0;

-- What tenants may see. Nobody has rights on "core"; "api" is open to the roles that were let in one by one.
--
-- EXPLAIN ANALYZE shows what each step touched, and even whether it was executed at all: a condition that meets
-- foreign rows before the tenant's does tells whether a guess is right, and so do the planner's estimates. Hence
-- names lie behind the walls of core.visible_series and core.series_name and have no statistics, and numbers go through
-- an expression that is volatile: past that no condition is pushed either. Times are not hidden: a reader may learn that
-- the platform holds a row of some second, of nobody knows whom.
create view api.series with (security_barrier) as
select
    s.series_id,
    s.tenant_id,
    s.host,
    s.collector as collector_name,
    s.metric as metric_name,
    s.labels,
    s.unit,
    s.kind
from core.visible_series s;

create view api.metrics with (security_barrier) as
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

create view api.metrics_hourly with (security_barrier) as
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

create view api.metrics_daily with (security_barrier) as
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

create view api.metrics_detail with (security_barrier) as
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

create view api.metrics_hourly_quantiles with (security_barrier) as
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

create view api.metrics_daily_quantiles with (security_barrier) as
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

-- For tenants. Each view is behind a wall of its own: no condition of a reader passes the OFFSET (0010 says why).
create view api.spotify_pulls with (security_barrier) as
select t.tenant_id, p.dataset, p.user_id, p.purpose, p.keep_days, p.sandbox, p.mode, p.completed_at, p.put_off_until,
    p.put_off_reason, p.unavailable, p.gap_at
from core.spotify_pull p
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

create view api.spotify_plays with (security_barrier) as
select t.tenant_id, p.user_id, p.played_at, p.track_uri, k.name, k.artist_names, p.context_uri
from core.spotify_play p
left join core.spotify_track k on k.tenant_key = p.tenant_key and k.track_uri = p.track_uri
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

create view api.spotify_saved_tracks with (security_barrier) as
select t.tenant_id, p.user_id, p.track_uri, k.name, k.artist_names, p.added_at, p.removed_at
from core.spotify_saved_track p
left join core.spotify_track k on k.tenant_key = p.tenant_key and k.track_uri = p.track_uri
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

create view api.spotify_followed_artists with (security_barrier) as
select t.tenant_id, p.user_id, p.artist_id, p.name, p.first_seen_at, p.unfollowed_at
from core.spotify_followed_artist p
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

create view api.spotify_artists with (security_barrier) as
select t.tenant_id, p.artist_id, p.day, p.name, p.genres, p.popularity, p.followers
from core.spotify_artist p
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

create view api.spotify_artist_albums with (security_barrier) as
select t.tenant_id, p.artist_id, p.album_id, p.name, p.album_type, p.release_date, p.total_tracks, p.first_seen_at
from core.spotify_artist_album p
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

create view api.spotify_playlists with (security_barrier) as
select t.tenant_id, p.user_id, p.playlist_id, p.owner_id, p.name, p.public, p.collaborative, p.items_total, p.snapshot_id,
    p.unreadable, p.removed_at
from core.spotify_playlist p
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

create view api.spotify_playlist_snapshots with (security_barrier) as
select t.tenant_id, p.user_id, p.playlist_id, p.snapshot_id, p.state, p.reason, p.started_at, p.ended_at, p.items, p.added,
    p.removed, p.moved
from core.spotify_playlist_snapshot p
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

create view api.spotify_playlist_items with (security_barrier) as
select t.tenant_id, s.user_id, s.playlist_id, s.snapshot_id, p.position, p.track_uri, k.name, k.artist_names, p.added_at, p.added_by
from core.spotify_playlist_item p
join core.spotify_playlist_snapshot s on s.snapshot_key = p.snapshot_key
left join core.spotify_track k on k.tenant_key = p.tenant_key and k.track_uri = p.track_uri
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v)) and s.state = 'complete'
offset 0;

create view api.spotify_playlist_changes with (security_barrier) as
select t.tenant_id, s.user_id, s.playlist_id, s.snapshot_id, s.ended_at as seen_at, p.kind, p.old_position, p.position, p.track_uri,
    k.name, k.artist_names, p.added_at, p.added_by
from core.spotify_playlist_change p
join core.spotify_playlist_snapshot s on s.snapshot_key = p.snapshot_key
left join core.spotify_track k on k.tenant_key = p.tenant_key and k.track_uri = p.track_uri
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

create view api.spotify_top_items with (security_barrier) as
select t.tenant_id, p.user_id, p.day, p.kind, p.time_range, p.rank, p.item_uri, p.name
from core.spotify_top_item p
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

create view api.spotify_profiles with (security_barrier) as
select t.tenant_id, p.user_id, p.day, p.account_id, p.display_name, p.country, p.product, p.followers
from core.spotify_profile p
join core.visible_tenant t on t.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

-- The right to read is no use without the right to look into the schema, and that is given to one role at a time.
grant select on all tables in schema api to public;

-- Functions are nobody's but ours, those to come as well.
revoke execute on all functions in schema core from public;
alter default privileges revoke execute on functions from public;
-- A view runs its functions with its reader's rights.
grant execute on function core.visible_tenant_keys() to public;
