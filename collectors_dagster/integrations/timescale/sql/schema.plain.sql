-- One value per series and instant. Partitions (one a day) are made before each load.
-- The bound refuses NaN and infinity, and keeps sums of squares finite.
create table core.sample (
    tenant_key  integer not null,
    series_id   integer not null,
    ts          timestamptz not null,
    value       double precision not null check (value between '-1e100' and '1e100'),
    unique (tenant_key, series_id, ts)
) partition by range (ts);

-- Partitions of core.sample: one per UTC day, named core.sample_YYYYMMDD.

-- Makes the missing partitions of these days. Attaching takes a weaker lock than creating in place:
-- readers and writers of the other days go on.
create function core.ensure_sample_partitions(days date[]) returns void
language plpgsql as $$
declare
    wanted date;
    partition_name text;
begin
    foreach wanted in array days loop
        partition_name := 'sample_' || to_char(wanted, 'YYYYMMDD');
        continue when to_regclass('core.' || partition_name) is not null;
        perform pg_advisory_xact_lock(hashtextextended('collectors:partitions', 0));
        -- Somebody may have made it while we waited; only a scan of the catalogue sees that.
        continue when exists (
            select from pg_catalog.pg_class
            where relname = partition_name and relnamespace = 'core'::regnamespace
        );
        execute format('create table core.%I (like core.sample including all)', partition_name);
        execute format(
            'alter table core.sample attach partition core.%I for values from (%L) to (%L)',
            partition_name,
            wanted::timestamp at time zone 'UTC',
            (wanted + 1)::timestamp at time zone 'UTC'
        );
    end loop;
end
$$;

-- Forgets one tenant's samples before an instant. A partition is dropped whole if no active tenant
-- needs a row of it (core.tenant.raw_kept_from says what each still needs); else rows are deleted.
-- Dropping a day waits for every reader of the samples, and everybody waits behind it: give up early.
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
        select c.oid::regclass as name,
               (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp at time zone 'UTC' as ends_at
        from pg_inherits i
        join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'core.sample'::regclass
        order by c.relname
    loop
        continue when part.ends_at > before;
        execute format(
            'select exists (
                 select from core.tenant t
                 where t.status = ''active'' and t.tenant_key <> $1
                   and (t.raw_kept_from is null or t.raw_kept_from < $2)
                   and exists (select from %s s where s.tenant_key = t.tenant_key)
             )', part.name)
        into needed using for_tenant, part.ends_at;
        if needed then
            execute format('delete from %s where tenant_key = $1', part.name) using for_tenant;
            get diagnostics touched = row_count;
        else
            execute format('select count(*) from %s', part.name) into touched;
            execute format('drop table %s', part.name);
            partitions_dropped := partitions_dropped + 1;
        end if;
        rows_deleted := rows_deleted + touched;
    end loop;
end
$$;
