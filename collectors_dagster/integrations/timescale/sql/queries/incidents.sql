-- name: lock
-- Puts writers of events in a row, so that event ids become visible in their order and no cursor skips one.
select pg_advisory_xact_lock(hashtextextended('collectors:incident_events', 0));

-- name: open
-- Opens an incident; nothing comes back if the stream has an open one on this host already.
insert into core.incident (
    tenant_key, host, source, opened_at, updated_at, resolved_at, severity, peak_score, title, contributions, model_version
)
values (
    %(tenant_key)s::integer, %(host)s::text, %(source)s::text, %(opened_at)s::timestamptz, %(updated_at)s::timestamptz,
    %(resolved_at)s::timestamptz, %(severity)s::text, %(peak_score)s::double precision, %(title)s::text,
    %(contributions)s::jsonb, %(model_version)s::text
)
on conflict (tenant_key, host) where resolved_at is null and source = 'stream' do nothing
returning incident_id;

-- name: change
-- Updates or resolves an incident; nothing comes back if it is resolved already, or another tenant's.
update core.incident set
    updated_at = %(updated_at)s::timestamptz, resolved_at = %(resolved_at)s::timestamptz,
    severity = %(severity)s::text, peak_score = %(peak_score)s::double precision, title = %(title)s::text,
    contributions = %(contributions)s::jsonb, model_version = %(model_version)s::text
where incident_id = %(incident_id)s::bigint and tenant_key = %(tenant_key)s::integer and resolved_at is null
returning incident_id;

-- name: add_event
-- Tells those who follow the events.
insert into core.incident_event (incident_id, kind, at, snapshot)
values (%(incident_id)s::bigint, %(kind)s::text, %(at)s::timestamptz, %(snapshot)s::jsonb);

-- name: events_after
-- What happened after an event, oldest first.
select event_id, kind, at, snapshot from core.incident_event
where event_id > %(event_id)s::bigint
order by event_id limit %(limit)s::integer;

-- name: list
-- Incidents by tenant, source, state and time; null means "any". A window finds what overlaps it.
select i.incident_id, t.tenant_id, i.host, i.opened_at, i.updated_at, i.resolved_at, i.severity, i.peak_score,
       i.title, i.contributions, i.model_version, i.source
from core.incident i
join core.tenant t using (tenant_key)
where (%(tenant_key)s::integer is null or i.tenant_key = %(tenant_key)s::integer)
  and (%(source)s::text is null or i.source = %(source)s::text)
  and (not %(only_open)s::boolean or i.resolved_at is null)
  and (%(end)s::timestamptz is null or i.opened_at <= %(end)s::timestamptz)
  and (%(start)s::timestamptz is null or coalesce(i.resolved_at, 'infinity') > %(start)s::timestamptz)
order by i.opened_at, i.incident_id;

-- name: delete_batch
-- Removes the batch's incidents that began in a window (start excluded, end included).
delete from core.incident
where tenant_key = %(tenant_key)s::integer and source = 'batch'
  and opened_at > %(start)s::timestamptz and opened_at <= %(end)s::timestamptz;
