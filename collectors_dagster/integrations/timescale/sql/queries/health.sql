-- name: upsert
-- Writes a host's health at a time.
insert into core.health (tenant_key, host, ts, score, reasons, recommendations)
values (
    %(tenant_key)s::integer, %(host)s::text, %(ts)s::timestamptz, %(score)s::smallint,
    %(reasons)s::jsonb, %(recommendations)s::jsonb
)
on conflict (tenant_key, host, ts) do update set
    score = excluded.score, reasons = excluded.reasons, recommendations = excluded.recommendations;

-- name: advised
-- Reports of a window (start excluded, end included) that give advice, by host and time.
select host, ts, score, reasons, recommendations
from core.health
where tenant_key = %(tenant_key)s::integer and recommendations <> '[]'
  and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz
order by host, ts;

-- name: latest
-- The newest report of each host.
select distinct on (host) host, ts, score, reasons, recommendations
from core.health
where tenant_key = %(tenant_key)s::integer
order by host, ts desc;
