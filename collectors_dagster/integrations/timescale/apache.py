"""TimescaleDB under the Apache licence: the server makes and finds chunks, the rest is as on PostgreSQL alone."""

from collections.abc import Iterable
from datetime import datetime

from collectors_dagster.integrations.timescale.connection import Cursor
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.plain import PlainPostgres
from collectors_dagster.integrations.timescale.queries import load_queries

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
