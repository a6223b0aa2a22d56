-- name: lock
-- Lets one load of a tenant's features run at a time, until its transaction ends.
select pg_advisory_xact_lock(hashtextextended('collectors:features', %(tenant_key)s::bigint));

-- name: add_set
-- Remembers what the columns of a version mean.
insert into core.feature_set (version, columns) values (%(version)s::text, %(columns)s::text[])
on conflict (version) do nothing;

-- name: delete_window
-- Empties a window (start excluded, end included) of a tenant.
delete from core.feature
where tenant_key = %(tenant_key)s::integer and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz;

-- name: copy
-- Loads rows of (tenant_key, host, ts, version, values) in the binary format.
copy core.feature (tenant_key, host, ts, version, "values") from stdin (format binary);

-- name: read
-- One version's rows of a window, packed: per host, each row is its time (8 bytes) and the array as sent.
select f.host, s.columns, string_agg(timestamptz_send(f.ts) || array_send(f."values"), ''::bytea order by f.ts)
from core.feature f
join core.feature_set s using (version)
where f.tenant_key = %(tenant_key)s::integer and f.version = %(version)s::text
  and f.ts > %(start)s::timestamptz and f.ts <= %(end)s::timestamptz
  and (%(hosts)s::text[] is null or f.host = any (%(hosts)s::text[]))
group by f.host, s.columns
order by f.host;
