"""Search: words that must all stand in a name."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from collectors_dagster.sandbox.call import ApiError, Call, Route
from collectors_dagster.sandbox.playlists import Playlist
from collectors_dagster.sandbox.rendering import Json
from collectors_dagster.sandbox.world import Album, Artist, Track

TYPES = ("artist", "album", "track", "playlist", "show", "episode", "audiobook")
_MOST_FOUND = 1000
_KNOWN_ARTISTS = 150
_FIELD = re.compile(r"\b(artist|album|track|year|genre|isrc|upc|tag):", re.IGNORECASE)


def search(call: Call) -> Json:
    """Return a page for each type that was asked for; some playlists are null, as the service has it."""
    words = _FIELD.sub("", call.text("q", "No search query")).replace('"', "").lower().split()
    types = call.text("type", "Missing parameter type").split(",")
    for each in types:
        if each not in TYPES:
            raise ApiError(400, f"Bad search type field {each}")
    default, most = (20, 50) if call.is_extended else (5, 10)
    renderer = call.renderer()
    found: dict[str, tuple[Sequence[Any], Any]] = {
        "artist": (_artists(call, words), renderer.artist),
        "album": (_albums(call, words), renderer.simple_album) if "album" in types else ((), None),
        "track": (_tracks(call, words), renderer.track) if "track" in types else ((), None),
        "playlist": (
            _playlists(call, words),
            lambda each: each and renderer.playlist(each, len(each.items.at(call.now))),
        ),
    }
    return {
        f"{each}s": call.page(*found.get(each, ((), None)), default=default, most=most, deepest=_MOST_FOUND)
        for each in types
    }


def _artists(call: Call, words: list[str]) -> list[Artist]:
    world = call.everything.world
    everybody = map(world.artist, range(world.options.artists))
    return [artist for artist in everybody if _fits(artist.name, words)][:_MOST_FOUND]


def _albums(call: Call, words: list[str]) -> list[Album]:
    world, today = call.everything.world, call.now.date()
    found = (
        album
        for index in range(world.options.artists)
        for album in world.albums_of(world.artist(index), today)[:2]
        if _fits(f"{album.name} {album.artist.name}", words)
    )
    return list(islice(found, _MOST_FOUND))


def _tracks(call: Call, words: list[str]) -> list[Track]:
    """Return tracks of the well-known artists' latest albums; a search of everything would take seconds at first."""
    world, today = call.everything.world, call.now.date()
    found = (
        track
        for index in range(min(world.options.artists, _KNOWN_ARTISTS))
        for album in world.albums_of(world.artist(index), today)[:1]
        for track in world.tracks_of(album)
        if _fits(f"{track.name} {album.name} {album.artist.name}", words)
    )
    return list(islice(found, _MOST_FOUND))


def _playlists(call: Call, words: list[str]) -> list[Playlist | None]:
    found = [each for each in call.everything.playlists.public() if _fits(each.name, words)]
    return [None if place % 7 == 6 else each for place, each in enumerate(found)]


def _fits(name: str, words: list[str]) -> bool:
    lowered = name.lower()
    return all(word in lowered for word in words)


ROUTES = (Route("/v1/search", search),)
