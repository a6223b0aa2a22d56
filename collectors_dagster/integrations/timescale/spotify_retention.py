"""How what came from Spotify leaves: by age, and at once when a user disconnects."""

from datetime import datetime

from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.tenants import TenantTable

QUERIES = load_queries("spotify_retention")

PRUNED = (
    *("recently_played", "saved_tracks", "followed_artists", "artists", "artist_albums", "snapshots", "playlists"),
    *("top_items", "profile", "tracks"),
)
"""In this order: tracks go when nothing names them any more."""
FORGOTTEN = ("pulls", "plays", "saved_tracks", "followed_artists", "snapshots", "playlists", "top_items", "profiles")
"""What is of a user. Pulls first: whoever writes a page is waited for, and refused afterwards."""
ORPHANS = ("artists", "artist_albums")

Wanted = dict[str, object]


class SpotifyRetention:
    """Old and unwanted rows of all tables of Spotify's."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    def prune(self, tenant_id: str, now: datetime) -> int:
        """Delete what is older than its dataset is kept, in one transaction; return how many rows."""
        wanted: Wanted = {"tenant_key": self._tenants.key(tenant_id), "now": now}
        with self._database.transaction("prune Spotify data") as cursor:
            return sum(_changed(cursor, f"prune_{table}", wanted) for table in PRUNED)

    def forget(self, tenant_id: str, user_id: str | None = None) -> int:
        """Delete all data of a user, or of all users of the tenant, at once; return how many rows.

        Tracks, artists and albums leave too unless other users' data name them. A page that is being written is
        waited for; later ones are refused, because their pull is gone. Doing it again does nothing.

        Parameters
        ----------
        user_id : str, optional
            None: everything that the tenant has of Spotify's.
        """
        wanted: Wanted = {"tenant_key": self._tenants.key(tenant_id), "user_id": user_id}
        with self._database.transaction("forget Spotify data") as cursor:
            rows = sum(_changed(cursor, f"forget_{table}", wanted) for table in FORGOTTEN)
            rows += _changed(cursor, "prune_tracks", wanted)
            return rows + sum(_changed(cursor, f"forget_{table}", wanted) for table in ORPHANS)


def _changed(cursor: Cursor, query: str, values: Wanted) -> int:
    cursor.execute(QUERIES[query], values)
    return int(cursor.rowcount)
