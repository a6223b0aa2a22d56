"""TimescaleDB under the Apache licence: the server makes and finds chunks, the rest is as on PostgreSQL alone."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from collectors_dagster.integrations.timescale.connection import Cursor
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.plain import PlainPostgres
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.strategies.chunks import chunk_interval

QUERIES = load_queries("apache")


class TimescaleApache(PlainPostgres):
    """A hypertable for samples; aggregates in tables."""

    edition = Edition.APACHE

    def before_write(self, cursor: Cursor, instants: Iterable[datetime]) -> None:
        """Do nothing: the server makes the chunks."""

    def size(self, cursor: Cursor) -> int:
        """Add up the tables of the schema and the chunks of its hypertables."""
        row = cursor.execute(QUERIES["size"]).fetchone()
        assert row is not None
        return int(row[0])

    def adapt_chunks(self, cursor: Cursor, now: datetime) -> tuple[timedelta | None, timedelta | None]:
        """Choose from rows and series of the last day, and from what the server says to have for its cache."""
        row = cursor.execute(QUERIES["interval"]).fetchone()
        measured = cursor.execute(QUERIES["rate"], {"now": now}).fetchone()
        assert row is not None
        assert measured is not None
        current, (rows, series, memory) = row[0], measured
        if not rows:
            return current, current
        wanted = chunk_interval(rows, series, memory)
        if wanted != current:
            cursor.execute(QUERIES["set_interval"], {"interval": wanted})
        return current, wanted


def read_jobs(cursor: Cursor) -> Sequence[tuple[Any, ...]]:
    """Return the server's background jobs: number, procedure, whether it works on our tables, last outcome."""
    return cursor.execute(QUERIES["jobs"]).fetchall()
