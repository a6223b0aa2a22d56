-- name: due
-- Incidents of a host whose window is not delivered yet, oldest first, and how far it is.
select i.incident_id, t.tenant_id, i.opened_at, i.resolved_at, w.shipped_until
from core.incident i
join core.tenant t using (tenant_key)
left join core.detail_window w
    on w.tenant_key = i.tenant_key and w.agent_id = %(agent_id)s::text and w.incident_id = i.incident_id
where t.tenant_id = any (%(tenant_ids)s::text[]) and i.host = %(host)s::text and i.source = 'stream'
  and i.opened_at > %(since)s::timestamptz and not coalesce(w.complete, false)
order by i.opened_at, i.incident_id limit %(limit)s::integer;

-- name: lock_window
-- Makes a window's row if needed and keeps other deliveries of it waiting.
insert into core.detail_window as w (tenant_key, agent_id, incident_id, shipped_until)
values (%(tenant_key)s::integer, %(agent_id)s::text, %(incident_id)s::bigint, '-infinity')
on conflict (tenant_key, agent_id, incident_id) do update set shipped_until = w.shipped_until
returning w.shipped_until >= %(until)s::timestamptz as known;

-- name: insert_minute
-- Adds a minute of a series unless it is there already.
insert into core.sample_detail (tenant_key, series_id, minute, offsets, "values")
values (
    %(tenant_key)s::integer, %(series_id)s::integer, %(minute)s::timestamptz, %(offsets)s::integer[],
    %(values)s::double precision[]
)
on conflict (tenant_key, series_id, minute) do nothing;

-- name: move_window
-- Acknowledges a piece of a window, in the transaction of its values.
update core.detail_window set
    shipped_until = greatest(shipped_until, %(until)s::timestamptz), complete = complete or %(complete)s::boolean,
    "values" = "values" + %(added)s::bigint
where tenant_key = %(tenant_key)s::integer and agent_id = %(agent_id)s::text
  and incident_id = %(incident_id)s::bigint;
