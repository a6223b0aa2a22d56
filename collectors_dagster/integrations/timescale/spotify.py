"""What is kept of Spotify: one object with an attribute per group of tables."""

from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.spotify_artists import SpotifyArtists
from collectors_dagster.integrations.timescale.spotify_library import SpotifyLibrary
from collectors_dagster.integrations.timescale.spotify_memory import SpotifyMemory
from collectors_dagster.integrations.timescale.spotify_playlists import SpotifyPlaylists
from collectors_dagster.integrations.timescale.spotify_profiles import SpotifyProfiles
from collectors_dagster.integrations.timescale.spotify_pulls import SpotifyPulls
from collectors_dagster.integrations.timescale.spotify_retention import SpotifyRetention
from collectors_dagster.integrations.timescale.tenants import TenantTable


class SpotifyStore:
    """All tables of Spotify's.

    Attributes
    ----------
    pulls, library, artists, playlists, profiles, memory
        See their classes.
    """

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self.pulls = SpotifyPulls(database, tenants)
        self.library = SpotifyLibrary(self.pulls)
        self.artists = SpotifyArtists(database, tenants, self.pulls)
        self.playlists = SpotifyPlaylists(self.pulls)
        self.profiles = SpotifyProfiles(self.pulls)
        self.memory = SpotifyMemory(database)
        self._retention = SpotifyRetention(database, tenants)
        self.prune = self._retention.prune
        self.forget = self._retention.forget
