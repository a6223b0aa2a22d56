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

grant select on
    api.spotify_pulls,
    api.spotify_plays,
    api.spotify_saved_tracks,
    api.spotify_followed_artists,
    api.spotify_artists,
    api.spotify_artist_albums,
    api.spotify_playlists,
    api.spotify_playlist_snapshots,
    api.spotify_playlist_items,
    api.spotify_playlist_changes,
    api.spotify_top_items,
    api.spotify_profiles
to public;
