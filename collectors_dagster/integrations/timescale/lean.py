"""Connections of the agent, by psycopg 2: it lives on every host, and psycopg 3 with its asyncio is 20 MB more.

The same pool, limits and errors as :mod:`database`; the same statements, with the parameters put in here.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from collectors_dagster.errors import CollectorsError
from collectors_dagster.integrations.timescale.faults import Fault, as_error
from collectors_dagster.integrations.timescale.pool import (
    CONNECT_SECONDS,
    OPTIONS,
    TCP_USER_TIMEOUT_MILLISECONDS,
    WAIT_SECONDS,
    Pool,
    still,
)
from collectors_dagster.security.sealing import Secret

if "ssl" in sys.modules or TYPE_CHECKING:
    import psycopg2
else:
    # The driver loads Python's ssl only to learn whether it is there: 4 MB. It brings a library of its own.
    sys.modules["ssl"] = None  # type: ignore[assignment]  # None: not there
    try:
        import psycopg2
    finally:
        del sys.modules["ssl"]

Connection = psycopg2.extensions.connection


class LeanDatabase:
    """A bounded pool that connects when a connection is needed.

    Parameters
    ----------
    conninfo : Secret
        A libpq URL without a driver's name.
    application_name : str
        Shown in ``pg_stat_activity``.

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
        self._pool = Pool(_Psycopg2(conninfo, application_name), application_name, max_connections, wait_seconds)

    @contextmanager
    def transaction(self, operation: str) -> Iterator["LeanCursor"]:
        """Yield a cursor; commit at the end, roll back on any exception.

        Parameters
        ----------
        operation : str
            What is being tried, for the error's message.
        """
        with _mapped_errors(operation), self._pool.connection(operation) as connection:
            try:
                with connection.cursor() as cursor:
                    yield LeanCursor(cursor)
                connection.commit()
            except BaseException:
                with suppress(psycopg2.Error):  # a lost connection has rolled back already
                    connection.rollback()
                raise

    def close(self) -> None:
        """Close all connections, for good; those in use are closed when they come back."""
        self._pool.close()


class LeanCursor:
    """A cursor of the driver behind the interface of ours."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: "psycopg2.extensions.cursor") -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        """How many rows the last statement found or changed."""
        return self._cursor.rowcount

    def execute(self, query: bytes, params: Mapping[str, Any] | None = None) -> Self:
        """Run a statement with named parameters; return this cursor."""
        written = None if params is None else {name: _written(each) for name, each in params.items()}
        try:
            self._cursor.execute(query, written)
        except ValueError as error:  # text with a NUL, which no text of the database can hold
            raise psycopg2.DataError(str(error)) from error
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, if there is one."""
        return self._cursor.fetchone()

    def fetchall(self) -> Sequence[tuple[Any, ...]]:
        """Return the remaining rows."""
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor)


def array_literal(values: Sequence[object]) -> str:
    r"""Return an array as PostgreSQL reads one: a tenth of the work of an ``ARRAY[...]`` of the same values.

    Examples
    --------
    >>> array_literal([1, None, 2.5]), array_literal(['a"b', 'c'])
    ('{1,NULL,2.5}', '{"a\\"b","c"}')
    """
    return "{" + ",".join(map(_item, values)) + "}"


def _item(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int | float):
        return repr(value)
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _written(value: object) -> object:
    return array_literal(value) if isinstance(value, list) else value


class _Psycopg2:
    """The driver, as the pool uses it."""

    def __init__(self, conninfo: Secret, application_name: str) -> None:
        self._conninfo = conninfo
        self._name = application_name

    def connect(self) -> Connection:
        return psycopg2.connect(
            self._conninfo.get_secret_value(),
            application_name=self._name,
            options=OPTIONS,
            connect_timeout=CONNECT_SECONDS,
            tcp_user_timeout=TCP_USER_TIMEOUT_MILLISECONDS,
            gssencmode="disable",  # no setting asks for Kerberos; looking for its tickets costs time and memory
        )

    def silent(self, connection: Connection) -> bool:
        return connection.closed == 0 and still(connection.fileno())

    def answers(self, connection: Connection) -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("select")
            connection.rollback()
        except psycopg2.Error:
            return False
        return True

    def settled(self, connection: Connection) -> bool:
        return connection.closed == 0 and connection.status == psycopg2.extensions.STATUS_READY


@contextmanager
def _mapped_errors(operation: str) -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        if error.pgcode is None and isinstance(error, psycopg2.ProgrammingError):
            # A malformed connection string is quoted whole by the driver: cut the chain.
            raise _translated(error, operation) from None
        raise _translated(error, operation) from error


def _translated(error: psycopg2.Error, operation: str) -> CollectorsError:
    connection = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    said = str(error) if error.pgcode is None else str(error.diag.message_primary)
    return as_error(Fault(error.pgcode, said, connection, isinstance(error, psycopg2.DataError)), operation)
