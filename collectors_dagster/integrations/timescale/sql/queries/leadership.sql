-- name: acquire
-- Takes the leadership if nobody has it; it lasts as long as the connection.
select pg_try_advisory_lock(hashtextextended('collectors:leader:' || %(role)s::text, 0));

-- name: alive
-- Any answer means that the connection, and with it the leadership, still stands.
select 1;
