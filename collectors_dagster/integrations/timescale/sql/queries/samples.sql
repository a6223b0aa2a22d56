
-- name: hosts
-- Hosts with at least one sample in a window (start excluded, end included).
select distinct s.host
from core.series s
where s.tenant_key = %(tenant_key)s::integer and exists (
    select from core.sample p
    where p.tenant_key = s.tenant_key and p.series_id = s.series_id
      and p.ts > %(start)s::timestamptz and p.ts <= %(end)s::timestamptz
)
order by s.host;

-- name: latest
-- The newest sample of each host.
select s.host, max(newest.ts)
from core.series s
cross join lateral (
    select p.ts from core.sample p
    where p.tenant_key = s.tenant_key and p.series_id = s.series_id
    order by p.ts desc limit 1
) newest
where s.tenant_key = %(tenant_key)s::integer
group by s.host order by s.host;

-- name: newest
-- The newest sample of each host among some metrics, if it is newer than an instant: who is alive, cheaply.
select s.host, max(newest.ts)
from core.series s
cross join lateral (
    select p.ts from core.sample p
    where p.tenant_key = s.tenant_key and p.series_id = s.series_id and p.ts > %(since)s::timestamptz
    order by p.ts desc limit 1
) newest
where s.tenant_key = %(tenant_key)s::integer and s.metric = any (%(metrics)s::text[])
group by s.host order by s.host;

-- name: span
-- The oldest and the newest sample of a tenant.
select min(oldest.ts), max(newest.ts)
from core.series s
cross join lateral (
    select p.ts from core.sample p
    where p.tenant_key = s.tenant_key and p.series_id = s.series_id
    order by p.ts limit 1
) oldest
cross join lateral (
    select p.ts from core.sample p
    where p.tenant_key = s.tenant_key and p.series_id = s.series_id
    order by p.ts desc limit 1
) newest
where s.tenant_key = %(tenant_key)s::integer;
