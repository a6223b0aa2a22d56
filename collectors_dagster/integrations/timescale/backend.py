"""What differs between the editions of the database, in one place. Knows no driver and no numpy: the agent needs it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Literal, Protocol

from collectors_dagster.errors import MigrationError
from collectors_dagster.integrations.timescale.connection import Cursor
from collectors_dagster.integrations.timescale.edition import Edition, edition_of_schema
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.strategies.chunks import Chunk

QUERIES = load_queries("backend")

Level = Literal["hourly", "daily"]


class Sessions(Protocol):
    """A database in which something can be done outside of a transaction."""

    def session(self, operation: str) -> AbstractContextManager[Cursor]:
        """Yield a cursor whose statements commit by themselves, on a connection that nobody uses afterwards."""
        ...


class Backend(Protocol):
    """The operations an edition does in its own way.

    Attributes
    ----------
    edition : Edition
    computes_aggregates : bool
        Whether aggregates are tables that are computed in a transaction; else the server keeps them, and `refresh`
        asks it to.
    """

    edition: Edition
    computes_aggregates: bool

    def before_write(self, cursor: Cursor, instants: Iterable[datetime]) -> None:
        """Make room for samples at these instants, in the caller's transaction."""
        ...

    def refresh(self, database: Sessions, level: Level, start: datetime, end: datetime) -> None:
        """Bring the server's own aggregates of whole buckets up to date with what is committed."""
        ...

    def add_up(self, cursor: Cursor, level: Level, scope: Mapping[str, object]) -> None:
        """Add up for one tenant what `refresh` leaves out; `scope` is its key, and start and end of whole buckets."""
        ...

    def drop_raw(self, cursor: Cursor, tenant_key: int, before: datetime) -> tuple[int, int]:
        """Forget a tenant's samples older than `before`; return rows deleted and storage units dropped."""
        ...

    def drop_hourly(self, cursor: Cursor, tenant_key: int, before: datetime) -> int:
        """Forget a tenant's hourly aggregates older than `before`; return rows deleted."""
        ...

    def size(self, cursor: Cursor) -> int:
        """Return the bytes of all our tables with their indexes."""
        ...

    def chunks(self, cursor: Cursor, now: datetime) -> list[Chunk]:
        """Return the chunks that can be compressed, oldest first, and note what was written to them by `now`."""
        ...

    def compress(self, cursor: Cursor, chunk: Chunk) -> int:
        """Compress a chunk in the caller's transaction; return its bytes afterwards."""
        ...

    def adapt_chunks(self, cursor: Cursor, now: datetime) -> tuple[timedelta | None, timedelta | None]:
        """Choose the length of new chunks for the rate of the last day; return what it was and is."""
        ...


class FoundBackend:
    """The edition of a database that is asked for once, by the first who needs it."""

    def __init__(self) -> None:
        self._found: Backend | None = None

    def of(self, cursor: Cursor) -> Backend:
        """Return the backend of this cursor's database.

        Raises
        ------
        MigrationError
            If there is no schema.
        """
        if self._found is None:
            self._found = backend_of(read_edition(cursor))
        return self._found

    def before_write(self, cursor: Cursor, instants: Iterable[datetime]) -> None:
        """Make room for samples at these instants, in the caller's transaction."""
        self.of(cursor).before_write(cursor, instants)

    def forget(self) -> None:
        """Ask again the next time: perhaps another database stands at the same address."""
        self._found = None


def read_edition(cursor: Cursor) -> Edition:
    """Return what the schema was made for."""
    row = cursor.execute(QUERIES["shape"]).fetchone()
    assert row is not None
    edition = edition_of_schema(row[0], row[1])
    if edition is None:
        raise MigrationError("the database has no schema: run `collectors db migrate`")
    return edition


def backend_of(edition: Edition) -> Backend:
    """Return the operations of an edition."""
    # They import this module, and an agent needs only one of them.
    if edition is Edition.PLAIN:
        from collectors_dagster.integrations.timescale.plain import PlainPostgres  # noqa: PLC0415 - one is needed

        return PlainPostgres()
    if edition is Edition.APACHE:
        from collectors_dagster.integrations.timescale.apache import TimescaleApache  # noqa: PLC0415 - one is needed

        return TimescaleApache()
    from collectors_dagster.integrations.timescale.full import TimescaleFull  # noqa: PLC0415 - one is needed

    return TimescaleFull()
