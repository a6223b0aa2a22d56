-- name: limits
-- Whether a tenant is active, and between which instants samples are believed, by the database's clock.
select status = 'active', now() - interval '3653 days', now() + interval '1 day', now()
from core.tenant where tenant_key = %(tenant_key)s::integer;

-- name: active
-- Whether a tenant is still active; holds its removal off until the transaction ends.
select status = 'active' from core.tenant where tenant_key = %(tenant_key)s::integer for share;

-- name: forget
-- Forgets what a load refused the last time.
delete from core.refusal
where tenant_key = %(tenant_key)s::integer and origin = %(origin)s::text and hour = %(hour)s::timestamptz;

-- name: note
-- Adds to what was refused; the first example stays.
insert into core.refusal as r (tenant_key, origin, host, collector, hour, reason, samples, example)
select %(tenant_key)s::integer, %(origin)s::text, u.*
from unnest(
    %(hosts)s::text[], %(collectors)s::text[], %(hours)s::timestamptz[], %(reasons)s::text[], %(samples)s::bigint[],
    %(examples)s::text[]
) as u
on conflict (tenant_key, origin, host, collector, hour, reason) do update set
    samples = r.samples + excluded.samples, noted_at = now();
