-- name: delete_window
-- Removes what was planted in a window (start included, end excluded).
delete from core.planted_incident
where tenant_key = %(tenant_key)s::integer
  and started_at >= %(start)s::timestamptz and started_at < %(end)s::timestamptz;

-- name: insert
-- Writes the truth behind a synthetic history.
insert into core.planted_incident (tenant_key, host, started_at, ended_at, kind, signals)
values (
    %(tenant_key)s::integer, %(host)s::text, %(started_at)s::timestamptz, %(ended_at)s::timestamptz,
    %(kind)s::text, %(signals)s::text[]
);

-- name: read
-- What was planted and overlaps a window, by time.
select host, started_at, ended_at, kind, signals from core.planted_incident
where tenant_key = %(tenant_key)s::integer
  and ended_at > %(start)s::timestamptz and started_at < %(end)s::timestamptz
order by started_at, host;
