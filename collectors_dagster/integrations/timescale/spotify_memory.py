"""What the Spotify client has learned: limits, bans, quota modes. It outlives processes and Redis."""

from typing import Any

from psycopg.types.json import Jsonb

from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.queries import load_queries

QUERIES = load_queries("spotify_memory")


class SpotifyMemory:
    """``core.spotify_memory``: documents by kind and name. Holds no content and no secret."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return what was remembered, or None."""
        with self._database.transaction("remember") as cursor:
            row = cursor.execute(QUERIES["load"], {"kind": kind, "name": name}).fetchone()
        return dict(row[0]) if row else None

    def save(self, kind: str, name: str, document: dict[str, Any]) -> None:
        """Remember a document in the place of the one before."""
        with self._database.transaction("remember") as cursor:
            cursor.execute(QUERIES["save"], {"kind": kind, "name": name, "document": Jsonb(document)})
