"""Artists and their albums."""

from collections.abc import Sequence
from datetime import date, datetime

from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.spotify_pulls import Mark, SpotifyPulls
from collectors_dagster.integrations.timescale.spotify_rows import AlbumRow, ArtistRow
from collectors_dagster.integrations.timescale.tenants import TenantTable

QUERIES = load_queries("spotify_artists")


class SpotifyArtists:
    """``core.spotify_artist`` and ``core.spotify_artist_album``."""

    def __init__(self, database: Database, tenants: TenantTable, pulls: SpotifyPulls) -> None:
        self._database = database
        self._tenants = tenants
        self._pulls = pulls

    def wanted(self, tenant_id: str, at: datetime, most: int) -> list[str]:
        """Return the ids of the artists to follow: followed, top, then most heard; at most `most`."""
        wanted = {"tenant_key": self._tenants.key(tenant_id), "at": at, "most": most}
        with self._database.transaction("choose artists") as cursor:
            return [row[0] for row in cursor.execute(QUERIES["wanted"], wanted)]

    def done(self, tenant_id: str, day: date) -> set[str]:
        """Return the artists that have their snapshot of a day."""
        wanted = {"tenant_key": self._tenants.key(tenant_id), "day": day}
        with self._database.transaction("list snapshots of artists") as cursor:
            return {row[0] for row in cursor.execute(QUERIES["done"], wanted)}

    def write(self, mark: Mark, artists: Sequence[ArtistRow], *, day: date) -> tuple[int, int]:
        """Write snapshots of a day; return how many are new, and how many changed."""
        with self._pulls.page(mark) as page:
            row = page.execute(QUERIES["artists"], artists, day=day)
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def known_albums(self, tenant_id: str, artist_id: str, before: datetime) -> set[str]:
        """Return the albums of an artist that were met before an instant."""
        wanted = {"tenant_key": self._tenants.key(tenant_id), "artist_id": artist_id, "at": before}
        with self._database.transaction("list albums") as cursor:
            return {row[0] for row in cursor.execute(QUERIES["known_albums"], wanted)}

    def write_albums(self, mark: Mark, artist_id: str, albums: Sequence[AlbumRow]) -> int:
        """Add albums of an artist; return how many are new."""
        with self._pulls.page(mark) as page:
            row = page.execute(QUERIES["albums"], albums, artist_id=artist_id)
        return int(row[0]) if row else 0
