"""Migrations: in order, once, whole or not at all, and together they give exactly ``schema.sql``."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files
from threading import Thread

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.errors import CollectorsError, MigrationError, ServiceTimeoutError
from collectors_dagster.integrations.timescale import migrate, status
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.migrations import Migration, shipped_migrations
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

SLEEP = "select pg_sleep(30);"


SQL = files("collectors_dagster.integrations.timescale") / "sql"
COUNTED = re.compile(
    r"((?:_(?:compressed|materialized)_hypertable|_(?:partial|direct)_view|_hyper)_|cagg_watermark\()\d+"
)
"""Names that TimescaleDB gives: the number says only in which order things were made."""
SETTINGS_OF_TIMESCALEDB = """
    select 'hypertable', jsonb_build_array(h.hypertable_schema, h.hypertable_name, h.num_dimensions)::text
    from timescaledb_information.hypertables h
    union all
    select 'dimension', jsonb_build_array(d.hypertable_name, d.column_name, d.time_interval, d.num_partitions)::text
    from timescaledb_information.dimensions d
    union all
    select 'column store', jsonb_build_array(c.hypertable::text, c.segmentby, c.orderby)::text
    from timescaledb_information.hypertable_compression_settings c
    union all
    select 'aggregate', to_jsonb(a)::text from timescaledb_information.continuous_aggregates a
    union all
    select 'job', jsonb_build_array(j.proc_name, j.hypertable_name)::text
    from timescaledb_information.jobs j where j.hypertable_name is not null
"""


def written_schema(edition: Edition) -> str:
    """Return ``schema.sql`` with the edition's own files in their place."""
    own = [
        entry
        for entry in sorted(SQL.iterdir(), key=lambda entry: entry.name)
        if re.fullmatch(rf"schema(\.\w+)*\.{edition}(\.\w+)*\.sql", entry.name)
    ]
    text, places = re.subn(
        r"^-- edition: .*$",
        lambda _: "\n".join(entry.read_text() for entry in own),
        (SQL / "schema.sql").read_text(),
        flags=re.MULTILINE,
    )
    assert places == 1
    assert own
    return text


def dumped(server: PostgresServer, database: SecretStr) -> list[str]:
    """Return the whole schema as ``pg_dump`` writes it, without what differs between two dumps of one database."""
    command = [str(server.bin / "pg_dump"), "--schema-only", "--no-owner", database.get_secret_value()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("--", r"\restrict", r"\unrestrict"))]
    return sorted(COUNTED.sub(r"\1N", "\n".join(lines)).split("\n\n"))


def settings_of_timescaledb(database: SecretStr) -> list[tuple[str, str]]:
    """Return what makes tables hypertables and views aggregates: no dump of a schema holds it."""
    with psycopg.connect(database.get_secret_value()) as connection:
        rows = connection.execute(SETTINGS_OF_TIMESCALEDB).fetchall()
    return sorted((kind, COUNTED.sub(r"\1N", said)) for kind, said in rows)


def tables(database: SecretStr) -> int:
    """Return how many tables there are outside of the catalogue."""
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute(
            "select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.every_edition
def test_all_migrations_give_exactly_the_written_schema(
    postgres: PostgresServer, database: SecretStr, empty_database: SecretStr, edition: Edition
) -> None:
    with psycopg.connect(empty_database.get_secret_value()) as connection:
        connection.execute(written_schema(edition).encode())
    migrated, written = dumped(postgres, database), dumped(postgres, empty_database)
    assert len(written) > 100
    assert migrated == written
    if edition is not Edition.PLAIN:
        settings = settings_of_timescaledb(database)
        assert settings == settings_of_timescaledb(empty_database)
        kinds = {kind for kind, _ in settings}
        assert {"hypertable", "dimension"} <= kinds
        assert ("aggregate" in kinds) is (edition is Edition.FULL)


def test_a_second_migration_does_nothing(database: SecretStr, manual_clock: ManualClock) -> None:
    report = migrate(database, clock=manual_clock)
    assert report.applied == ()
    assert report.pending == ()
    assert report.current == tuple(migration.title for migration in shipped_migrations())


def test_status_tells_what_is_pending_and_changes_nothing(empty_database: SecretStr) -> None:
    report = status(empty_database)
    assert report.current == ()
    assert report.pending == tuple(migration.title for migration in shipped_migrations())
    assert tables(empty_database) == 0


def test_a_failing_migration_is_undone_and_those_before_it_stay(
    empty_database: SecretStr, manual_clock: ManualClock
) -> None:
    number = shipped_migrations()[-1].version + 1
    bad = Migration(number, "pre", "bad", "create table public.half (x integer); select 1 / 0;")
    with pytest.raises(MigrationError, match=rf"{number:04d}_pre_bad failed and was undone: division by zero"):
        migrate(empty_database, clock=manual_clock, migrations=(*shipped_migrations(), bad))
    assert status(empty_database).pending == ()
    assert migrate(empty_database, clock=manual_clock).applied == ()
    with psycopg.connect(empty_database.get_secret_value()) as connection:
        assert connection.execute("select to_regclass('public.half')").fetchone() == (None,)


def test_a_migration_killed_in_the_middle_runs_whole_the_next_time(
    postgres: PostgresServer, empty_database: SecretStr
) -> None:
    first, *rest = shipped_migrations()
    slow = replace(first, text=f"{first.text}\n{SLEEP}")
    failures: list[CollectorsError] = []

    def killed() -> None:
        try:
            migrate(empty_database, clock=SystemClock(), migrations=(slow, *rest))
        except CollectorsError as error:
            failures.append(error)

    thread = Thread(target=killed)
    thread.start()
    kill_sleeper(postgres, empty_database)
    thread.join()
    assert len(failures) == 1
    assert failures[0].transient
    assert tables(empty_database) == 0
    assert len(migrate(empty_database, clock=SystemClock()).applied) == len(shipped_migrations())


def kill_sleeper(postgres: PostgresServer, database: SecretStr) -> None:
    """Cut the connection that sleeps in this database, as soon as there is one."""
    name = database.get_secret_value().rsplit("/", 1)[1]
    admin = postgres.conninfo("postgres", "postgres").get_secret_value()
    with psycopg.connect(admin, autocommit=True) as connection:

        def cut() -> bool:
            return bool(
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = %s and wait_event = 'PgSleep'",
                    [name],
                ).fetchall()
            )

        wait_until(cut, seconds=30, what="a sleeping backend")


def test_two_migrators_at_once_apply_each_migration_once(empty_database: SecretStr) -> None:
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: migrate(empty_database, clock=SystemClock()), range(4)))
    assert sorted(title for report in reports for title in report.applied) == [
        migration.title for migration in shipped_migrations()
    ]


def test_a_file_changed_after_it_was_applied_is_refused(database: SecretStr, manual_clock: ManualClock) -> None:
    first, *rest = shipped_migrations()
    changed = replace(first, text=first.text + "\n-- a harmless remark")
    with pytest.raises(MigrationError, match="0001_pre_core was changed after it was applied"):
        migrate(database, clock=manual_clock, migrations=(changed, *rest))


def test_a_database_newer_than_the_code_is_refused(database: SecretStr, manual_clock: ManualClock) -> None:
    older = shipped_migrations()[:-1]
    with pytest.raises(MigrationError, match="newer than this code"):
        migrate(database, clock=manual_clock, migrations=older)


def test_before_a_deployment_nothing_after_the_first_post_migration_runs(
    database: SecretStr, manual_clock: ManualClock
) -> None:
    count = shipped_migrations()[-1].version
    more = (
        Migration(count + 1, "pre", "one", "create table public.one (x integer)"),
        Migration(count + 2, "post", "two", "create table public.two (x integer)"),
        Migration(count + 3, "pre", "three", "create table public.three (x integer)"),
    )
    known = (*shipped_migrations(), *more)
    before = migrate(database, clock=manual_clock, include_post=False, migrations=known)
    assert before.applied == (more[0].title,)
    after = migrate(database, clock=manual_clock, migrations=known)
    assert after.applied == (more[1].title, more[2].title)


def test_the_books_say_when_and_with_which_text(empty_database: SecretStr, manual_clock: ManualClock) -> None:
    migrate(empty_database, clock=manual_clock)
    with psycopg.connect(empty_database.get_secret_value()) as connection:
        rows = connection.execute(
            "select name, sha256, applied_at from core.schema_migration order by version"
        ).fetchall()
    assert rows == [(one.title, one.checksum, manual_clock.now()) for one in shipped_migrations()]


INDEX_AT_ONCE = """-- no transaction: writers go on while the index is made
drop index concurrently if exists public.reading_by_time;
create index concurrently reading_by_time on public.reading (at);
"""
"""What a killed one left is cleared first."""


def next_migrations(*texts: str) -> tuple[Migration, ...]:
    """Return the shipped migrations and further ones behind them."""
    first = shipped_migrations()[-1].version + 1
    return (*shipped_migrations(), *(Migration(first + i, "post", f"more{i}", text) for i, text in enumerate(texts)))


@pytest.fixture
def readings(database: SecretStr) -> SecretStr:
    """Return a database with a table that people write to."""
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute("create table public.reading (at integer); insert into public.reading values (1), (2)")
    return database


def indexes(database: SecretStr) -> list[tuple[str, bool]]:
    """Return the indexes of the table that people write to, and whether each can be used."""
    statement = (
        "select indexrelid::regclass::text, indisvalid from pg_index "
        "where indrelid = 'public.reading'::regclass order by 1"
    )
    with psycopg.connect(database.get_secret_value()) as connection:
        return connection.execute(statement).fetchall()


def test_what_cannot_run_in_a_transaction_runs_without(readings: SecretStr, manual_clock: ManualClock) -> None:
    known = next_migrations(INDEX_AT_ONCE)
    assert migrate(readings, clock=manual_clock, migrations=known).applied == (known[-1].title,)
    assert indexes(readings) == [("reading_by_time", True)]
    assert migrate(readings, clock=manual_clock, migrations=known).applied == ()
    with_transaction = replace(known[-1], text=INDEX_AT_ONCE.split("\n", 1)[1], version=known[-1].version + 1)
    with pytest.raises(MigrationError, match="cannot run inside a transaction block"):
        migrate(readings, clock=manual_clock, migrations=(*known, with_transaction))


@pytest.mark.parametrize("at", range(3))
def test_one_without_a_transaction_that_is_killed_between_two_statements_runs_again(
    postgres: PostgresServer, readings: SecretStr, at: int
) -> None:
    known = next_migrations(INDEX_AT_ONCE)
    head, *statements = INDEX_AT_ONCE.splitlines()
    statements.insert(at, SLEEP)
    slow = replace(known[-1], text="\n".join([head, *statements]))
    with ThreadPoolExecutor(1) as pool:
        migrating = pool.submit(migrate, readings, clock=SystemClock(), migrations=(*known[:-1], slow))
        kill_sleeper(postgres, readings)
        with pytest.raises(CollectorsError) as caught:
            migrating.result()
    assert caught.value.transient
    assert status(readings, migrations=known).pending == (known[-1].title,)
    assert migrate(readings, clock=SystemClock(), migrations=known).applied == (known[-1].title,)
    assert indexes(readings) == [("reading_by_time", True)]


def test_one_that_is_killed_within_a_statement_leaves_nothing_unusable_behind(
    postgres: PostgresServer, readings: SecretStr
) -> None:
    """An index whose making was killed is there, invalid, and in the way."""
    known = next_migrations(INDEX_AT_ONCE)
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(readings.get_secret_value()) as writer,
        psycopg.connect(postgres.conninfo("postgres", "postgres").get_secret_value(), autocommit=True) as admin,
    ):
        writer.execute("insert into public.reading values (3)")  # it waits for this transaction
        migrating = pool.submit(migrate, readings, clock=SystemClock(), migrations=known)
        wait_until(lambda: indexes(readings) == [("reading_by_time", False)], seconds=30, what="a half-made index")
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where query like 'create index conc%'")
        with pytest.raises(CollectorsError):
            migrating.result()
    assert indexes(readings) == [("reading_by_time", False)]
    assert migrate(readings, clock=SystemClock(), migrations=known).applied == (known[-1].title,)
    assert indexes(readings) == [("reading_by_time", True)]


def test_a_migrator_that_waits_holds_up_no_index(readings: SecretStr) -> None:
    """Were it to wait within a statement, the index would wait for its snapshot and both for each other."""
    known = next_migrations(INDEX_AT_ONCE)
    with psycopg.connect(readings.get_secret_value()) as writer, ThreadPoolExecutor(3) as pool:
        writer.execute("insert into public.reading values (3)")
        migrating = [pool.submit(migrate, readings, clock=SystemClock(), migrations=known) for _ in range(3)]
        wait_until(lambda: indexes(readings) == [("reading_by_time", False)], seconds=30, what="a half-made index")
        wait_until(lambda: migrators(readings) == 3, seconds=30, what="the others")
        writer.commit()
        applied = [title for each in migrating for title in each.result().applied]
    assert applied == [known[-1].title]


def migrators(database: SecretStr) -> int:
    """Return how many migrators are connected."""
    statement = (
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and application_name = 'collectors-migrate'"
    )
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


def test_a_failing_one_without_a_transaction_says_that_it_stopped_halfway(
    readings: SecretStr, manual_clock: ManualClock
) -> None:
    known = next_migrations(f"{INDEX_AT_ONCE}select 1 / 0;\n")
    with pytest.raises(MigrationError, match="more0 failed and stopped there; mend the cause and run it again: div"):
        migrate(readings, clock=manual_clock, migrations=known)
    assert indexes(readings) == [("reading_by_time", True)]
    assert status(readings, migrations=known).pending == (known[-1].title,)


def test_another_migrator_that_does_not_end_is_named(database: SecretStr, manual_clock: ManualClock) -> None:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as other:
        other.execute("select pg_advisory_lock(hashtextextended('collectors:migrations', 0))")
        with pytest.raises(ServiceTimeoutError, match="another migrator has been at work for a minute"):
            migrate(database, clock=manual_clock)
