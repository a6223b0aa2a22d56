-- name: lift_limit
-- Lets this transaction decompress what it must: late samples meet compressed ones.
select set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true);

-- name: wait_longer
-- Lets a refresh wait for others, each of which takes a fraction of a second.
select set_config('lock_timeout', '90s', false);

-- name: lock_session
-- Lets one refresh run at a time, and no retention beside it, until the session ends.
select pg_advisory_lock(hashtextextended('collectors:aggregates', 0));

-- name: lock
-- The same until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('collectors:aggregates', 0));

-- name: bounds_hourly
-- What of a window may be refreshed: from where every tenant still has its samples, to the last hour that is over.
select
    greatest(%(start)s::timestamptz, (select max(raw_kept_from) from core.tenant)),
    least(%(end)s::timestamptz, date_bin('1 hour', now(), '2000-01-01 00:00+00'));

-- name: bounds_daily
-- The same for days: from where every tenant still has its hours, to the last day that is over.
select
    greatest(%(start)s::timestamptz, (select max(hourly_kept_from) from core.tenant)),
    least(%(end)s::timestamptz, date_bin('1 day', now(), '2000-01-01 00:00+00'));

-- name: refresh_hourly
-- Adds up the hours in which samples came or went.
call refresh_continuous_aggregate('core.sample_1h', %(start)s::timestamptz, %(end)s::timestamptz);

-- name: refresh_daily
-- Adds up the days in which hours came or went.
call refresh_continuous_aggregate('core.sample_1d', %(start)s::timestamptz, %(end)s::timestamptz);

-- name: drop_hourly
-- Forgets hourly aggregates.
select core.drop_hourly_aggregates(%(tenant_key)s::integer, %(before)s::timestamptz);
