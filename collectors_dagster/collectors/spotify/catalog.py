"""All pulls by dataset."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from collectors_dagster.collectors.spotify import (
    artist_albums,
    artists,
    followed_artists,
    playlists,
    profile,
    recently_played,
    saved_tracks,
    top_items,
)
from collectors_dagster.collectors.spotify.pulling import Pulled, Pulling

PULLS: Mapping[str, Callable[[Pulling], Awaitable[Pulled]]] = MappingProxyType(
    {
        "recently_played": recently_played.pull,
        "saved_tracks": saved_tracks.pull,
        "profile": profile.pull,
        "followed_artists": followed_artists.pull,
        "top_items": top_items.pull,
        "playlists": playlists.pull,
        "artists": artists.pull,
        "artist_albums": artist_albums.pull,
    }
)
