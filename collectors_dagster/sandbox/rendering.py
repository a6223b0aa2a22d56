"""Things as the Web API writes them: JSON objects, whole or reduced to what development mode still shows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from collectors_dagster.sandbox.drifting import Entry
from collectors_dagster.sandbox.invention import MARKETS
from collectors_dagster.sandbox.listeners import Listener, Play
from collectors_dagster.sandbox.options import Mode
from collectors_dagster.sandbox.playlists import Playlist
from collectors_dagster.sandbox.world import Album, Artist, Track, World

Json = dict[str, Any]

_SOME_MARKETS = tuple(market for place, market in enumerate(MARKETS) if place % 4)
"""Where a track is licensed that is not licensed everywhere."""

_LISTED = {"\0everywhere": MARKETS, "\0elsewhere": _SOME_MARKETS}
"""What stands for a list of markets until an answer is written.

Nine tenths of a page of tracks are these lists, again and again: they are written out once for all.
"""

_WRITTEN = {json.dumps(mark): json.dumps(markets, separators=(",", ":")) for mark, markets in _LISTED.items()}


@dataclass(frozen=True, slots=True)
class Renderer:
    """Writes for one caller.

    Attributes
    ----------
    base_url : str
        Of the sandbox, without a slash at the end: every address lies below it.
    market : str or None
        What the caller asked for; with it, tracks say whether they can be played there.
    """

    world: World
    base_url: str
    mode: Mode
    today: date
    market: str | None = None

    def artist(self, artist: Artist) -> Json:
        """Return an ArtistObject."""
        found = self.simple_artist(artist) | {"images": self._images("artist", artist.id)}
        if self._is_extended:
            found |= {
                "followers": {"href": None, "total": self.world.followers(artist, self.today)},
                "genres": list(artist.genres),
                "popularity": self.world.popularity(artist, self.today),
            }
        return found

    def simple_artist(self, artist: Artist) -> Json:
        """Return a SimplifiedArtistObject."""
        return self._named("artist", artist.id, artist.name)

    def album(self, album: Album) -> Json:
        """Return an AlbumObject with the first page of its tracks."""
        tracks = [self.simple_track(track) for track in self.world.tracks_of(album)[:50]]
        found = self.simple_album(album) | {
            "tracks": {
                "href": f"{self.base_url}/v1/albums/{album.id}/tracks?offset=0&limit=50",
                "items": tracks,
                "limit": 50,
                "next": None,
                "offset": 0,
                "previous": None,
                "total": album.total_tracks,
            },
            "copyrights": [{"text": f"{album.released.year} {album.label}", "type": "C"}],
            "external_ids": {"upc": album.upc},
        }
        if self._is_extended:
            popularity = self.world.popularity(album, self.today)
            found |= {"genres": [], "label": album.label, "popularity": popularity}
        return found

    def simple_album(self, album: Album) -> Json:
        """Return a SimplifiedAlbumObject."""
        found = self._named("album", album.id, album.name) | {
            "album_type": album.album_type,
            "total_tracks": album.total_tracks,
            "images": self._images("album", album.id),
            "release_date": _date(album.released, album.precision),
            "release_date_precision": album.precision,
            "artists": [self.simple_artist(album.artist)],
        }
        return found | self._markets(elsewhere=False)

    def discography_album(self, album: Album, artist: Artist) -> Json:
        """Return an ArtistDiscographyAlbumObject."""
        group = {"album_group": album.album_type} if self._is_extended else {}
        return self.simple_album(album) | group

    def track(self, track: Track) -> Json:
        """Return a TrackObject."""
        found = self.simple_track(track) | {
            "album": self.simple_album(track.album),
            "external_ids": {"isrc": track.isrc},
        }
        if self._is_extended:
            found["popularity"] = self.world.popularity(track, self.today)
        return found

    def simple_track(self, track: Track) -> Json:
        """Return a SimplifiedTrackObject."""
        artists = [track.album.artist, *([track.guest] if track.guest else [])]
        found = self._named("track", track.id, track.name) | {
            "artists": [self.simple_artist(artist) for artist in artists],
            "disc_number": 1,
            "duration_ms": track.duration_ms,
            "explicit": track.explicit,
            "is_local": False,
            "track_number": track.number,
        }
        found |= self._markets(elsewhere=track.elsewhere)
        if self.market is not None:
            playable = not track.elsewhere or self.market in _SOME_MARKETS
            found |= {"is_playable": playable} | ({} if playable else {"restrictions": {"reason": "market"}})
        if self._is_extended:
            found["preview_url"] = None
        return found

    def playlist_item(self, entry: Entry, added_by: Listener, fields: Sequence[str]) -> Json:
        """Return a PlaylistTrackObject with the track under each of `fields` (`item`, `track`)."""
        track = self._item(entry)
        found: Json = {
            "added_at": instant(entry.added_at),
            "added_by": self.user_reference(added_by),
            "is_local": entry.kind == "local",
        }
        return found | dict.fromkeys(fields, track)

    def playlist(self, playlist: Playlist, total: int) -> Json:
        """Return a SimplifiedPlaylistObject."""
        reference = {"href": f"{self.base_url}/v1/playlists/{playlist.id}/items", "total": total}
        return self._named("playlist", playlist.id, playlist.name) | {
            "collaborative": playlist.collaborative,
            "description": playlist.description,
            "images": self._images("playlist", playlist.id),
            "owner": self.user_reference(playlist.owner) | {"display_name": playlist.owner.name},
            "public": playlist.public,
            "snapshot_id": playlist.items.snapshot_id,
            "items": reference,
            **({"tracks": reference} if self._is_extended else {}),
        }

    def play(self, play: Play) -> Json:
        """Return a PlayHistoryObject."""
        context = {
            "type": "playlist",
            "href": f"{self.base_url}/v1/playlists/{play.context}",
            "external_urls": {"spotify": f"{self.base_url}/open/playlist/{play.context}"},
            "uri": f"spotify:playlist:{play.context}",
        }
        return {
            "track": self.track(self.world.track(play.track)),
            "played_at": instant(play.played_at),
            "context": context if play.context else None,
        }

    def profile(self, user: Listener, scopes: frozenset[str]) -> Json:
        """Return a PrivateUserObject; what a scope opens is left out without it."""
        found = self.user_reference(user) | {
            "account_id": user.account_id,
            "display_name": user.name,
            "images": self._images("user", user.id),
        }
        if not self._is_extended:
            return found
        found["followers"] = {"href": None, "total": user.index * 17}
        if "user-read-private" in scopes:
            found |= {
                "country": user.country,
                "product": "premium" if user.is_premium else "free",
                "explicit_content": {"filter_enabled": False, "filter_locked": False},
            }
        return found | ({"email": user.email} if "user-read-email" in scopes else {})

    def user_reference(self, user: Listener) -> Json:
        """Return a PlaylistUserObject."""
        return self._linked("user", "users", user.id)

    @property
    def _is_extended(self) -> bool:
        return self.mode == "extended"

    def _item(self, entry: Entry) -> Json | None:
        if entry.kind == "gone":
            return None
        track = self.world.track(entry.thing)
        return _local(track, extended=self._is_extended) if entry.kind == "local" else self.track(track)

    def _markets(self, *, elsewhere: bool) -> Json:
        if self.market is not None or not self._is_extended:
            return {}
        return {"available_markets": "\0elsewhere" if elsewhere else "\0everywhere"}

    def _named(self, kind: str, identifier: str, name: str) -> Json:
        return self._linked(kind, f"{kind}s", identifier) | {"name": name}

    def _linked(self, kind: str, path: str, identifier: str) -> Json:
        return {
            "external_urls": {"spotify": f"{self.base_url}/open/{kind}/{identifier}"},
            "href": f"{self.base_url}/v1/{path}/{identifier}",
            "id": identifier,
            "type": kind,
            "uri": f"spotify:{kind}:{identifier}",
        }

    def _images(self, kind: str, identifier: str) -> list[Json]:
        return [
            {"url": f"{self.base_url}/images/{kind}/{identifier}/{side}.svg", "height": side, "width": side}
            for side in (640, 300, 64)
        ]


def _local(track: Track, *, extended: bool) -> Json:
    """Return a file of the user's own: hardly more than a name."""
    nothing: Json = {"external_urls": {}, "href": None, "id": None, "uri": None}
    markets: Json = {"available_markets": []} if extended else {}
    album = (
        nothing
        | markets
        | {
            "album_type": None,
            "artists": [],
            "images": [],
            "name": track.album.name,
            "release_date": None,
            "release_date_precision": None,
            "total_tracks": 0,
            "type": "album",
        }
    )
    found = (
        nothing
        | markets
        | {
            "album": album,
            "artists": [nothing | {"name": track.album.artist.name, "type": "artist"}],
            "disc_number": 0,
            "duration_ms": track.duration_ms,
            "explicit": False,
            "external_ids": {},
            "is_local": True,
            "name": track.name,
            "track_number": 0,
            "type": "track",
            "uri": f"spotify:local:::{track.index}:{track.duration_ms // 1000}",
        }
    )
    return found | ({"popularity": 0, "preview_url": None} if extended else {})


def written(answer: Json) -> bytes:
    """Return an answer as JSON, the lists of markets written out."""
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    for mark, markets in _WRITTEN.items():
        text = text.replace(mark, markets)
    return text.encode()


def instant(at: datetime) -> str:
    """Return an instant as the service writes it, to the millisecond where there are some.

    Examples
    --------
    >>> from datetime import UTC
    >>> instant(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)), instant(datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC))
    ('2026-01-02T03:04:05Z', '2026-01-02T03:04:05.006Z')
    """
    return f"{at:%Y-%m-%dT%H:%M:%S}" + (f".{at.microsecond // 1000:03d}Z" if at.microsecond else "Z")


def _date(day: date, precision: str) -> str:
    return day.isoformat()[: {"year": 4, "month": 7, "day": 10}[precision]]
