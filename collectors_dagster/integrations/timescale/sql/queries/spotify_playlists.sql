-- name: listed
-- Writes the user's playlists as they are listed.
with written as (
    insert into core.spotify_playlist as p (
        tenant_key, user_id, playlist_id, owner_id, name, public, collaborative, items_total, snapshot_id, seen_at
    )
    select distinct on (r.playlist_id) %(tenant_key)s::integer, %(user_id)s::text, r.playlist_id, r.owner_id, r.name,
        r.public, r.collaborative, r.items_total, r.snapshot_id, %(seen_at)s::timestamptz
    from jsonb_to_recordset(%(rows)s::jsonb) as r (
        playlist_id text, owner_id text, name text, public boolean, collaborative boolean, items_total integer,
        snapshot_id text
    )
    order by r.playlist_id
    on conflict (tenant_key, user_id, playlist_id) do update
    set owner_id = excluded.owner_id, name = excluded.name, public = excluded.public,
        collaborative = excluded.collaborative, items_total = excluded.items_total,
        snapshot_id = excluded.snapshot_id, seen_at = greatest(p.seen_at, excluded.seen_at), removed_at = null
    returning (xmax = 0) as is_new
)
select count(*) filter (where is_new) from written;

-- name: unlisted
-- Says of playlists that a whole listing has not met that they are gone.
update core.spotify_playlist set removed_at = %(at)s::timestamptz
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and removed_at is null
  and seen_at < %(seen_at)s::timestamptz;

-- name: changed
-- Playlists whose items are those of an older snapshot than the listed one, and that may be read.
select p.playlist_id, p.snapshot_id from core.spotify_playlist p
where p.tenant_key = %(tenant_key)s::integer and p.user_id = %(user_id)s::text and p.removed_at is null
  and p.snapshot_id is not null
  and not exists (
    select from core.spotify_playlist_snapshot s
    where s.tenant_key = p.tenant_key and s.user_id = p.user_id and s.playlist_id = p.playlist_id
      and s.snapshot_id = p.snapshot_id and s.state = 'complete'
  )
order by p.playlist_id;

-- name: unreadable
-- Says why the items of a playlist cannot be read; null: they can.
update core.spotify_playlist set unreadable = %(reason)s::text
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and playlist_id = %(playlist_id)s::text
  and unreadable is distinct from %(reason)s::text;

-- name: start
-- Begins a reading of a snapshot, or finds the one that was begun; one that is complete is left as it is.
insert into core.spotify_playlist_snapshot as s (
    tenant_key, user_id, playlist_id, snapshot_id, state, started_at
)
values (
    %(tenant_key)s::integer, %(user_id)s::text, %(playlist_id)s::text, %(snapshot_id)s::text, 'loading',
    %(at)s::timestamptz
)
on conflict (tenant_key, user_id, playlist_id, snapshot_id) do update
set state = case when s.state = 'complete' then s.state else 'loading' end, reason = null
returning s.snapshot_key, s.state;

-- name: clear
-- Forgets the items of a reading that begins anew.
delete from core.spotify_playlist_item where snapshot_key = %(snapshot_key)s::bigint;

-- name: items
-- Writes a page of items; the same page again changes nothing.
insert into core.spotify_playlist_item as i (snapshot_key, tenant_key, position, track_uri, added_at, added_by)
select %(snapshot_key)s::bigint, %(tenant_key)s::integer, r.position, r.track_uri, r.added_at, r.added_by
from jsonb_to_recordset(%(rows)s::jsonb) as r (position integer, track_uri text, added_at timestamptz, added_by text)
on conflict (snapshot_key, position) do update
set track_uri = excluded.track_uri, added_at = excluded.added_at, added_by = excluded.added_by
where (i.track_uri, i.added_at, i.added_by) is distinct from (excluded.track_uri, excluded.added_at, excluded.added_by);

-- name: read
-- The items of a reading in their order.
select track_uri, added_at, added_by from core.spotify_playlist_item
where snapshot_key = %(snapshot_key)s::bigint order by position;

-- name: before
-- The complete reading that ended last before this one.
select s.snapshot_key from core.spotify_playlist_snapshot s
join core.spotify_playlist_snapshot n on n.snapshot_key = %(snapshot_key)s::bigint
where (s.tenant_key, s.user_id, s.playlist_id) = (n.tenant_key, n.user_id, n.playlist_id)
  and s.snapshot_key <> n.snapshot_key and s.state = 'complete'
order by s.ended_at desc, s.snapshot_key desc limit 1;

-- name: trim
-- Forgets items beyond the end: the playlist became shorter while it was read.
delete from core.spotify_playlist_item
where snapshot_key = %(snapshot_key)s::bigint and position >= %(items)s::integer;

-- name: same
-- Forgets another reading of the snapshot that this one turned out to be.
delete from core.spotify_playlist_snapshot s
using core.spotify_playlist_snapshot n
where n.snapshot_key = %(snapshot_key)s::bigint and s.snapshot_key <> n.snapshot_key
  and (s.tenant_key, s.user_id, s.playlist_id) = (n.tenant_key, n.user_id, n.playlist_id)
  and s.snapshot_id = %(snapshot_id)s::text;

-- name: name
-- Says which snapshot a reading turned out to be.
update core.spotify_playlist_snapshot set snapshot_id = %(snapshot_id)s::text
where snapshot_key = %(snapshot_key)s::bigint and snapshot_id <> %(snapshot_id)s::text;

-- name: name_listed
-- Says of a listed playlist that its newest snapshot is the one that was read.
update core.spotify_playlist p set snapshot_id = s.snapshot_id, items_total = %(items)s::integer
from core.spotify_playlist_snapshot s
where s.snapshot_key = %(snapshot_key)s::bigint
  and (p.tenant_key, p.user_id, p.playlist_id) = (s.tenant_key, s.user_id, s.playlist_id)
  and p.snapshot_id is distinct from s.snapshot_id;

-- name: end
-- Ends a reading: whole, or unstable with the reason.
update core.spotify_playlist_snapshot set
    state = %(state)s::text, reason = %(reason)s::text, ended_at = %(at)s::timestamptz, items = %(items)s::integer,
    added = %(added)s::integer, removed = %(removed)s::integer, moved = %(moved)s::integer
where snapshot_key = %(snapshot_key)s::bigint;

-- name: clear_changes
-- Forgets the changes of a reading that ends anew.
delete from core.spotify_playlist_change where snapshot_key = %(snapshot_key)s::bigint;

-- name: changes
-- Writes what changed against the reading before.
insert into core.spotify_playlist_change (
    snapshot_key, tenant_key, number, kind, old_position, position, track_uri, added_at, added_by
)
select %(snapshot_key)s::bigint, %(tenant_key)s::integer, r.number, r.kind, r.old_position, r.position, r.track_uri,
    r.added_at, r.added_by
from jsonb_to_recordset(%(rows)s::jsonb) as r (
    number integer, kind text, old_position integer, position integer, track_uri text, added_at timestamptz,
    added_by text
);

-- name: drop_others
-- Forgets readings of a playlist that never became whole.
delete from core.spotify_playlist_snapshot
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and playlist_id = %(playlist_id)s::text
  and state = 'loading' and snapshot_id <> %(snapshot_id)s::text;
