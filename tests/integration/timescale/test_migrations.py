"""Migrations: in order, once, whole or not at all, and together they give exactly ``schema.sql``."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files
from threading import Thread

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.errors import CollectorsError, MigrationError
from collectors_dagster.integrations.timescale import migrate, status
from collectors_dagster.integrations.timescale.migrations import Migration, shipped_migrations
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

SLEEP = "select pg_sleep(30);"


def dumped(server: PostgresServer, database: SecretStr) -> list[str]:
    """Return the whole schema as ``pg_dump`` writes it, without what differs between two dumps of one database."""
    command = [str(server.bin / "pg_dump"), "--schema-only", "--no-owner", database.get_secret_value()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if not line.startswith(("--", r"\restrict", r"\unrestrict"))]


def tables(database: SecretStr) -> int:
    """Return how many tables there are outside of the catalogue."""
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute(
            "select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_all_migrations_give_exactly_the_written_schema(
    postgres: PostgresServer, database: SecretStr, empty_database: SecretStr
) -> None:
    text = (files("collectors_dagster.integrations.timescale") / "sql" / "schema.sql").read_text()
    with psycopg.connect(empty_database.get_secret_value()) as connection:
        connection.execute(text.encode())
    migrated, written = dumped(postgres, database), dumped(postgres, empty_database)
    assert len(written) > 500
    assert migrated == written


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
