-- name: lock_cursor
-- Makes the cursor's row if needed and keeps other deliveries of this spool waiting; tells whether a batch is stored.
insert into core.agent_cursor as c (agent_id, epoch, tenant_key, acked_seq)
values (%(agent_id)s::text, %(epoch)s::text, %(tenant_key)s::integer, -1)
on conflict (agent_id, epoch, tenant_key) do update set acked_seq = c.acked_seq
returning c.acked_seq, %(last_seq)s::bigint <= c.acked_seq
    or c.ahead @> int8range(%(first_seq)s::bigint, %(last_seq)s::bigint, '[]');

-- name: delivered
-- How far a spool is delivered: up to a number, and the first and the last numbers of the ranges beyond it.
select
    acked_seq,
    array(select lower(r) from unnest(ahead) as r order by 1) as firsts,
    array(select upper(r) - 1 from unnest(ahead) as r order by 1) as lasts
from core.agent_cursor
where agent_id = %(agent_id)s::text and epoch = %(epoch)s::text and tenant_key = %(tenant_key)s::integer;

-- name: insert_samples
-- Adds samples that are not there yet; counts per series and hour what was sent, added and late.
-- A sample belongs to the hour its interval lies in: its time is the interval's end.
with sent as (
    select series_id, ts, value
    from unnest(%(series_ids)s::integer[], %(ts)s::timestamptz[], %(values)s::double precision[]) as u (series_id, ts, value)
),
added as (
    insert into core.sample (tenant_key, series_id, ts, value)
    select %(tenant_key)s::integer, series_id, ts, value from sent
    on conflict (tenant_key, series_id, ts) do nothing
    returning series_id, ts
),
added_counts as (
    select series_id, date_trunc('hour', ts - interval '1 microsecond') as hour, count(*) as rows
    from added group by 1, 2
)
select s.series_id, s.hour, s.rows, coalesce(a.rows, 0), s.late
from (
    select series_id, date_trunc('hour', ts - interval '1 microsecond') as hour, count(*) as rows,
           count(*) filter (where ts < now() - interval '5 minutes') as late
    from sent group by 1, 2
) s
left join added_counts a using (series_id, hour);

-- name: count
-- Adds to the books of what the agents sent.
insert into core.delivery as d (
    tenant_key, host, collector, hour, intervals, samples, duplicates, late, gap_seconds, bytes
)
select %(tenant_key)s::integer, u.*
from unnest(
    %(hosts)s::text[], %(collectors)s::text[], %(hours)s::timestamptz[], %(intervals)s::bigint[], %(samples)s::bigint[],
    %(duplicates)s::bigint[], %(late)s::bigint[], %(gap_seconds)s::double precision[], %(bytes)s::bigint[]
) as u
on conflict (tenant_key, host, collector, hour) do update set
    intervals = d.intervals + excluded.intervals,
    samples = d.samples + excluded.samples,
    duplicates = d.duplicates + excluded.duplicates,
    late = d.late + excluded.late,
    gap_seconds = d.gap_seconds + excluded.gap_seconds,
    bytes = d.bytes + excluded.bytes;

-- name: move_cursor
-- Acknowledges a batch, in the transaction of its samples: what is settled, the batch and what lies ahead are united,
-- and the first of the united ranges, which has no beginning, is what is delivered without a hole.
with united as (
    select ahead + int8multirange(
        int8range(null, greatest(acked_seq, %(settled_seq)s::bigint), '[]'),
        int8range(%(first_seq)s::bigint, %(last_seq)s::bigint, '[]')
    ) as ranges
    from core.agent_cursor
    where agent_id = %(agent_id)s::text and epoch = %(epoch)s::text and tenant_key = %(tenant_key)s::integer
),
parted as (
    select ranges, (select min(upper(r)) - 1 from unnest(ranges) as r) as acked_seq from united
)
update core.agent_cursor c
set acked_seq = p.acked_seq, ahead = p.ranges - int8multirange(int8range(null, p.acked_seq, '[]')), acked_at = now()
from parted p
where c.agent_id = %(agent_id)s::text and c.epoch = %(epoch)s::text and c.tenant_key = %(tenant_key)s::integer
returning c.acked_seq;

-- name: note_clock_events
-- Keeps what happened to a host's clock; an event that is there already stays as it is.
insert into core.clock_event (tenant_key, host, ts, kind, seconds)
select %(tenant_key)s::integer, u.*
from unnest(
    %(hosts)s::text[], %(ts)s::timestamptz[], %(kinds)s::text[], %(seconds)s::double precision[]
) as u
on conflict (tenant_key, host, ts, kind) do nothing;

-- name: heartbeat
-- Says that an agent lives, and how.
insert into core.agent (agent_id, host, version, started_at, seen_at, state)
values (
    %(agent_id)s::text, %(host)s::text, %(version)s::text, %(started_at)s::timestamptz, now(), %(state)s::jsonb
)
on conflict (agent_id) do update set
    host = excluded.host, version = excluded.version, started_at = excluded.started_at,
    seen_at = excluded.seen_at, state = excluded.state;

-- name: expected_peaks
-- When the newest forecasts of a host are near their highest of the next day, and well above their usual level.
with newest as (
    select distinct on (f.tenant_key, f.signal, f.ts) f.tenant_key, f.signal, f.ts, f.mean
    from core.forecast f
    join core.tenant t using (tenant_key)
    where t.tenant_id = any(%(tenant_ids)s::text[]) and f.host = %(host)s::text
      and f.ts > %(now)s::timestamptz and f.ts <= %(now)s::timestamptz + interval '24 hours'
    order by f.tenant_key, f.signal, f.ts, f.issued_at desc
),
levels as (
    select tenant_key, signal, percentile_cont(0.5) within group (order by mean) as usual, max(mean) as highest
    from newest
    group by tenant_key, signal
)
select distinct n.ts
from newest n
join levels l using (tenant_key, signal)
where n.mean >= 1.5 * l.usual and n.mean >= 0.9 * l.highest
order by n.ts;
