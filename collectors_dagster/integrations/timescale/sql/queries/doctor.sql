-- name: versions
-- The server, TimescaleDB in this database, TimescaleDB on this machine, its licence, and the age of the oldest row.
select current_setting('server_version_num')::integer, current_setting('server_version'),
       (select extversion from pg_extension where extname = 'timescaledb'),
       (select default_version from pg_available_extensions where name = 'timescaledb'),
       current_setting('timescaledb.license', true),
       (select age(datfrozenxid) from pg_database where datname = current_database());

-- name: settings
-- Settings of the server; those that this role may not see are absent.
select name, setting from pg_settings where name = any (%(names)s::text[]);

-- name: locks
-- Tables and indexes that a statement over all samples locks, and how many locks the server has room for.
select (
    select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent in ('core.sample'::regclass)
) * 2, current_setting('max_locks_per_transaction')::integer
    * (current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer);

-- name: sessions
-- Connections and their limit, how many have waited for a lock for ten seconds, and the longest idle transaction.
select count(*), current_setting('max_connections')::integer,
       count(*) filter (where wait_event_type = 'Lock' and now() - state_change > interval '10 seconds'),
       coalesce(extract(epoch from max(now() - xact_start) filter (where state like 'idle in transaction%')), 0)::float8
from pg_stat_activity where backend_type = 'client backend';

-- name: clock
-- The server's time.
select clock_timestamp();

-- name: size
-- Bytes of this database.
select pg_database_size(current_database());

-- name: encryption
-- Whether this connection comes from the server's own machine, and with which TLS.
select coalesce(inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1', true),
       (select version from pg_stat_ssl where pid = pg_backend_pid());
