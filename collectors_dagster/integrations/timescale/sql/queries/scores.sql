-- name: upsert
-- Writes minutes; a minute scored again is replaced.
insert into core.score (tenant_key, host, ts, source, score, state, model_version, contributions)
select %(tenant_key)s::integer, u.host, u.ts, %(source)s::text, u.score, u.state, u.model_version, u.contributions::jsonb
from unnest(
    %(hosts)s::text[], %(ts)s::timestamptz[], %(scores)s::double precision[], %(states)s::text[],
    %(model_versions)s::text[], %(contributions)s::text[]
) as u (host, ts, score, state, model_version, contributions)
on conflict (tenant_key, host, source, ts) do update set
    score = excluded.score, state = excluded.state, model_version = excluded.model_version,
    contributions = excluded.contributions;

-- name: delete_window
-- Empties a window (start excluded, end included) of one source.
delete from core.score
where tenant_key = %(tenant_key)s::integer and source = %(source)s::text
  and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz;

-- name: spread
-- How a window's scores are spread, by host: minutes per twentieth of the scale (1 to 20; a full 1 is in the last).
select host, least(width_bucket(score, 0, 1, 20), 20) as bin, count(*)
from core.score
where tenant_key = %(tenant_key)s::integer and source = %(source)s::text
  and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz
group by host, bin;

-- name: read
-- Minutes of a window, by host and time.
select host, ts, score, state, model_version, contributions
from core.score
where tenant_key = %(tenant_key)s::integer and source = %(source)s::text
  and ts > %(start)s::timestamptz and ts <= %(end)s::timestamptz
  and (%(host)s::text is null or host = %(host)s::text)
order by host, ts;
