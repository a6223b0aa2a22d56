-- name: claim
-- Takes what nobody has; it is held as long as the connection.
select wanted.name
from unnest(%(names)s::text[]) as wanted (name)
where pg_try_advisory_lock(hashtextextended('collectors:leader:' || wanted.name, 0));

-- name: give_back
-- Lets others have these.
select pg_advisory_unlock(hashtextextended('collectors:leader:' || held.name, 0))
from unnest(%(names)s::text[]) as held (name);

-- name: alive
-- Any answer means that the connection, and with it all that it holds, still stands.
select 1;
