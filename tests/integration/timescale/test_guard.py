"""The database under its policies: killed, restarted, paused; what is repeated, and who learns of it."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psutil
import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.policy_sections import CircuitBreakerKeys, RetryKeys, ServiceOverrides
from collectors_dagster.config.sections import Patterns
from collectors_dagster.errors import (
    CircuitOpenError,
    CollectorsError,
    ServiceFailedError,
    ServiceUnreachableError,
    StorageError,
)
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.border import translated
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.guard import DatabaseGuard, database_guard, meaning
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.patterns.circuit_breaker import Outcome, Phase
from collectors_dagster.patterns.metrics import Metrics, Series
from collectors_dagster.patterns.policies import Policies
from collectors_dagster.patterns.shared_state import SharedStore
from collectors_dagster.records import ModelState, ScoredMinute, Window
from tests.support.postgres import PostgresServer, crashed, running_postgres
from tests.support.shared_stores import PATIENT, redis_store
from tests.support.store_data import AURORA

CLOCK = SystemClock()
QUICK = ServiceOverrides(
    circuit_breaker=CircuitBreakerKeys(failure_threshold=3, recovery_timeout=0.3),
    retry=RetryKeys(attempts=20, base_seconds=0.1, cap_seconds=0.5, deadline_seconds=60),
    deadline_seconds=1.0,
)


def guard(
    store: SharedStore | None = None,
    *,
    repeats: bool = False,
    metrics: Metrics | None = None,
    own: ServiceOverrides = QUICK,
) -> DatabaseGuard:
    """Return the guard of one process."""
    policies = Policies(
        Patterns(services={"timescaledb": own}),
        clock=CLOCK,
        random=lambda: 0.5,
        store=store,
        metrics=metrics or Metrics(),
    )
    return database_guard(policies, repeats=repeats)


@contextmanager
def opened(conninfo: SecretStr, asked: DatabaseGuard) -> Iterator[Database]:
    database = Database(conninfo, application_name="tests", max_connections=2, guard=asked)
    try:
        yield database
    finally:
        database.close()


def ask(database: Database) -> int:
    with database.transaction("ask") as cursor:
        row = cursor.execute(b"select 1").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Yield a server of these tests' own."""
    with running_postgres() as server:
        yield server


@contextmanager
def paused(server: PostgresServer) -> Iterator[None]:
    """Stop the server and all its backends where they stand: connections stay, nothing is answered."""
    postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0]))
    everybody = [postmaster.pid, *(each.pid for each in postmaster.children(recursive=True))]
    for each in everybody:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in everybody:
            os.kill(each, signal.SIGCONT)


def test_whoever_asks_while_the_database_is_down_is_answered_when_it_is_back(server: PostgresServer) -> None:
    metrics = Metrics()
    with (
        opened(server.conninfo("postgres"), guard(repeats=True, metrics=metrics)) as database,
        ThreadPoolExecutor(1) as pool,
    ):
        assert ask(database) == 1
        with crashed(server):
            answer = pool.submit(ask, database)
        assert answer.result(60) == 1
    counted = metrics.drain()
    assert counted[Series("collectors_retry_attempts_total", ("timescaledb", "recovered"))] == 1
    assert counted[Series("collectors_retry_attempts_total", ("timescaledb", "repeated"))] >= 1


def test_a_database_that_is_down_opens_the_circuit_for_all_processes_and_a_probe_closes_it(
    server: PostgresServer, redis_url: str
) -> None:
    with (
        redis_store(redis_url, PATIENT) as one_store,
        opened(server.conninfo("postgres"), guard(one_store)) as one,
    ):
        other_guard = guard(one_store)
        with crashed(server):
            for _ in range(3):
                with pytest.raises(ServiceUnreachableError):
                    ask(one)
            with opened(server.conninfo("postgres"), other_guard) as other, pytest.raises(CircuitOpenError):
                ask(other)  # its first call: it was never told
        with opened(server.conninfo("postgres"), other_guard) as other:
            assert eventually(lambda: ask(other)) == 1
        assert [change.after for change in other_guard.breaker.report().history] == [
            Phase.OPEN,
            Phase.HALF_OPEN,
            Phase.CLOSED,
        ]
        assert eventually(lambda: ask(one)) == 1


def eventually(ask_again: Callable[[], int]) -> int:
    """Ask until the circuit lets a probe through."""
    for _ in range(100):
        try:
            return ask_again()
        except CircuitOpenError as refused:
            CLOCK.sleep(refused.retry_after_seconds or 0.05)
    pytest.fail("the circuit stayed open")


def test_a_paused_database_is_given_up_in_time_and_used_again_when_it_goes_on(server: PostgresServer) -> None:
    asked = guard()
    with opened(server.conninfo("postgres"), asked) as database:
        with pytest.raises(ServiceUnreachableError, match="no answer within 1 s"):
            ask_of_a_paused(server, database)
        with paused(server), pytest.raises(ServiceUnreachableError):
            ask(database)  # a connection that is never made is given up, too
        assert ask(database) == 1


def ask_of_a_paused(server: PostgresServer, database: Database) -> None:
    with database.transaction("stop") as cursor:
        cursor.execute(b"select 1")
        with paused(server):
            cursor.execute(b"select 2")


def test_an_idle_connection_that_answers_no_more_is_not_waited_for(server: PostgresServer) -> None:
    asked = guard()
    with opened(server.conninfo("postgres"), asked) as database:
        assert ask(database) == 1
        [(pid,)] = _backends(server)
        os.kill(pid, signal.SIGSTOP)
        try:
            assert ask(database) == 1  # by a new one
        finally:
            os.kill(pid, signal.SIGCONT)
    assert asked.breaker.report().failures == 0


def _backends(server: PostgresServer) -> list[tuple[int]]:
    url = server.conninfo("postgres", "postgres").get_secret_value()
    with psycopg.connect(url) as connection:
        return connection.execute("select pid from pg_stat_activity where application_name = 'tests'").fetchall()


class Table:
    """A table whose operations lose their connection the first time, before or at the end."""

    def __init__(self, database: Database, server: PostgresServer) -> None:
        self._database = database
        self._server = server
        self.runs = 0

    @repeatable
    def read(self) -> int:
        with self._database.transaction("read") as cursor:
            row = cursor.execute(b"select pg_backend_pid()").fetchone()
            assert row is not None
            self.runs += 1
            if self.runs == 1:
                url = self._server.conninfo("postgres", "postgres").get_secret_value()
                with psycopg.connect(url) as connection:
                    connection.execute("select pg_terminate_backend(%s, 5000)", row)
            cursor.execute(b"select 2")
            return self.runs

    @repeatable
    def write(self, table: bytes) -> None:
        self.runs += 1
        with self._database.transaction("write") as cursor:
            cursor.execute(b"insert into " + table + b" values (1)")


def test_an_operation_whose_connection_is_cut_in_the_middle_is_done_again(server: PostgresServer) -> None:
    with opened(server.conninfo("postgres"), guard(repeats=True)) as database:
        assert Table(database, server).read() == 2
    with opened(server.conninfo("postgres"), guard()) as database, pytest.raises(ServiceUnreachableError):
        Table(database, server).read()


@pytest.mark.parametrize(("timing", "runs"), [("immediate", 20), ("deferred", 1)])
def test_what_fails_at_its_commit_is_not_done_again(server: PostgresServer, timing: str, runs: int) -> None:
    setup = f"""
        drop table if exists target;
        create table target (n int);
        create or replace function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'another one' using errcode = '40001'; end $$;
        create constraint trigger refusing after insert on target deferrable initially {timing}
            for each row execute function refuse();
    """
    with psycopg.connect(server.conninfo("postgres", "postgres").get_secret_value(), autocommit=True) as connection:
        connection.execute(setup.encode())
        connection.execute("grant all on target to collectors")
    with opened(server.conninfo("postgres"), guard(repeats=True)) as database:
        table = Table(database, server)
        with pytest.raises(ServiceFailedError) as caught:
            table.write(b"target")
    assert table.runs == runs
    assert caught.value.outcome_unknown is (timing == "deferred")


def test_a_probe_that_is_busy_for_long_keeps_nobody_waiting(server: PostgresServer) -> None:
    asked = guard()
    with opened(server.conninfo("postgres"), asked) as database:
        with crashed(server):
            for _ in range(3):
                with pytest.raises(ServiceUnreachableError):
                    ask(database)
        CLOCK.sleep(0.4)
        with database.transaction("load for hours") as cursor:
            cursor.execute(b"select 1")
            assert ask(database) == 1
            assert asked.breaker.phase is Phase.CLOSED


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("08006", Outcome.FAILURE),  # connection failure
        ("57P01", Outcome.FAILURE),  # terminated by an administrator
        ("57P03", Outcome.FAILURE),  # starting up
        ("53300", Outcome.FAILURE),  # too many connections
        ("53100", Outcome.FAILURE),  # disk full
        ("XX000", Outcome.FAILURE),  # internal error
        ("40001", Outcome.SUCCESS),  # serialisation
        ("40P01", Outcome.SUCCESS),  # deadlock
        ("57014", Outcome.SUCCESS),  # statement timeout
        ("55P03", Outcome.SUCCESS),  # lock timeout
        ("28P01", Outcome.SUCCESS),  # password
        ("42501", Outcome.SUCCESS),  # no right
    ],
)
def test_only_what_keeps_everybody_from_working_is_a_failure(state: str, said: Outcome) -> None:
    cause = psycopg.errors.lookup(state)("told")
    error = translated(cause, "ask")
    error.__cause__ = cause
    assert meaning(error) is said


@pytest.mark.parametrize("error", [StorageError("a wrong call"), ValueError("ours"), CircuitOpenError("open")])
def test_what_is_not_the_databases_says_nothing(error: Exception) -> None:
    assert meaning(error) is Outcome.IGNORED


def fail(database: Database, error: BaseException) -> None:
    with database.transaction("fail") as cursor:
        cursor.execute(b"select 1")
        raise error


def test_errors_of_the_body_leave_the_circuit_alone_and_the_connection_usable(server: PostgresServer) -> None:
    asked = guard(own=ServiceOverrides(circuit_breaker=CircuitBreakerKeys(failure_threshold=1)))
    with opened(server.conninfo("postgres"), asked) as database:
        for wrong in (ValueError("ours"), KeyboardInterrupt()):
            with pytest.raises(type(wrong)):
                fail(database, wrong)
        with pytest.raises(CollectorsError), database.transaction("fail") as cursor:
            cursor.execute(b"select no_such_column")
        assert ask(database) == 1
        assert asked.bulkhead.protect().__enter__() is None
    assert asked.breaker.phase is Phase.CLOSED


@pytest.mark.every_edition
def test_the_whole_store_works_under_its_guard(database: SecretStr, edition: Edition) -> None:
    at = datetime(2026, 11, 30, 12, tzinfo=UTC)
    window = Window(at - timedelta(minutes=1), at)
    minute = ScoredMinute("web-1", at, 0.5, ModelState.READY, "1", ())
    with Store(database, application_name="tests", guard=guard(repeats=True)) as store:
        store.tenants.sync([AURORA])
        assert store.edition() is edition
        assert store.scores.replace(AURORA.id, "batch", window, [minute]) == 1
        assert store.scores.read(AURORA.id, "batch", window) == [minute]
