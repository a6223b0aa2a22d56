-- name: connected
-- Finds a connected user, and keeps others from disconnecting it until the transaction ends.
select from core.spotify_account
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and state <> 'leaving'
for key share;

-- name: hold
-- Keeps other writers of this dataset, and whoever forgets it, waiting until the transaction ends.
select from core.spotify_pull
where tenant_key = %(tenant_key)s::integer and dataset = %(dataset)s::text and user_id = %(user_id)s::text
for update;

-- name: begin
-- Notes why a dataset is pulled and for how long it is kept; returns where the pull goes on.
insert into core.spotify_pull as l (tenant_key, dataset, user_id, purpose, keep_days, sandbox)
values (
    %(tenant_key)s::integer, %(dataset)s::text, %(user_id)s::text, %(purpose)s::text, %(keep_days)s::integer,
    %(sandbox)s::boolean
)
on conflict (tenant_key, dataset, user_id) do update
set purpose = excluded.purpose, keep_days = excluded.keep_days, sandbox = excluded.sandbox
returning l.position, l.completed_at;

-- name: advance
-- Says where the pull goes on after a page, in the page's transaction.
update core.spotify_pull set position = %(position)s::jsonb, moved_at = %(at)s::timestamptz
where tenant_key = %(tenant_key)s::integer and dataset = %(dataset)s::text and user_id = %(user_id)s::text;

-- name: complete
-- Books a pull that came to its end.
update core.spotify_pull set
    position = %(position)s::jsonb, moved_at = %(at)s::timestamptz, completed_at = %(at)s::timestamptz,
    mode = %(mode)s::text, put_off_until = null, put_off_reason = null, put_off_partition = null, unavailable = null,
    gap_at = case when %(gap)s::boolean then %(at)s::timestamptz else gap_at end, detail = %(detail)s::jsonb
where tenant_key = %(tenant_key)s::integer and dataset = %(dataset)s::text and user_id = %(user_id)s::text;

-- name: put_off
-- Books that a pull was put off: where it goes on is left as its last page wrote it.
update core.spotify_pull set
    put_off_until = %(until)s::timestamptz, put_off_reason = %(reason)s::text, put_off_partition = %(partition)s::text
where tenant_key = %(tenant_key)s::integer and dataset = %(dataset)s::text and user_id = %(user_id)s::text;

-- name: unavailable
-- Books that this quota mode lacks a dataset.
update core.spotify_pull set
    mode = %(mode)s::text, unavailable = %(reason)s::text, position = '{}', put_off_until = null,
    put_off_reason = null, put_off_partition = null
where tenant_key = %(tenant_key)s::integer and dataset = %(dataset)s::text and user_id = %(user_id)s::text;

-- name: states
-- How the pulls of a tenant stand.
select dataset, user_id, sandbox, mode, moved_at, completed_at, put_off_until, put_off_reason, put_off_partition,
    unavailable, gap_at, detail, position <> '{}'
from core.spotify_pull where tenant_key = %(tenant_key)s::integer order by dataset, user_id;

-- name: waiting
-- Pulls of active tenants that were put off, the next one first.
select t.tenant_id, l.dataset, l.user_id, l.put_off_until, l.put_off_reason, l.put_off_partition
from core.spotify_pull l
join core.tenant t using (tenant_key)
where l.put_off_until is not null and t.status = 'active'
order by l.put_off_until, t.tenant_id, l.dataset, l.user_id;
