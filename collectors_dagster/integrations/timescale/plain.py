"""PostgreSQL alone."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

from collectors_dagster.errors import StorageError
from collectors_dagster.integrations.timescale.backend import Level, Sessions
from collectors_dagster.integrations.timescale.connection import Cursor
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.strategies.chunks import Chunk

QUERIES = load_queries("plain")


class PlainPostgres:
    """Range partitions by day, made before each load, dropped whole when no tenant needs them."""

    edition = Edition.PLAIN
    computes_aggregates = True

    def before_write(self, cursor: Cursor, instants: Iterable[datetime]) -> None:
        """Make the partitions of these instants' days."""
        days: list[date] = sorted({instant.astimezone(UTC).date() for instant in instants})
        cursor.execute(QUERIES["ensure_partitions"], {"days": days})

    def refresh(self, database: Sessions, level: Level, start: datetime, end: datetime) -> None:
        """Do nothing: aggregates are computed."""

    def add_up(self, cursor: Cursor, level: Level, scope: Mapping[str, object]) -> None:
        """Do nothing: aggregates are computed."""

    def drop_raw(self, cursor: Cursor, tenant_key: int, before: datetime) -> tuple[int, int]:
        """Drop days of which no active tenant needs a row, and delete from the others."""
        cursor.execute(QUERIES["drop_raw"], {"tenant_key": tenant_key, "before": before})
        row = cursor.fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    def drop_hourly(self, cursor: Cursor, tenant_key: int, before: datetime) -> int:
        """Delete rows."""
        return cursor.execute(QUERIES["drop_hourly"], {"tenant_key": tenant_key, "before": before}).rowcount

    def size(self, cursor: Cursor) -> int:
        """Add up the tables of the schema; partitions are tables of it."""
        row = cursor.execute(QUERIES["size"]).fetchone()
        assert row is not None
        return int(row[0])

    def chunks(self, cursor: Cursor, now: datetime) -> list[Chunk]:
        """Return none: nothing can be compressed here."""
        return []

    def compress(self, cursor: Cursor, chunk: Chunk) -> int:
        """Refuse."""
        raise StorageError(
            f"cannot compress {chunk.name}: the {self.edition} edition of the database has no compression"
        )

    def adapt_chunks(self, cursor: Cursor, now: datetime) -> tuple[timedelta | None, timedelta | None]:
        """Do nothing: partitions are days."""
        return None, None
