"""The editions of the database: found, kept, and the same from outside."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import disk_usage
from threading import Thread
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.errors import CollectorsError, MigrationError
from collectors_dagster.integrations.timescale import DeliveryStore, Store, migrate, status
from collectors_dagster.integrations.timescale.doctor import State, examine
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.migrations import shipped_migrations
from tests.support.postgres import PostgresServer, need_edition, running_postgres
from tests.support.store_data import AURORA, batch
from tests.support.waiting import wait_until

pytestmark = pytest.mark.every_edition

COLUMNS = """
    select format('%s.%s', n.nspname, c.relname), a.attname, format_type(a.atttypid, a.atttypmod)
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('core', 'api') and c.relkind in ('r', 'p', 'v') and not c.relispartition
      and a.attnum > 0 and not a.attisdropped and c.relname <> 'chunk_activity'
    order by 1, 2
"""


@pytest.fixture(scope="session")
def plain_columns() -> list[tuple[str, str, str]]:
    """Return the columns of all tables and views of PostgreSQL alone."""
    with running_postgres() as server:
        server.create_database("mine")
        migrate(server.conninfo("mine"), clock=SystemClock())
        return columns(server.conninfo("mine"))


@pytest.fixture
def bare_database(postgres: PostgresServer) -> Iterator[SecretStr]:
    """Yield the address of a database without TimescaleDB, on a server that may have it."""
    name = f"test_{uuid4().hex[:12]}"
    postgres.create_database(name, "template0")
    yield postgres.conninfo(name)
    postgres.drop_database(name)


def columns(database: SecretStr) -> list[tuple[str, str, str]]:
    """Return tables and views, their columns and types."""
    with psycopg.connect(database.get_secret_value()) as connection:
        return connection.execute(COLUMNS.encode()).fetchall()


def execute(database: SecretStr, statement: str) -> None:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute(statement.encode())


def test_a_schema_is_made_for_what_the_server_offers(empty_database: SecretStr, edition: Edition) -> None:
    assert status(empty_database).edition is edition
    report = migrate(empty_database, clock=SystemClock())
    assert report.edition is edition
    assert (report.timescaledb is None) is (edition is Edition.PLAIN)
    assert report.pending == status(empty_database).pending == ()
    with Store(empty_database, application_name="tests") as store:
        assert store.edition() is edition


def test_every_edition_has_the_same_tables_and_views(
    database: SecretStr, plain_columns: list[tuple[str, str, str]]
) -> None:
    assert columns(database) == plain_columns


@pytest.mark.parametrize("at", range(len(shipped_migrations(Edition.FULL))))
def test_a_migration_killed_anywhere_goes_on_for_the_same_edition(
    postgres: PostgresServer, empty_database: SecretStr, edition: Edition, at: int
) -> None:
    known = list(shipped_migrations(edition))
    if at >= len(known):
        pytest.skip("this edition has fewer migrations")
    known[at] = replace(known[at], text=f"{known[at].text}\nselect pg_sleep(30);")
    failures: list[CollectorsError] = []

    def killed() -> None:
        try:
            migrate(empty_database, clock=SystemClock(), migrations=tuple(known))
        except CollectorsError as error:
            failures.append(error)

    thread = Thread(target=killed)
    thread.start()
    cut_sleeper(postgres, empty_database)
    thread.join()
    assert len(failures) == 1
    report = migrate(empty_database, clock=SystemClock())
    assert len(report.applied) == len(known) - at
    assert report.edition is edition


def cut_sleeper(postgres: PostgresServer, database: SecretStr) -> None:
    """End the session that sleeps in this database, as soon as there is one."""
    name = database.get_secret_value().rsplit("/", 1)[1]
    statement = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and wait_event = 'PgSleep'"
    with psycopg.connect(postgres.conninfo("postgres", "postgres").get_secret_value(), autocommit=True) as connection:
        wait_until(
            lambda: bool(connection.execute(statement, [name]).fetchall()), seconds=30, what="a sleeping session"
        )


def test_a_schema_with_samples_stays_what_it_is(bare_database: SecretStr, edition: Edition) -> None:
    """A deployment on plain partitions does not change under its agents when somebody installs an extension."""
    if edition is Edition.PLAIN:
        pytest.skip("there is no extension to install")
    plain = shipped_migrations(Edition.PLAIN)
    migrate(bare_database, clock=SystemClock(), migrations=plain)
    deliver(bare_database)
    execute_as_superuser(bare_database, "create extension timescaledb")
    report = migrate(bare_database, clock=SystemClock())
    assert (report.edition, report.applied) == (Edition.PLAIN, ())
    assert deliver(bare_database) == 3
    (finding,) = [one for one in examine(bare_database, clock=SystemClock()) if one.check == "edition"]
    assert finding.state is State.WARNING
    assert f"the server offers {edition}" in finding.found


def test_a_schema_that_is_not_made_to_its_end_becomes_what_the_server_offers(
    bare_database: SecretStr, edition: Edition
) -> None:
    migrate(bare_database, clock=SystemClock(), migrations=shipped_migrations(Edition.PLAIN)[:7])
    if edition is not Edition.PLAIN:
        execute_as_superuser(bare_database, "create extension timescaledb")
    assert migrate(bare_database, clock=SystemClock()).edition is edition
    assert deliver(bare_database) == 3


def test_a_whole_schema_stays_what_it_is_even_without_samples(bare_database: SecretStr, edition: Edition) -> None:
    """What came after the editions' own migrations rests on them: they cannot be put under it."""
    migrate(bare_database, clock=SystemClock())
    if edition is not Edition.PLAIN:
        execute_as_superuser(bare_database, "create extension timescaledb")
    report = migrate(bare_database, clock=SystemClock())
    assert (report.edition, report.applied) == (Edition.PLAIN, ())
    assert deliver(bare_database) == 3


def as_superuser(database: SecretStr) -> SecretStr:
    """Return the address for the administrator."""
    return SecretStr(database.get_secret_value().replace("//collectors:", "//postgres:"))


def execute_as_superuser(database: SecretStr, statement: str) -> None:
    execute(as_superuser(database), statement)


def deliver(database: SecretStr) -> int:
    """Deliver a batch of an agent, again or for the first time; return how many samples there are."""
    with DeliveryStore(database, application_name="tests") as agent:
        agent.tenants.introduce(AURORA)
        agent.deliver(batch(1, 3))
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute("select count(*) from core.sample").fetchone()
    assert row is not None
    return int(row[0])


def test_the_licence_cannot_be_taken_from_under_a_full_schema(postgres: PostgresServer, edition: Edition) -> None:
    if edition is not Edition.FULL:
        pytest.skip("there is nothing to take")
    need_edition(Edition.FULL)
    name = f"test_{uuid4().hex[:12]}"
    postgres.create_database(name)
    migrate(postgres.conninfo(name), clock=SystemClock())
    execute_as_superuser(postgres.conninfo(name), "drop extension timescaledb cascade")
    with pytest.raises(MigrationError):
        status(postgres.conninfo(name))
    postgres.drop_database(name)


def test_the_doctor_finds_only_what_the_tests_server_does_for_speed(database: SecretStr, edition: Edition) -> None:
    findings = examine(database, clock=SystemClock())
    failed = {one.check for one in findings if one.state is State.FAILURE}
    assert failed == {"fsync", "full_page_writes", "synchronous_commit"}
    assert all(one.remedy for one in findings if one.state in {State.FAILURE, State.WARNING})
    (found,) = [one for one in findings if one.check == "edition"]
    assert (found.state, found.found) == (State.OK, edition.value)


def test_the_doctor_names_a_policy_that_works_on_our_tables(database: SecretStr, edition: Edition) -> None:
    if edition is not Edition.FULL:
        pytest.skip("policies exist in the full edition only")
    execute(database, "select add_retention_policy('core.sample', interval '1 day')")
    (found,) = [one for one in examine(database, clock=SystemClock()) if one.check == "policies"]
    assert "policy_retention" in found.found
    assert "delete_job" in found.remedy


def test_the_doctor_says_that_there_is_no_schema(empty_database: SecretStr) -> None:
    findings = {one.check: one for one in examine(empty_database, clock=SystemClock())}
    assert findings["edition"].state is State.FAILURE
    assert findings["migrations"].remedy == "run `collectors db migrate`"


def test_the_doctor_measures_the_disk_that_it_is_told_of(database: SecretStr, tmp_path: Path) -> None:
    """The server shows its directory to administrators only."""
    (unseen,) = [one for one in examine(database, clock=SystemClock()) if one.check == "disk"]
    assert unseen.state is State.UNKNOWN
    (seen,) = [one for one in examine(database, clock=SystemClock(), directory=tmp_path) if one.check == "disk"]
    assert f"{disk_usage(tmp_path).free / 2**30:.0f}"[:-1] in seen.found
    assert seen.state is not State.UNKNOWN
    (named,) = [one for one in examine(as_superuser(database), clock=SystemClock()) if one.check == "disk"]
    assert named.state is not State.UNKNOWN


def test_the_doctor_counts_connections_against_their_limit(database: SecretStr) -> None:
    with psycopg.connect(database.get_secret_value()):
        (found,) = [one for one in examine(database, clock=SystemClock()) if one.check == "sessions"]
    connections, most = map(int, re.findall(r"\d+", found.found))
    assert connections >= 2
    assert most == 60


def test_the_doctor_compares_clocks(database: SecretStr) -> None:
    behind = ManualClock(datetime.now(UTC) - timedelta(seconds=30))
    (found,) = [one for one in examine(database, clock=behind) if one.check == "clock"]
    assert found.state is State.WARNING
    assert "NTP" in found.remedy
    assert float(re.findall(r"[+-][\d.]+", found.found)[0]) == pytest.approx(30, abs=5)


def test_the_doctor_counts_what_a_statement_over_all_samples_locks(database: SecretStr) -> None:
    with Store(database, application_name="tests") as store:
        store.tenants.sync([AURORA])
    deliver(database)
    (found,) = [one for one in examine(database, clock=SystemClock()) if one.check == "locks"]
    wanted, room = (int(each) for each in re.findall(r"\d+", found.found))
    assert wanted >= 2  # a chunk or partition, and its index
    assert room in {64 * 60, 256 * 60}
