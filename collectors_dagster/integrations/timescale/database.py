"""Connections: few, lazy, named, with limits on how long anything may take.

The pool is our own, because ``psycopg_pool`` connects in a background thread with a growing back-off and
keeps the server's answer to itself: a caller would wait for seconds to hear only "no connection", and
wait on after the server is back. Here whoever needs a connection makes it, and hears what the server says.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

import psycopg
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import TupleRow
from pydantic import SecretStr

from collectors_dagster.errors import ServiceTimeoutError, StorageError
from collectors_dagster.integrations.timescale.border import SERVICE, mapped_errors

Connection = psycopg.Connection[TupleRow]
Cursor = psycopg.Cursor[TupleRow]

WAIT_SECONDS = 5.0
"""How long to wait for another caller to give a connection back."""
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


class Database:
    """A bounded pool that connects when a connection is needed.

    Parameters
    ----------
    conninfo : SecretStr
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
        conninfo: SecretStr,
        *,
        application_name: str,
        max_connections: int,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._conninfo = conninfo
        self._name = application_name
        self._max = max_connections
        self._wait_seconds = wait_seconds
        self._free = BoundedSemaphore(max_connections)
        self._idle: deque[Connection] = deque()
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
            connection.transaction(),
            connection.cursor(binary=True) as cursor,
        ):
            yield cursor

    def close(self) -> None:
        """Close all connections, for good; those in use are closed when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _connection(self, operation: str) -> Iterator[Connection]:
        if not self._free.acquire(timeout=self._wait_seconds):
            message = f"cannot {operation}: all {self._max} connections of {self._name!r} are busy"
            raise ServiceTimeoutError(message, service=SERVICE, operation=operation)
        try:
            connection = self._living() or self._connect()
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            self._free.release()

    def _living(self) -> Connection | None:
        """Return an idle connection that still answers; close those that do not."""
        while self._idle:
            connection = self._idle.pop()
            if connection.pgconn.exec_(b"").status == ExecStatus.EMPTY_QUERY:
                return connection
            connection.close()
        return None

    def _connect(self) -> Connection:
        if self._closed:
            raise StorageError(f"the store {self._name!r} is closed")
        return psycopg.connect(
            self._conninfo.get_secret_value(),
            autocommit=True,
            application_name=self._name,
            options=" ".join(f"-c {name}={value}" for name, value in LIMITS.items()),
            connect_timeout=5,
            tcp_user_timeout=15_000,
        )

    def _give_back(self, connection: Connection) -> None:
        if self._closed or connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append(connection)
