-- name: find
-- The surrogate keys and units of these series of one tenant; unknown ones are absent. `position` counts from 1.
select w.position, s.series_id, s.unit
from unnest(%(hosts)s::text[], %(collectors)s::text[], %(metrics)s::text[], %(labels)s::text[])
    with ordinality as w (host, collector, metric, labels, position)
join core.series s
    on s.tenant_key = %(tenant_key)s::integer and s.host = w.host and s.collector = w.collector
    and s.metric = w.metric and s.labels = w.labels::jsonb;

-- name: add
-- Adds series; those that are there already (perhaps added this moment by another) are left alone.
insert into core.series (tenant_key, host, collector, metric, labels, unit, kind)
select %(tenant_key)s::integer, w.host, w.collector, w.metric, w.labels::jsonb, w.unit, w.kind
from unnest(
    %(hosts)s::text[], %(collectors)s::text[], %(metrics)s::text[], %(labels)s::text[], %(units)s::text[], %(kinds)s::text[]
) as w (host, collector, metric, labels, unit, kind)
on conflict (tenant_key, host, collector, metric, labels) do nothing;
