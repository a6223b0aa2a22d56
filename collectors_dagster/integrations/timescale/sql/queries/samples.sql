-- name: lock
-- Lets one load of a tenant's dataset run at a time, until its transaction ends.
select pg_advisory_xact_lock(hashtextextended('collectors:load:' || %(dataset)s::text, %(tenant_key)s::bigint));

-- name: delete_window
-- Empties a window (start excluded, end included) of all series of these sources (host and collector).
delete from core.sample
where tenant_key = %(tenant_key)s::integer
  and series_id = any (array(
      select s.series_id
      from core.series s
      join unnest(%(hosts)s::text[], %(collectors)s::text[]) as w (host, collector) using (host, collector)
      where s.tenant_key = %(tenant_key)s::integer
  ))
  and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz;

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

-- name: copy
-- Loads rows of (tenant_key, series_id, ts, value) in the binary format.
copy core.sample (tenant_key, series_id, ts, value) from stdin (format binary);
