"""The shapes of Spotify's rows, as collectors make them and the tables take them: JSON values by column."""

from typing import TypedDict

Instant = str
"""ISO 8601 with its zone, as Spotify writes it; the database parses it."""


class TrackRow(TypedDict):
    """A track or an episode."""

    track_uri: str
    name: str
    artist_ids: list[str]
    artist_names: list[str]
    album_id: str | None
    duration_ms: int | None
    isrc: str | None


class PlayRow(TypedDict):
    """A track that was played for more than 30 s."""

    played_at: Instant
    track_uri: str
    context_uri: str | None


class SavedRow(TypedDict):
    """A track in a user's library."""

    track_uri: str
    added_at: Instant


class FollowedRow(TypedDict):
    """An artist whom a user follows."""

    artist_id: str
    name: str


class ArtistRow(TypedDict):
    """A day's snapshot of an artist; development mode tells neither popularity nor followers."""

    artist_id: str
    name: str
    genres: list[str]
    popularity: int | None
    followers: int | None


class AlbumRow(TypedDict):
    """An album, single or compilation of an artist."""

    album_id: str
    name: str
    album_type: str | None
    release_date: str | None
    total_tracks: int | None


class PlaylistRow(TypedDict):
    """A playlist as it is listed."""

    playlist_id: str
    owner_id: str | None
    name: str
    public: bool | None
    collaborative: bool | None
    items_total: int | None
    snapshot_id: str | None


class ItemRow(TypedDict):
    """An entry of a playlist; without a uri if Spotify does not say any more what it was."""

    position: int
    track_uri: str | None
    added_at: Instant | None
    added_by: str | None


class TopRow(TypedDict):
    """An entry of a list of top artists or tracks, from rank 1."""

    rank: int
    item_uri: str
    name: str


class ProfileRow(TypedDict):
    """A user's profile; what development mode does not tell is None. The e-mail address is never taken."""

    account_id: str | None
    display_name: str | None
    country: str | None
    product: str | None
    followers: int | None
