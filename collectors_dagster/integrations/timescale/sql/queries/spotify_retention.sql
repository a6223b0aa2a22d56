-- name: prune_recently_played
-- Forgets old plays.
delete from core.spotify_play p using core.spotify_pull l
where p.tenant_key = %(tenant_key)s::integer and l.tenant_key = p.tenant_key and l.user_id = p.user_id
  and l.dataset = 'recently_played' and p.played_at < %(now)s::timestamptz - make_interval(days => l.keep_days);

-- name: prune_saved_tracks
-- Forgets saved tracks that no pull has met, or that were removed, for long.
delete from core.spotify_saved_track p using core.spotify_pull l
where p.tenant_key = %(tenant_key)s::integer and l.tenant_key = p.tenant_key and l.user_id = p.user_id
  and l.dataset = 'saved_tracks'
  and coalesce(p.removed_at, greatest(p.seen_at, l.completed_at)) < %(now)s::timestamptz - make_interval(days => l.keep_days);

-- name: prune_followed_artists
-- Forgets artists that are not followed any more, or that no pull has met, for long.
delete from core.spotify_followed_artist p using core.spotify_pull l
where p.tenant_key = %(tenant_key)s::integer and l.tenant_key = p.tenant_key and l.user_id = p.user_id
  and l.dataset = 'followed_artists'
  and coalesce(p.unfollowed_at, p.seen_at) < %(now)s::timestamptz - make_interval(days => l.keep_days);

-- name: prune_artists
-- Forgets old snapshots of artists.
delete from core.spotify_artist p using core.spotify_pull l
where p.tenant_key = %(tenant_key)s::integer and l.tenant_key = p.tenant_key and l.dataset = 'artists'
  and p.day < (%(now)s::timestamptz - make_interval(days => l.keep_days))::date;

-- name: prune_artist_albums
-- Forgets albums that were met first long ago and are not met any more.
delete from core.spotify_artist_album p using core.spotify_pull l
where p.tenant_key = %(tenant_key)s::integer and l.tenant_key = p.tenant_key and l.dataset = 'artist_albums'
  and p.seen_at < %(now)s::timestamptz - make_interval(days => l.keep_days);

-- name: prune_snapshots
-- Forgets old readings of playlists with their items and changes; the newest whole one of a playlist that is still listed
-- stays, because the next is compared with it.
delete from core.spotify_playlist_snapshot p using core.spotify_pull l
where p.tenant_key = %(tenant_key)s::integer and l.tenant_key = p.tenant_key and l.user_id = p.user_id
  and l.dataset = 'playlists'
  and coalesce(p.ended_at, p.started_at) < %(now)s::timestamptz - make_interval(days => l.keep_days)
  and not (
    p.state = 'complete'
    and exists (
        select from core.spotify_playlist i
        where (i.tenant_key, i.user_id, i.playlist_id) = (p.tenant_key, p.user_id, p.playlist_id)
          and i.removed_at is null and i.seen_at >= %(now)s::timestamptz - make_interval(days => l.keep_days)
    )
    and not exists (
        select from core.spotify_playlist_snapshot n
        where (n.tenant_key, n.user_id, n.playlist_id) = (p.tenant_key, p.user_id, p.playlist_id)
          and n.state = 'complete' and (n.ended_at, n.snapshot_key) > (p.ended_at, p.snapshot_key)
    )
  );

-- name: prune_playlists
-- Forgets playlists that are gone, or that no pull has met, for long.
delete from core.spotify_playlist p using core.spotify_pull l
where p.tenant_key = %(tenant_key)s::integer and l.tenant_key = p.tenant_key and l.user_id = p.user_id
  and l.dataset = 'playlists'
  and coalesce(p.removed_at, p.seen_at) < %(now)s::timestamptz - make_interval(days => l.keep_days);

-- name: prune_top_items
-- Forgets old top lists.
delete from core.spotify_top_item p using core.spotify_pull l
where p.tenant_key = %(tenant_key)s::integer and l.tenant_key = p.tenant_key and l.user_id = p.user_id
  and l.dataset = 'top_items' and p.day < (%(now)s::timestamptz - make_interval(days => l.keep_days))::date;

-- name: prune_profile
-- Forgets old profiles.
delete from core.spotify_profile p using core.spotify_pull l
where p.tenant_key = %(tenant_key)s::integer and l.tenant_key = p.tenant_key and l.user_id = p.user_id
  and l.dataset = 'profile' and p.day < (%(now)s::timestamptz - make_interval(days => l.keep_days))::date;

-- name: prune_tracks
-- Forgets tracks that nothing names any more.
delete from core.spotify_track k
where k.tenant_key = %(tenant_key)s::integer
  and not exists (
    select from core.spotify_play p where p.tenant_key = k.tenant_key and p.track_uri = k.track_uri
  )
  and not exists (
    select from core.spotify_saved_track s where s.tenant_key = k.tenant_key and s.track_uri = k.track_uri
  )
  and not exists (
    select from core.spotify_playlist_item i where i.tenant_key = k.tenant_key and i.track_uri = k.track_uri
  )
  and not exists (
    select from core.spotify_playlist_change c where c.tenant_key = k.tenant_key and c.track_uri = k.track_uri
  );

-- name: forget_pulls
-- Forgets where the pulls of a user, or of all, stood. First: pages that are being written end before, others are refused.
delete from core.spotify_pull
where tenant_key = %(tenant_key)s::integer and user_id = coalesce(%(user_id)s::text, user_id);

-- name: forget_plays
-- Forgets the plays of a user, or of all.
delete from core.spotify_play
where tenant_key = %(tenant_key)s::integer and user_id = coalesce(%(user_id)s::text, user_id);

-- name: forget_saved_tracks
-- Forgets the saved tracks of a user, or of all.
delete from core.spotify_saved_track
where tenant_key = %(tenant_key)s::integer and user_id = coalesce(%(user_id)s::text, user_id);

-- name: forget_followed_artists
-- Forgets the followed artists of a user, or of all.
delete from core.spotify_followed_artist
where tenant_key = %(tenant_key)s::integer and user_id = coalesce(%(user_id)s::text, user_id);

-- name: forget_snapshots
-- Forgets the readings of a user's playlists, or of all, with their items and changes.
delete from core.spotify_playlist_snapshot
where tenant_key = %(tenant_key)s::integer and user_id = coalesce(%(user_id)s::text, user_id);

-- name: forget_playlists
-- Forgets the playlists of a user, or of all.
delete from core.spotify_playlist
where tenant_key = %(tenant_key)s::integer and user_id = coalesce(%(user_id)s::text, user_id);

-- name: forget_top_items
-- Forgets the top lists of a user, or of all.
delete from core.spotify_top_item
where tenant_key = %(tenant_key)s::integer and user_id = coalesce(%(user_id)s::text, user_id);

-- name: forget_profiles
-- Forgets the profiles of a user, or of all.
delete from core.spotify_profile
where tenant_key = %(tenant_key)s::integer and user_id = coalesce(%(user_id)s::text, user_id);

-- name: forget_artists
-- Forgets artists that no user's data name any more.
delete from core.spotify_artist a
where a.tenant_key = %(tenant_key)s::integer
  and not exists (
    select from core.spotify_followed_artist f
    where f.tenant_key = a.tenant_key and f.artist_id = a.artist_id and f.unfollowed_at is null
  )
  and not exists (
    select from core.spotify_top_item i
    where i.tenant_key = a.tenant_key and i.kind = 'artists' and i.item_uri = 'spotify:artist:' || a.artist_id
  )
  and not exists (
    select from core.spotify_track k where k.tenant_key = a.tenant_key and a.artist_id = any (k.artist_ids)
  );

-- name: forget_artist_albums
-- Forgets the albums of artists that no user's data name any more.
delete from core.spotify_artist_album b
where b.tenant_key = %(tenant_key)s::integer
  and not exists (
    select from core.spotify_followed_artist f
    where f.tenant_key = b.tenant_key and f.artist_id = b.artist_id and f.unfollowed_at is null
  )
  and not exists (
    select from core.spotify_top_item i
    where i.tenant_key = b.tenant_key and i.kind = 'artists' and i.item_uri = 'spotify:artist:' || b.artist_id
  )
  and not exists (
    select from core.spotify_track k where k.tenant_key = b.tenant_key and b.artist_id = any (k.artist_ids)
  );
