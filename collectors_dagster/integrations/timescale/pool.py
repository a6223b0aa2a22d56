"""Connections of a process: few, made when needed, none that is dead given to anybody. Knows no driver.

The pool is our own, because ``psycopg_pool`` connects in a background thread with a growing back-off and
keeps the server's answer to itself: a caller would wait for seconds to hear only "no connection", and
wait on after the server is back. Here whoever needs a connection makes it, and hears what the server says.
"""

import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Generic, Protocol, TypeVar

from collectors_dagster.errors import ServiceTimeoutError, StorageError
from collectors_dagster.integrations.timescale.faults import SERVICE

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
OPTIONS = " ".join(f"-c {name}={value}" for name, value in LIMITS.items())
"""The same as libpq wants them."""
CONNECT_SECONDS = 5
FRESH_SECONDS = 1.0
"""A connection that was used a moment ago is not asked whether it lives, unless the server has said something since."""
TCP_USER_TIMEOUT_MILLISECONDS = 15_000


class Closable(Protocol):
    """A connection, as far as the pool is concerned."""

    def close(self) -> None:
        """End it."""
        ...


C = TypeVar("C", bound=Closable)


class Driver(Protocol[C]):
    """How one driver makes connections and looks at them."""

    def connect(self) -> C:
        """Return a new connection; raises the driver's own errors."""
        ...

    def silent(self, connection: C) -> bool:
        """Whether nothing has come from the server that nobody read: its farewell would have. Asks nobody."""
        ...

    def answers(self, connection: C) -> bool:
        """Ask the server something small; whether it answered."""
        ...

    def settled(self, connection: C) -> bool:
        """Whether no transaction is open or failed on it."""
        ...


class Pool(Generic[C]):
    """At most so many connections; for any thread.

    Parameters
    ----------
    name : str
        For messages.
    wait_seconds : float
        How long a caller waits for one to be free.
    """

    def __init__(self, driver: Driver[C], name: str, max_connections: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self._driver = driver
        self._name = name
        self._max = max_connections
        self._wait_seconds = wait_seconds
        self._free = BoundedSemaphore(max_connections)
        self._idle: deque[tuple[C, float]] = deque()
        self._closed = False

    @contextmanager
    def connection(self, operation: str) -> Iterator[C]:
        """Yield a living connection that nobody else uses."""
        connection = self.take(operation)
        try:
            yield connection
        finally:
            self.give_back(connection)

    def take(self, operation: str) -> C:
        """Return a living connection that nobody else uses, until it is given back."""
        if not self._free.acquire(timeout=self._wait_seconds):
            message = f"cannot {operation}: all {self._max} connections of {self._name!r} are busy"
            raise ServiceTimeoutError(message, service=SERVICE, operation=operation)
        try:
            return self._living() or self._connect()
        except BaseException:
            self._free.release()
            raise

    def give_back(self, connection: C) -> None:
        """Keep a connection for the next caller, or close it if something is open or failed on it."""
        try:
            if self._closed or not self._driver.settled(connection):
                connection.close()
            else:
                self._idle.append((connection, time.monotonic()))
        finally:
            self._free.release()

    def close(self) -> None:
        """Close all connections, for good; those in use are closed when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop()[0].close()

    def _living(self) -> C | None:
        """Return an idle connection that still answers; close those that do not."""
        while self._idle:
            connection, used_at = self._idle.pop()
            fresh = time.monotonic() - used_at < FRESH_SECONDS and self._driver.silent(connection)
            if fresh or self._driver.answers(connection):
                return connection
            connection.close()
        return None

    def _connect(self) -> C:
        if self._closed:
            raise StorageError(f"the store {self._name!r} is closed")
        return self._driver.connect()


def still(socket: int) -> bool:
    """Whether a socket has nothing to be read, not even that its other end was closed.

    Examples
    --------
    >>> import socket
    >>> ours, theirs = socket.socketpair()
    >>> before = still(ours.fileno())
    >>> theirs.close()
    >>> before, still(ours.fileno())
    (True, False)
    """
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return not poll.poll(0)
