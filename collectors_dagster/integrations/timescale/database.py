"""Connections: few, lazy, named, with limits on how long anything may take."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout
from pydantic import SecretStr

from collectors_dagster.errors import ServiceTimeoutError, StorageError
from collectors_dagster.integrations.timescale.border import SERVICE, mapped_errors, translated

Cursor = psycopg.Cursor[TupleRow]

PROBE_SECONDS = 0.3
"""A connection that takes longer makes us look whether the database is away."""
WAIT_SECONDS = 5.0
"""How long to wait for another caller to give one back."""
IDLE_SECONDS = 120.0
LIMITS = {
    "statement_timeout": "120s",
    "lock_timeout": "15s",
    "idle_in_transaction_session_timeout": "300s",
    "timezone": "UTC",
    # Sums of floats depend on their order; one process adds them in the order we ask for.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "work_mem": "16MB",
}


def connection_options(application_name: str) -> dict[str, str | int]:
    """Return what every connection of ours asks for."""
    options = " ".join(f"-c {name}={value}" for name, value in LIMITS.items())
    return {"application_name": application_name, "options": options, "connect_timeout": 5}


class Database:
    """A bounded pool that connects when it is first used.

    Parameters
    ----------
    conninfo : SecretStr
        A libpq URL without a driver's name.
    application_name : str
        Shown in ``pg_stat_activity``.
    max_connections : int
        Further callers wait up to 5 seconds for one to be free.

    Notes
    -----
    Whoever made it closes it.
    """

    def __init__(self, conninfo: SecretStr, *, application_name: str, max_connections: int) -> None:
        self._conninfo = conninfo
        self._name = application_name
        self._max = max_connections
        self._lock = Lock()
        self._pool: ConnectionPool[psycopg.Connection[TupleRow]] | None = None
        self._closed = False

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
            self._connection(operation) as connection,
            connection.cursor(binary=True) as cursor,
        ):
            yield cursor

    def close(self) -> None:
        """Close all connections, for good."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    @contextmanager
    def _connection(self, operation: str) -> Iterator[psycopg.Connection[TupleRow]]:
        pool = self._opened_pool()
        connection = self._taken(pool, operation)
        try:
            with connection:
                yield connection
        finally:
            pool.putconn(connection)

    def _opened_pool(self) -> ConnectionPool[psycopg.Connection[TupleRow]]:
        with self._lock:
            if self._closed:
                raise StorageError(f"the store {self._name!r} is closed")
            if self._pool is None:
                self._pool = self._new_pool()
                self._pool.open()
            return self._pool

    def _new_pool(self) -> ConnectionPool[psycopg.Connection[TupleRow]]:
        return ConnectionPool(
            self._conninfo.get_secret_value(),
            kwargs=connection_options(self._name),
            min_size=0,
            max_size=self._max,
            open=False,
            name=self._name,
            num_workers=1,
            max_idle=IDLE_SECONDS,
            # Give up early: the next caller starts a fresh attempt instead of waiting in a long back-off.
            reconnect_timeout=WAIT_SECONDS / 2,
            check=ConnectionPool.check_connection,
        )

    def _taken(
        self, pool: ConnectionPool[psycopg.Connection[TupleRow]], operation: str
    ) -> psycopg.Connection[TupleRow]:
        """Take a connection; when none comes at once, find out whether the database is away."""
        try:
            return pool.getconn(timeout=PROBE_SECONDS)
        except PoolTimeout:
            self._probe(operation)
        try:
            return pool.getconn(timeout=WAIT_SECONDS)
        except PoolTimeout:
            message = f"cannot {operation}: all {self._max} connections of {self._name!r} are busy"
            raise ServiceTimeoutError(message, service=SERVICE, operation=operation) from None

    def _probe(self, operation: str) -> None:
        """Connect outside of the pool, which keeps the server's own words to itself."""
        try:
            with psycopg.connect(self._conninfo.get_secret_value(), connect_timeout=3):
                pass
        except psycopg.Error as error:
            raise translated(error, operation) from None
