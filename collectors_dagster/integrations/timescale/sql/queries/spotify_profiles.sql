-- name: clear_top
-- Forgets a day's list that is written anew.
delete from core.spotify_top_item
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and day = %(day)s::date
  and kind = %(kind)s::text and time_range = %(time_range)s::text;

-- name: top
-- Writes a day's list.
insert into core.spotify_top_item (tenant_key, user_id, day, kind, time_range, rank, item_uri, name)
select %(tenant_key)s::integer, %(user_id)s::text, %(day)s::date, %(kind)s::text, %(time_range)s::text, r.rank,
    r.item_uri, r.name
from jsonb_to_recordset(%(rows)s::jsonb) as r (rank smallint, item_uri text, name text);

-- name: profile
-- Writes a day's profile of a user; the same again changes nothing.
insert into core.spotify_profile as p (
    tenant_key, user_id, day, account_id, display_name, country, product, followers
)
values (
    %(tenant_key)s::integer, %(user_id)s::text, %(day)s::date, %(account_id)s::text, %(display_name)s::text,
    %(country)s::text, %(product)s::text, %(followers)s::integer
)
on conflict (tenant_key, user_id, day) do update
set account_id = excluded.account_id, display_name = excluded.display_name, country = excluded.country,
    product = excluded.product, followers = excluded.followers
where (p.account_id, p.display_name, p.country, p.product, p.followers) is distinct from
    (excluded.account_id, excluded.display_name, excluded.country, excluded.product, excluded.followers);
