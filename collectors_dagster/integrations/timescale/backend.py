"""What differs between the editions of the database, in one place.

Today there is one: plain PostgreSQL, whose samples lie in range partitions of a day.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Protocol

from collectors_dagster.integrations.timescale.connection import Cursor
from collectors_dagster.integrations.timescale.queries import load_queries

QUERIES = load_queries("backend")


class Backend(Protocol):
    """The operations an edition does in its own way."""

    def before_write(self, cursor: Cursor, instants: Iterable[datetime]) -> None:
        """Make room for samples at these instants, in the caller's transaction."""
        ...

    def drop_raw(self, cursor: Cursor, tenant_key: int, before: datetime) -> tuple[int, int]:
        """Forget a tenant's samples older than `before`; return rows deleted and storage units dropped."""
        ...


class PlainPostgres:
    """Range partitions by day, made before each load, dropped whole when no tenant needs them."""

    def before_write(self, cursor: Cursor, instants: Iterable[datetime]) -> None:
        """Make the partitions of these instants' days."""
        days: list[date] = sorted({instant.astimezone(UTC).date() for instant in instants})
        cursor.execute(QUERIES["ensure_partitions"], {"days": days})

    def drop_raw(self, cursor: Cursor, tenant_key: int, before: datetime) -> tuple[int, int]:
        """Drop partitions of which no active tenant needs a row, and delete from the others."""
        cursor.execute(QUERIES["drop_raw"], {"tenant_key": tenant_key, "before": before})
        row = cursor.fetchone()
        assert row is not None
        return int(row[0]), int(row[1])
