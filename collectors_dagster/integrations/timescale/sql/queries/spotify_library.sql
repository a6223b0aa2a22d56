-- name: tracks
-- Adds the tracks that other rows name, or brings them up to date.
insert into core.spotify_track as k (
    tenant_key, track_uri, name, artist_ids, artist_names, album_id, duration_ms, isrc, seen_at
)
select distinct on (r.track_uri) %(tenant_key)s::integer, r.track_uri, r.name, r.artist_ids, r.artist_names, r.album_id,
    r.duration_ms, r.isrc, %(at)s::timestamptz
from jsonb_to_recordset(%(rows)s::jsonb) as r (
    track_uri text, name text, artist_ids text[], artist_names text[], album_id text, duration_ms integer, isrc text
)
order by r.track_uri
on conflict (tenant_key, track_uri) do update
set name = excluded.name, artist_ids = excluded.artist_ids, artist_names = excluded.artist_names,
    album_id = excluded.album_id, duration_ms = excluded.duration_ms, isrc = coalesce(excluded.isrc, k.isrc),
    seen_at = greatest(k.seen_at, excluded.seen_at)
where (k.name, k.artist_ids, k.artist_names, k.album_id, k.duration_ms, k.isrc) is distinct from
    (excluded.name, excluded.artist_ids, excluded.artist_names, excluded.album_id, excluded.duration_ms,
     coalesce(excluded.isrc, k.isrc))
    or k.seen_at < excluded.seen_at - interval '1 day';

-- name: plays
-- Adds plays that are not there yet.
insert into core.spotify_play (tenant_key, user_id, played_at, track_uri, context_uri)
select %(tenant_key)s::integer, %(user_id)s::text, r.played_at, r.track_uri, r.context_uri
from jsonb_to_recordset(%(rows)s::jsonb) as r (played_at timestamptz, track_uri text, context_uri text)
on conflict do nothing;

-- name: saved
-- Adds saved tracks, and says of those that are there that they still are; counts new and changed ones.
with written as (
    insert into core.spotify_saved_track as s (tenant_key, user_id, track_uri, added_at, seen_at)
    select distinct on (r.track_uri) %(tenant_key)s::integer, %(user_id)s::text, r.track_uri, r.added_at,
        %(seen_at)s::timestamptz
    from jsonb_to_recordset(%(rows)s::jsonb) as r (track_uri text, added_at timestamptz)
    order by r.track_uri, r.added_at desc
    on conflict (tenant_key, user_id, track_uri) do update
    set added_at = excluded.added_at, seen_at = greatest(s.seen_at, excluded.seen_at), removed_at = null
    where s.seen_at < excluded.seen_at or s.removed_at is not null or s.added_at is distinct from excluded.added_at
    returning (xmax = 0) as is_new
)
select count(*) filter (where is_new) from written;

-- name: seen
-- Counts the tracks that a sweep has met.
select count(*) from core.spotify_saved_track
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and removed_at is null
  and seen_at >= %(seen_at)s::timestamptz;

-- name: unsave
-- Says of tracks that a whole sweep has not met that they were removed.
update core.spotify_saved_track set removed_at = %(at)s::timestamptz
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and removed_at is null
  and seen_at < %(seen_at)s::timestamptz;

-- name: newest_saved
-- When the newest saved track was added.
select max(added_at) from core.spotify_saved_track
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and removed_at is null;

-- name: followed
-- Adds followed artists, and says of those that are there that they still are.
with written as (
    insert into core.spotify_followed_artist as f (
        tenant_key, user_id, artist_id, name, first_seen_at, seen_at
    )
    select distinct on (r.artist_id) %(tenant_key)s::integer, %(user_id)s::text, r.artist_id, r.name,
        %(seen_at)s::timestamptz, %(seen_at)s::timestamptz
    from jsonb_to_recordset(%(rows)s::jsonb) as r (artist_id text, name text)
    order by r.artist_id
    on conflict (tenant_key, user_id, artist_id) do update
    set name = excluded.name, seen_at = greatest(f.seen_at, excluded.seen_at), unfollowed_at = null
    where f.seen_at < excluded.seen_at or f.unfollowed_at is not null
    returning (xmax = 0) as is_new
)
select count(*) filter (where is_new) from written;

-- name: unfollow
-- Says of artists that a whole sweep has not met that they are not followed any more.
update core.spotify_followed_artist set unfollowed_at = %(at)s::timestamptz
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and unfollowed_at is null
  and seen_at < %(seen_at)s::timestamptz;
