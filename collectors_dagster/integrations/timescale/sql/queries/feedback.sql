-- name: find
-- One incident of a tenant, by its number; one that is open lasts until now.
select i.host, i.opened_at, coalesce(i.resolved_at, greatest(i.updated_at, %(now)s::timestamptz)), i.title,
       i.contributions, i.model_version
from core.incident i
where i.tenant_key = %(tenant_key)s::integer and i.incident_id = %(incident_id)s::bigint;

-- name: explained
-- What was found strange in a host's minutes (both ends included).
select s.contributions from core.score s
where s.tenant_key = %(tenant_key)s::integer and s.host = %(host)s::text
  and s.ts >= %(opened_at)s::timestamptz and s.ts <= %(ended_at)s::timestamptz;

-- name: say
-- Writes a verdict; the last word on an incident counts.
insert into core.feedback (
    tenant_key, host, opened_at, ended_at, verdict, reason, said_by, said_at, title, contributions, model_version
)
values (
    %(tenant_key)s::integer, %(host)s::text, %(opened_at)s::timestamptz, %(ended_at)s::timestamptz,
    %(verdict)s::text, %(reason)s::text, %(said_by)s::text, %(said_at)s::timestamptz, %(title)s::text,
    %(contributions)s::jsonb, %(model_version)s::text
)
on conflict (tenant_key, host, opened_at) do update set
    ended_at = greatest(core.feedback.ended_at, excluded.ended_at), verdict = excluded.verdict,
    reason = excluded.reason, said_by = excluded.said_by, said_at = excluded.said_at, title = excluded.title,
    contributions = excluded.contributions, model_version = excluded.model_version;

-- name: forget
-- Takes a verdict back.
delete from core.feedback
where tenant_key = %(tenant_key)s::integer and host = %(host)s::text and opened_at = %(opened_at)s::timestamptz
returning host;

-- name: list
-- A tenant's verdicts on what overlaps a window; without one, all.
select host, opened_at, ended_at, verdict, reason, said_by, said_at, title, contributions, model_version
from core.feedback
where tenant_key = %(tenant_key)s::integer
  and (%(end)s::timestamptz is null or opened_at <= %(end)s::timestamptz)
  and (%(start)s::timestamptz is null or ended_at >= %(start)s::timestamptz)
order by opened_at, host;
