"""The catalogue: artists, albums and tracks, made when they are asked for.

Nothing is stored. What a thing is follows from the seed and its index; what it is *today* (its popularity, the albums
that are out) follows from the day as well.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import islice

from collectors_dagster.sandbox import invention
from collectors_dagster.sandbox.ids import Identifiers
from collectors_dagster.sandbox.invention import MARK, seeded
from collectors_dagster.sandbox.options import WorldOptions

MOST_ALBUMS = 32
MOST_TRACKS = 32
FIRST_DAY = date(2026, 1, 1)
"""From here on things grow."""

_HELD = 20_000
"""Things of one kind that are kept, because pages ask for the same ones again."""


@dataclass(frozen=True, slots=True)
class Artist:
    """An artist; `popularity` and `followers` are those of the first day."""

    index: int
    id: str
    name: str
    genres: tuple[str, ...]
    popularity: int
    followers: int
    phase: float


@dataclass(frozen=True, slots=True)
class Album:
    """A record of one artist, the `number`-th by date."""

    index: int
    id: str
    name: str
    artist: Artist
    album_type: str
    released: date
    precision: str
    total_tracks: int
    label: str
    upc: str
    popularity: int


@dataclass(frozen=True, slots=True)
class Track:
    """A song of one album; the guest, if any, is a second artist."""

    index: int
    id: str
    name: str
    album: Album
    guest: Artist | None
    number: int
    duration_ms: int
    explicit: bool
    isrc: str
    popularity: int
    elsewhere: bool
    """Not licensed in some markets."""


class World:
    """All that the catalogue's endpoints know.

    Examples
    --------
    >>> world = World(seed=1, options=WorldOptions(artists=3))
    >>> artist = world.artist(2)
    >>> world.artist_of(artist.id) is artist, artist.name.endswith(" (sandbox)")
    (True, True)
    """

    def __init__(self, seed: int, options: WorldOptions) -> None:
        self.seed = seed
        self.options = options
        self._artist_ids = Identifiers(seed, "artist")
        self._album_ids = Identifiers(seed, "album")
        self._track_ids = Identifiers(seed, "track")
        self.artist = lru_cache(_HELD)(self._artist)
        self.album = lru_cache(_HELD)(self._album)
        self.track = lru_cache(_HELD)(self._track)
        self._releases = lru_cache(_HELD)(self._all_releases)

    def artist_ids(self, number: int) -> list[str]:
        """Return the identifiers of the first `number` artists."""
        return [self._artist_ids.of(index) for index in range(min(number, self.options.artists))]

    def album_ids(self, number: int) -> list[str]:
        """Return the identifiers of `number` albums that were out on the first day."""
        return [album.id for album in islice(self._first_albums(), number)]

    def track_ids(self, number: int) -> list[str]:
        """Return the identifiers of `number` tracks that were out on the first day."""
        return [self._track_ids.of(index) for index in islice(self.track_indexes_of_first_day(), number)]

    def artist_of(self, identifier: str) -> Artist | None:
        """Return an artist by identifier."""
        index = self._artist_ids.index_of(identifier)
        return self.artist(index) if index is not None and index < self.options.artists else None

    def album_of(self, identifier: str, today: date) -> Album | None:
        """Return an album by identifier, if it is out."""
        index = self._album_ids.index_of(identifier)
        return None if index is None else self._album_if_out(index, today)

    def track_of(self, identifier: str, today: date) -> Track | None:
        """Return a track by identifier, if its album is out."""
        index = self._track_ids.index_of(identifier)
        if index is None:
            return None
        album = self._album_if_out(index // MOST_TRACKS, today)
        return self.track(index) if album and index % MOST_TRACKS < album.total_tracks else None

    def track_id(self, index: int) -> str:
        """Return a track's identifier."""
        return self._track_ids.of(index)

    def albums_of(self, artist: Artist, today: date) -> list[Album]:
        """Return an artist's albums that are out, the latest first."""
        out = [number for number, day in enumerate(self._releases(artist.index)) if day <= today]
        return [self.album(artist.index * MOST_ALBUMS + number) for number in reversed(out)]

    def tracks_of(self, album: Album) -> list[Track]:
        """Return an album's tracks, in order."""
        return [self.track(album.index * MOST_TRACKS + number) for number in range(album.total_tracks)]

    def new_albums(self, today: date, days: int = 60) -> list[Album]:
        """Return the albums that came out in the last `days`, the latest first."""
        since = today - timedelta(days=days)
        found = [
            self.album(artist * MOST_ALBUMS + number)
            for artist in range(self.options.artists)
            for number, day in enumerate(self._releases(artist))
            if since < day <= today
        ]
        return sorted(found, key=lambda album: (album.released, album.id), reverse=True)

    def track_indexes_of_first_day(self) -> Iterator[int]:
        """Yield the index of every track that was out on the first day."""
        for album in self._first_albums():
            yield from range(album.index * MOST_TRACKS, album.index * MOST_TRACKS + album.total_tracks)

    def any_track(self, *words: object) -> int:
        """Return the index of a track of the first day, drawn by `words`; liked artists come more often."""
        random = seeded(self.seed, "any track", *words)
        artist = self.artist(min(int(random.paretovariate(0.7)) - 1, self.options.artists * 50) % self.options.artists)
        albums = self.albums_of(artist, FIRST_DAY)
        album = random.choice(albums)
        return album.index * MOST_TRACKS + random.randrange(album.total_tracks)

    def popularity(self, thing: Artist | Album | Track, today: date) -> int:
        """Return 0 to 100, which drifts slowly and trembles from day to day."""
        if not self.options.drift:
            return thing.popularity
        days = (today - FIRST_DAY).days
        swell = 6 * math.sin(days / 23 + thing.index) + 2 * math.sin(days * 1.7 + thing.index % 97)
        return max(0, min(100, thing.popularity + round(swell)))

    def followers(self, artist: Artist, today: date) -> int:
        """Return how many follow an artist; more every day."""
        days = max((today - FIRST_DAY).days, 0) if self.options.drift else 0
        return artist.followers + days * (1 + artist.followers // 2000)

    def _first_albums(self) -> Iterator[Album]:
        for index in range(self.options.artists):
            yield from reversed(self.albums_of(self.artist(index), FIRST_DAY))

    def _album_if_out(self, index: int, today: date) -> Album | None:
        artist, number = divmod(index, MOST_ALBUMS)
        if artist >= self.options.artists:
            return None
        releases = self._releases(artist)
        return self.album(index) if number < len(releases) and releases[number] <= today else None

    def _all_releases(self, artist: int) -> tuple[date, ...]:
        """Return the days on which an artist's albums come out: at least two before the first day."""
        random = seeded(self.seed, "releases", artist)
        day = date(random.randrange(2008, 2024), random.randrange(1, 13), random.randrange(1, 28))
        days = []
        for _ in range(MOST_ALBUMS):
            days.append(day)
            day += timedelta(days=random.randrange(90, 540))
        return tuple(days)

    def _artist(self, index: int) -> Artist:
        random = seeded(self.seed, "artist", index)
        popularity = max(1, min(95, round(random.gauss(45, 20))))
        return Artist(
            index=index,
            id=self._artist_ids.of(index),
            name=invention.artist_name(random) + MARK,
            genres=tuple(invention.genres(random)),
            popularity=popularity,
            followers=round(10 ** (popularity / 16)) + random.randrange(1000),
            phase=random.random(),
        )

    def _album(self, index: int) -> Album:
        random = seeded(self.seed, "album", index)
        artist, number = divmod(index, MOST_ALBUMS)
        kind = random.choices(("album", "single", "compilation"), (6, 3, 1))[0]
        tracks = random.randrange(1, 4) if kind == "single" else random.randrange(8, 20)
        released = self._releases(artist)[number]
        old = released.year < 2014
        return Album(
            index=index,
            id=self._album_ids.of(index),
            name=invention.album_name(random) + MARK,
            artist=self.artist(artist),
            album_type=kind,
            released=released,
            precision=random.choice(("year", "month", "day")) if old else "day",
            total_tracks=tracks,
            label=invention.label(random),
            upc=f"{random.randrange(10**12):012d}",
            popularity=random.randrange(5, 80),
        )

    def _track(self, index: int) -> Track:
        random = seeded(self.seed, "track", index)
        album, number = divmod(index, MOST_TRACKS)
        on = self.album(album)
        name = invention.track_name(random)
        return Track(
            index=index,
            id=self._track_ids.of(index),
            name=name + MARK,
            album=on,
            guest=self.artist(random.randrange(self.options.artists)) if "(feat." in name else None,
            number=number + 1,
            duration_ms=random.randrange(95_000, 420_000),
            explicit=random.random() < 0.12,
            isrc=f"XX{random.choice('ABCDEFG')}SB{on.released.year % 100:02d}{random.randrange(100_000):05d}",
            popularity=random.randrange(0, 85),
            elsewhere=random.random() < 0.05,
        )
