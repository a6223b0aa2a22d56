"""From Spotify's objects to rows: tolerant of what is missing, strict about what makes a row."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from collectors_dagster.errors import UnexpectedResponseError
from collectors_dagster.integrations.timescale.spotify_rows import (
    AlbumRow,
    ArtistRow,
    FollowedRow,
    ItemRow,
    PlaylistRow,
    PlayRow,
    ProfileRow,
    SavedRow,
    TopRow,
    TrackRow,
)

JsonObject = dict[str, Any]
Item = JsonObject | None


def items_of(reply: JsonObject, operation: str) -> list[Item]:
    """Return the items of a list that comes in one reply.

    Raises
    ------
    UnexpectedResponseError
        If there are none: a reply without its items is not an empty list.
    """
    items = reply.get("items")
    if not isinstance(items, list):
        raise UnexpectedResponseError(
            f"Spotify's reply to {operation} has no items", service="spotify", operation=operation
        )
    return [item if isinstance(item, dict) else None for item in items]


def track_row(track: Item) -> TrackRow | None:
    """Return the row of a track or episode; None for what Spotify does not know any more.

    Examples
    --------
    >>> track_row({"uri": "spotify:track:1", "name": "One", "artists": [{"id": "a", "name": "A"}]})["artist_ids"]
    ['a']
    >>> track_row(None) is None
    True
    """
    uri = _text(track, "uri")
    if track is None or uri is None:
        return None
    artists = [artist for artist in _list(track, "artists") if isinstance(artist, dict)]
    return {
        "track_uri": uri,
        "name": _text(track, "name") or "",
        "artist_ids": [found for artist in artists if (found := _text(artist, "id"))],
        "artist_names": [_text(artist, "name") or "" for artist in artists],
        "album_id": _text(_object(track, "album"), "id"),
        "duration_ms": _whole(track, "duration_ms"),
        "isrc": _text(_object(track, "external_ids"), "isrc"),
    }


def tracks_of(items: Iterable[Item], *keys: str) -> list[TrackRow]:
    """Return the tracks of items, each under the first of `keys` that it has."""
    return [row for item in items if (row := track_row(_first(item, keys))) is not None]


def play_rows(items: Iterable[Item]) -> list[PlayRow]:
    """Return plays; what has no track or no time is none."""
    return [
        {"played_at": at, "track_uri": uri, "context_uri": _text(_object(item, "context"), "uri")}
        for item in items
        if (at := _instant(item, "played_at")) and (uri := _text(_object(item, "track"), "uri"))
    ]


def saved_rows(items: Iterable[Item]) -> list[SavedRow]:
    """Return saved tracks."""
    return [
        {"track_uri": uri, "added_at": at}
        for item in items
        if (at := _instant(item, "added_at")) and (uri := _text(_object(item, "track"), "uri"))
    ]


def followed_rows(items: Iterable[Item]) -> list[FollowedRow]:
    """Return followed artists."""
    return [
        {"artist_id": artist_id, "name": _text(item, "name") or ""}
        for item in items
        if (artist_id := _text(item, "id"))
    ]


def artist_row(artist_id: str, artist: JsonObject) -> ArtistRow:
    """Return the snapshot of an artist under the id that was asked for: Spotify may answer with another."""
    return {
        "artist_id": artist_id,
        "name": _text(artist, "name") or "",
        "genres": [genre for genre in _list(artist, "genres") if isinstance(genre, str)],
        "popularity": _whole(artist, "popularity"),
        "followers": _whole(_object(artist, "followers"), "total"),
    }


def album_rows(items: Iterable[Item]) -> list[AlbumRow]:
    """Return albums."""
    return [
        {
            "album_id": album_id,
            "name": _text(item, "name") or "",
            "album_type": _text(item, "album_type"),
            "release_date": _text(item, "release_date"),
            "total_tracks": _whole(item, "total_tracks"),
        }
        for item in items
        if (album_id := _text(item, "id"))
    ]


def playlist_rows(items: Iterable[Item]) -> list[PlaylistRow]:
    """Return playlists as they are listed; ``tracks`` is called ``items`` since February 2026."""
    return [
        {
            "playlist_id": playlist_id,
            "owner_id": _text(_object(item, "owner"), "id"),
            "name": _text(item, "name") or "",
            "public": _flag(item, "public"),
            "collaborative": _flag(item, "collaborative"),
            "items_total": _whole(_first(item, ("items", "tracks")), "total"),
            "snapshot_id": _text(item, "snapshot_id"),
        }
        for item in items
        if (playlist_id := _text(item, "id"))
    ]


def item_rows(items: Sequence[Item], offset: int) -> list[ItemRow]:
    """Return the entries of a playlist's page; every position has one, known or not."""
    return [
        {
            "position": offset + at,
            "track_uri": _text(_first(item, ("item", "track")), "uri"),
            "added_at": _instant(item, "added_at"),
            "added_by": _text(_object(item, "added_by"), "id"),
        }
        for at, item in enumerate(items)
    ]


def top_rows(items: Iterable[Item]) -> list[TopRow]:
    """Return a list of top artists or tracks."""
    return [
        {"rank": rank, "item_uri": uri, "name": _text(item, "name") or ""}
        for rank, item in enumerate(items, start=1)
        if (uri := _text(item, "uri"))
    ]


def profile_row(profile: JsonObject) -> ProfileRow:
    """Return what is kept of a profile: no e-mail address, no pictures."""
    return {
        "account_id": _text(profile, "account_id"),
        "display_name": _text(profile, "display_name"),
        "country": _text(profile, "country"),
        "product": _text(profile, "product"),
        "followers": _whole(_object(profile, "followers"), "total"),
    }


def _text(of: Item, key: str) -> str | None:
    value = of.get(key) if of else None
    return value.replace("\0", "") or None if isinstance(value, str) else None  # PostgreSQL's text has no NUL


def _instant(of: Item, key: str) -> str | None:
    """Return a time as it came; None for what is none, or lies where no time can be."""
    text = _text(of, key)
    try:
        told = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return text if told is not None and told.tzinfo is not None else None


def _whole(of: Item, key: str) -> int | None:
    value = of.get(key) if of else None
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31 else None


def _flag(of: Item, key: str) -> bool | None:
    value = of.get(key) if of else None
    return value if isinstance(value, bool) else None


def _object(of: Item, key: str) -> Item:
    value = of.get(key) if of else None
    return value if isinstance(value, dict) else None


def _list(of: JsonObject, key: str) -> list[Any]:
    value = of.get(key)
    return value if isinstance(value, list) else []


def _first(of: Item, keys: Iterable[str]) -> Item:
    return next((found for key in keys if (found := _object(of, key)) is not None), None)
