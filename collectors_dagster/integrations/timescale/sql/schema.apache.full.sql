-- One value per series and instant. The server makes a chunk where there is none.
-- The bound refuses NaN and infinity, and keeps sums of squares finite.
create table core.sample (
    tenant_key  integer not null,
    series_id   integer not null,
    ts          timestamptz not null,
    value       double precision not null check (value between '-1e100' and '1e100'),
    unique (tenant_key, series_id, ts)
);
select create_hypertable('core.sample', by_range('ts', interval '1 day'), create_default_indexes => false);

-- The server makes chunks; agents of a release that knows only range partitions go on delivering.
create function core.ensure_sample_partitions(days date[]) returns void
language sql as $$ select $$;

-- Forgets one tenant's samples before an instant. A chunk is dropped whole if no active tenant needs a row of it
-- (core.tenant.raw_kept_from says what each still needs); else rows are deleted.
create function core.drop_raw_samples(
    for_tenant integer, before timestamptz, out rows_deleted bigint, out partitions_dropped integer
)
language plpgsql set lock_timeout = '3s' as $$
declare
    part record;
    needed boolean;
    touched bigint;
begin
    rows_deleted := 0;
    partitions_dropped := 0;
    perform pg_advisory_xact_lock(hashtextextended('collectors:partitions', 0));
    for part in
        select c.range_start as starts_at, c.range_end as ends_at, least(c.range_end, before) as old_until
        from timescaledb_information.chunks c
        where c.hypertable_schema = 'core' and c.hypertable_name = 'sample' and c.range_start < before
        order by c.range_start
    loop
        -- Instants are written into the statement: only then are the other chunks left out when it is planned.
        execute format(
            'select %L::timestamptz > $2 or exists (
                 select from core.tenant t
                 where t.status = ''active'' and t.tenant_key <> $1
                   and (t.raw_kept_from is null or t.raw_kept_from < %L)
                   and exists (
                       select from core.sample s
                       where s.tenant_key = t.tenant_key and s.ts >= %L and s.ts < %L
                   )
             )', part.ends_at, part.ends_at, part.starts_at, part.ends_at)
        into needed using for_tenant, before;
        if needed then
            execute format(
                'delete from core.sample where tenant_key = $1 and ts >= %L and ts < %L', part.starts_at, part.old_until
            ) using for_tenant;
            get diagnostics touched = row_count;
        else
            execute format(
                'select count(*) from core.sample where ts >= %L and ts < %L', part.starts_at, part.ends_at
            ) into touched;
            perform drop_chunks('core.sample', older_than => part.ends_at, newer_than => part.starts_at);
            partitions_dropped := partitions_dropped + 1;
        end if;
        rows_deleted := rows_deleted + touched;
    end loop;
end
$$;
