"""Connections of the platform's side, by psycopg 3: lazy, named, with limits on how long anything may take."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import TupleRow

from collectors_dagster.integrations.timescale.border import mapped_errors
from collectors_dagster.integrations.timescale.pool import (
    CONNECT_SECONDS,
    OPTIONS,
    TCP_USER_TIMEOUT_MILLISECONDS,
    WAIT_SECONDS,
    Pool,
    still,
)
from collectors_dagster.security.sealing import Secret

Connection = psycopg.Connection[TupleRow]
Cursor = psycopg.Cursor[TupleRow]


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
    ) -> None:
        self._pool = Pool(_Psycopg(conninfo, application_name), application_name, max_connections, wait_seconds)

    @contextmanager
    def transaction(self, operation: str) -> Iterator[Cursor]:
        """Yield a cursor; commit at the end, roll back on any exception.

        Parameters
        ----------
        operation : str
            What is being tried, for the error's message.
        """
        with (
            mapped_errors(operation),
            self._pool.connection(operation) as connection,
            connection.transaction(),
            connection.cursor(binary=True) as cursor,
        ):
            yield cursor

    @contextmanager
    def snapshot(self, operation: str) -> Iterator[Cursor]:
        """Yield a cursor that sees one state of the database, and may only read."""
        with mapped_errors(operation), self._pool.connection(operation) as connection:
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
        with (
            mapped_errors(operation),
            self._pool.connection(operation) as connection,
            connection.cursor(binary=True) as cursor,
        ):
            yield cursor

    @contextmanager
    def session(self, operation: str) -> Iterator[Cursor]:
        """Yield a cursor whose statements commit by themselves; locks and settings of the session end with it.

        For statements that cannot run in a transaction. The connection is closed afterwards.
        """
        with mapped_errors(operation), self._pool.connection(operation) as connection:
            try:
                with connection.cursor(binary=True) as cursor:
                    yield cursor
            finally:
                connection.close()

    def close(self) -> None:
        """Close all connections, for good; those in use are closed when they come back."""
        self._pool.close()


class _Psycopg:
    """The driver, as the pool uses it."""

    def __init__(self, conninfo: Secret, application_name: str) -> None:
        self._conninfo = conninfo
        self._name = application_name

    def connect(self) -> Connection:
        return psycopg.connect(
            self._conninfo.get_secret_value(),
            autocommit=True,
            application_name=self._name,
            options=OPTIONS,
            connect_timeout=CONNECT_SECONDS,
            tcp_user_timeout=TCP_USER_TIMEOUT_MILLISECONDS,
        )

    def silent(self, connection: Connection) -> bool:
        return still(connection.pgconn.socket)

    def answers(self, connection: Connection) -> bool:
        return connection.pgconn.exec_(b"").status == ExecStatus.EMPTY_QUERY

    def settled(self, connection: Connection) -> bool:
        return connection.pgconn.transaction_status == TransactionStatus.IDLE
