"""Connections of the platform's side, by psycopg 3: lazy, named, with limits on how long anything may take."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import psycopg
from psycopg import IsolationLevel, generators
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import TupleRow

from collectors_dagster.integrations.timescale.pool import (
    CONNECT_SECONDS,
    OPTIONS,
    TCP_USER_TIMEOUT_MILLISECONDS,
    WAIT_SECONDS,
    Pool,
    still,
)
from collectors_dagster.integrations.timescale.visit import Connection, Visit
from collectors_dagster.patterns.deadline import remaining_seconds
from collectors_dagster.security.sealing import Secret

if TYPE_CHECKING:  # who is not guarded, a command say, does not load the policies
    from collectors_dagster.integrations.timescale.guard import DatabaseGuard

T = TypeVar("T")
Cursor = psycopg.Cursor[TupleRow]

PING_SECONDS = 5.0
"""A connection that does not answer so long is given up for a new one."""


class Database:
    """A bounded pool that connects when a connection is needed.

    Parameters
    ----------
    conninfo : Secret
        A libpq URL without a driver's name.
    application_name : str
        Shown in ``pg_stat_activity``.
    max_connections : int
        Further callers wait for one to be free.
    wait_seconds : float
        How long they wait.
    guard : DatabaseGuard, optional
        The policies to call it under; without one each call is made, once, and waits for its answer as long as the
        server allows itself.

    Notes
    -----
    Whoever made it closes it.
    """

    def __init__(
        self,
        conninfo: Secret,
        *,
        application_name: str,
        max_connections: int,
        wait_seconds: float = WAIT_SECONDS,
        guard: "DatabaseGuard | None" = None,
    ) -> None:
        driver = _Psycopg(conninfo, application_name, guard.answer_seconds if guard is not None else None)
        self._pool = Pool(driver, application_name, max_connections, wait_seconds)
        self._guard = guard

    def repeated(self, operation: Callable[[], T]) -> T:
        """Call `operation`, again if its transaction failed before it was committed and the policies say so."""
        return operation() if self._guard is None else self._guard.repeated(operation)

    @contextmanager
    def transaction(self, operation: str) -> Iterator[Cursor]:
        """Yield a cursor; commit at the end, roll back on any exception.

        Parameters
        ----------
        operation : str
            What is being tried, for the error's message.
        """
        with (
            Visit(self._pool, operation, self._guard) as visit,
            visit.connection.transaction(),
            visit.connection.cursor(binary=True) as cursor,
        ):
            yield cursor
            visit.committing = True

    @contextmanager
    def snapshot(self, operation: str) -> Iterator[Cursor]:
        """Yield a cursor that sees one state of the database, and may only read."""
        with Visit(self._pool, operation, self._guard) as visit:
            connection = visit.connection
            connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True  # BEGIN says so
            try:
                with connection.transaction(), connection.cursor(binary=True) as cursor:
                    yield cursor
            finally:
                if connection.pgconn.transaction_status == TransactionStatus.IDLE:  # else the pool closes it
                    connection.isolation_level = connection.read_only = None

    @contextmanager
    def statements(self, operation: str) -> Iterator[Cursor]:
        """Yield a cursor whose statements commit by themselves: for a question that is one statement."""
        with Visit(self._pool, operation, self._guard) as visit, visit.connection.cursor(binary=True) as cursor:
            yield cursor

    @contextmanager
    def session(self, operation: str) -> Iterator[Cursor]:
        """Yield a cursor whose statements commit by themselves; locks and settings of the session end with it.

        For statements that cannot run in a transaction. The connection is closed afterwards.
        """
        with Visit(self._pool, operation, self._guard) as visit:
            visit.committing = True  # each statement by itself
            try:
                with visit.connection.cursor(binary=True) as cursor:
                    yield cursor
            finally:
                visit.connection.close()

    def close(self) -> None:
        """Close all connections, for good; those in use are closed when they come back."""
        self._pool.close()


class _Patient(psycopg.Connection[TupleRow]):
    """A connection on which no answer is waited for longer than is allowed.

    The server ends statements that take too long by itself; this is for a server that is stopped, or a network that
    swallows what is sent: there a read waits for ever.
    """

    answer_seconds: float | None = None

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer."""
        allowed = self.answer_seconds if timeout is None else timeout
        left = remaining_seconds()
        if allowed is None or left < allowed:
            allowed = None if left == math.inf else max(left, 0.001)
        try:
            return super().wait(gen, interval, allowed)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - the driver documents it as what `wait` raises
            self.close()
            message = f"no answer within {allowed:.3g} s"
        raise psycopg.OperationalError(message)


class _Psycopg:
    """The driver, as the pool uses it."""

    def __init__(self, conninfo: Secret, application_name: str, answer_seconds: float | None) -> None:
        self._conninfo = conninfo
        self._name = application_name
        self._answer_seconds = answer_seconds

    def connect(self) -> Connection:
        connection = _Patient.connect(
            self._conninfo.get_secret_value(),
            autocommit=True,
            application_name=self._name,
            options=OPTIONS,
            connect_timeout=CONNECT_SECONDS,
            tcp_user_timeout=TCP_USER_TIMEOUT_MILLISECONDS,
        )
        connection.answer_seconds = self._answer_seconds
        return connection

    def silent(self, connection: Connection) -> bool:
        return still(connection.pgconn.socket)

    def answers(self, connection: Connection) -> bool:
        try:
            connection.pgconn.send_query(b"")
            results = connection.wait(generators.execute(connection.pgconn), timeout=PING_SECONDS)
        except psycopg.Error:
            return False
        return bool(results[-1].status == ExecStatus.EMPTY_QUERY)

    def settled(self, connection: Connection) -> bool:
        return connection.pgconn.transaction_status == TransactionStatus.IDLE
