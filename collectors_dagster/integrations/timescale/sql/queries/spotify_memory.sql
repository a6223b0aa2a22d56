-- name: load
-- What was remembered.
select document from core.spotify_memory where kind = %(kind)s::text and name = %(name)s::text;

-- name: save
-- Remembers a document in the place of the one before.
insert into core.spotify_memory as m (kind, name, document, saved_at)
values (%(kind)s::text, %(name)s::text, %(document)s::jsonb, now())
on conflict (kind, name) do update set document = excluded.document, saved_at = excluded.saved_at;
