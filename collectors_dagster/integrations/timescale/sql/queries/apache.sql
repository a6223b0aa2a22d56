-- name: size
-- Bytes of all our tables and of the chunks of our hypertables, compressed or not, with indexes.
select (
    select coalesce(sum(pg_total_relation_size(c.oid)), 0)
    from pg_class c
    where c.relnamespace = 'core'::regnamespace and c.relkind = 'r'
      and not exists (
          select from timescaledb_information.hypertables h
          where h.hypertable_schema = 'core' and h.hypertable_name = c.relname
      )
)::bigint + (
    select coalesce(sum(hypertable_size(format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass)), 0)
    from timescaledb_information.hypertables h
    where h.hypertable_schema = 'core'
)::bigint;
