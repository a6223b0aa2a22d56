-- name: upsert
-- Writes points; a point said again by the same issue is replaced.
insert into core.forecast (
    tenant_key, host, signal, issued_at, ts, mean, low80, high80, low95, high95, model_version
)
select %(tenant_key)s::integer, u.*, %(model_version)s::text
from unnest(
    %(hosts)s::text[], %(signals)s::text[], %(issued_at)s::timestamptz[], %(ts)s::timestamptz[], %(mean)s::double precision[],
    %(low80)s::double precision[], %(high80)s::double precision[], %(low95)s::double precision[], %(high95)s::double precision[]
) as u
on conflict (tenant_key, host, signal, issued_at, ts) do update set
    mean = excluded.mean, low80 = excluded.low80, high80 = excluded.high80, low95 = excluded.low95,
    high95 = excluded.high95, model_version = excluded.model_version;

-- name: read
-- The newest forecast of each instant of a window (start excluded, end included).
select distinct on (ts) host, signal, issued_at, ts, mean, low80, high80, low95, high95
from core.forecast
where tenant_key = %(tenant_key)s::integer and host = %(host)s::text and signal = %(signal)s::text
  and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz
order by ts, issued_at desc;
