-- name: try_lock
-- Lets one migrator in, until its session ends; whether it is this one.
select pg_try_advisory_lock(hashtextextended('collectors:migrations', 0));

-- name: exists
-- Whether any migration was ever applied.
select to_regclass('core.schema_migration') is not null;

-- name: applied
-- What was applied, and with which text.
select version, name, sha256 from core.schema_migration order by version;

-- name: record
-- Books a migration in its own transaction.
insert into core.schema_migration (version, name, sha256, applied_at, seconds)
values (
    %(version)s::integer, %(name)s::text, %(sha256)s::text, %(applied_at)s::timestamptz, %(seconds)s::double precision
);

-- name: server
-- The versions of the server and of TimescaleDB in this database, and TimescaleDB's licence.
select current_setting('server_version'), (select extversion from pg_extension where extname = 'timescaledb'),
       current_setting('timescaledb.license', true);

-- name: shape
-- What the tables of samples and of their hours are (pg_class.relkind).
select
    (select relkind::text from pg_class where oid = to_regclass('core.sample')),
    (select relkind::text from pg_class where oid = to_regclass('core.sample_1h'));

-- name: has_samples
-- Whether there are samples.
select exists (select from core.sample);

-- name: has_aggregates
-- Whether there are aggregates.
select exists (select from core.sample_1h) or exists (select from core.sample_1d);
