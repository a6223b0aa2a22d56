-- name: wanted
-- The artists of a tenant: followed ones first, then those of the users' newest top lists, then those played or saved
-- most.
with named as (
    select artist_id, 1 as why, 1::bigint as weight from core.spotify_followed_artist
    where tenant_key = %(tenant_key)s::integer and unfollowed_at is null
    union all
    select split_part(i.item_uri, ':', 3), 2, 100 - i.rank from core.spotify_top_item i
    where i.tenant_key = %(tenant_key)s::integer and i.kind = 'artists'
      and i.day >= %(at)s::timestamptz::date - 7
    union all
    select a.artist_id, 3, count(*) from core.spotify_track k
    cross join lateral unnest(k.artist_ids) as a (artist_id)
    where k.tenant_key = %(tenant_key)s::integer
    group by a.artist_id
)
select artist_id from named where artist_id <> ''
group by artist_id order by min(why), max(weight) desc, artist_id limit %(most)s::integer;

-- name: artists
-- Writes a day's snapshot of artists; the same again changes nothing.
with written as (
    insert into core.spotify_artist as a (tenant_key, artist_id, day, name, genres, popularity, followers)
    select distinct on (r.artist_id) %(tenant_key)s::integer, r.artist_id, %(day)s::date, r.name, r.genres, r.popularity,
        r.followers
    from jsonb_to_recordset(%(rows)s::jsonb) as r (
        artist_id text, name text, genres text[], popularity smallint, followers integer
    )
    order by r.artist_id
    on conflict (tenant_key, artist_id, day) do update
    set name = excluded.name, genres = excluded.genres, popularity = excluded.popularity, followers = excluded.followers
    where (a.name, a.genres, a.popularity, a.followers) is distinct from
        (excluded.name, excluded.genres, excluded.popularity, excluded.followers)
    returning (xmax = 0) as is_new
)
select count(*) filter (where is_new), count(*) filter (where not is_new) from written;

-- name: done
-- The artists that have their snapshot of a day.
select artist_id from core.spotify_artist where tenant_key = %(tenant_key)s::integer and day = %(day)s::date;

-- name: known_albums
-- The albums of an artist that were met before, released before a pull began.
select album_id from core.spotify_artist_album
where tenant_key = %(tenant_key)s::integer and artist_id = %(artist_id)s::text
  and first_seen_at < %(at)s::timestamptz;

-- name: albums
-- Adds albums, or brings them up to date.
with written as (
    insert into core.spotify_artist_album as b (
        tenant_key, artist_id, album_id, name, album_type, release_date, total_tracks, first_seen_at, seen_at
    )
    select distinct on (r.album_id) %(tenant_key)s::integer, %(artist_id)s::text, r.album_id, r.name, r.album_type,
        r.release_date, r.total_tracks, %(at)s::timestamptz, %(at)s::timestamptz
    from jsonb_to_recordset(%(rows)s::jsonb) as r (
        album_id text, name text, album_type text, release_date text, total_tracks integer
    )
    order by r.album_id
    on conflict (tenant_key, artist_id, album_id) do update
    set name = excluded.name, album_type = excluded.album_type, release_date = excluded.release_date,
        total_tracks = excluded.total_tracks, seen_at = greatest(b.seen_at, excluded.seen_at)
    where (b.name, b.album_type, b.release_date, b.total_tracks) is distinct from
        (excluded.name, excluded.album_type, excluded.release_date, excluded.total_tracks)
        or b.seen_at < excluded.seen_at
    returning (xmax = 0) as is_new
)
select count(*) filter (where is_new) from written;
