"""TimescaleDB under its own licence: chunks may be compressed, aggregates are kept by the server.

A continuous aggregate is refreshed for all tenants at once, and what retention took from the samples would be taken
from the aggregates with it: no refresh reaches behind the horizon of the tenant that keeps the least. What the others
got late from before that is added up for each of them alone.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from collectors_dagster.integrations.timescale.apache import TimescaleApache
from collectors_dagster.integrations.timescale.backend import Level, Sessions
from collectors_dagster.integrations.timescale.connection import Cursor
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.strategies.chunks import Chunk

QUERIES = load_queries("full")


class TimescaleFull(TimescaleApache):
    """A hypertable with a column store for samples; continuous aggregates."""

    edition = Edition.FULL
    computes_aggregates = False

    def before_write(self, cursor: Cursor, instants: Iterable[datetime]) -> None:
        """Let this transaction decompress what it must: our batches are bounded by themselves."""
        cursor.execute(QUERIES["lift_limit"])

    def refresh(self, database: Sessions, level: Level, start: datetime, end: datetime) -> None:
        """Refresh one level, not before the horizon and not after the last whole bucket.

        A bucket that is not over yet must not be materialised: what comes later would be hidden behind it. Until then
        the server adds it up whenever it is asked for.
        """
        with database.session(f"refresh {level} aggregates") as cursor:
            cursor.execute(QUERIES["ready_to_refresh"])
            cursor.execute(QUERIES["lock_session"])
            row = cursor.execute(QUERIES[f"bounds_{level}"], {"start": start, "end": end}).fetchone()
            assert row is not None
            if row[0] < row[1]:
                cursor.execute(QUERIES[f"refresh_{level}"], {"start": row[0], "end": row[1]})

    def add_up(self, cursor: Cursor, level: Level, scope: Mapping[str, object]) -> None:
        """Add up one tenant's buckets from before the horizon of those that keep less."""
        cursor.execute(QUERIES["lift_limit"])
        cursor.execute(QUERIES[f"add_up_{level}"], scope)

    def drop_raw(self, cursor: Cursor, tenant_key: int, before: datetime) -> tuple[int, int]:
        """Drop and delete while nobody refreshes: a refresh must know the new horizon, or find the rows."""
        cursor.execute(QUERIES["lift_limit"])
        cursor.execute(QUERIES["lock"])
        return super().drop_raw(cursor, tenant_key, before)

    def drop_hourly(self, cursor: Cursor, tenant_key: int, before: datetime) -> int:
        """Delete from what the server keeps the aggregate in."""
        cursor.execute(QUERIES["lift_limit"])
        row = cursor.execute(QUERIES["drop_hourly"], {"tenant_key": tenant_key, "before": before}).fetchone()
        assert row is not None
        return int(row[0])

    def chunks(self, cursor: Cursor, now: datetime) -> list[Chunk]:
        """Return all chunks of the samples and of their hours. One that is new to us counts as written to now."""
        cursor.execute(QUERIES["forget_activity"])
        cursor.execute(QUERIES["note_activity"], {"now": now})
        return [Chunk(*row) for row in cursor.execute(QUERIES["chunks"])]

    def compress(self, cursor: Cursor, chunk: Chunk) -> int:
        """Compress a chunk, or what came to it since it was compressed."""
        cursor.execute(QUERIES["limit_waiting"])
        if chunk.mostly_loose:  # adding to what is compressed would keep the room of what was replaced
            cursor.execute(QUERIES["decompress"], {"chunk": chunk.name})
        cursor.execute(QUERIES["compress"], {"chunk": chunk.name})
        row = cursor.execute(QUERIES["chunk_size"], {"chunk": chunk.name}).fetchone()
        assert row is not None
        return int(row[0])
