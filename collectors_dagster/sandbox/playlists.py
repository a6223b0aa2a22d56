"""Playlists: of one user alone, of several, of others; their items change from day to day."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import islice

from collectors_dagster.sandbox import invention
from collectors_dagster.sandbox.drifting import Change, Daily, DriftingList, Entry
from collectors_dagster.sandbox.ids import Identifiers
from collectors_dagster.sandbox.invention import MARK, seeded
from collectors_dagster.sandbox.listeners import Listener, Listeners
from collectors_dagster.sandbox.world import FIRST_DAY, World

LARGE = "The long one" + MARK


@dataclass(frozen=True, slots=True)
class Playlist:
    """A playlist; owner and collaborators see its items in development mode, too."""

    id: str
    name: str
    description: str
    owner: Listener = field(repr=False)
    public: bool
    collaborative: bool
    followers: int
    items: DriftingList = field(repr=False)
    collaborators: frozenset[str] = frozenset()

    def is_of(self, user_id: str | None) -> bool:
        """Return whether a user owns it or works on it."""
        return user_id == self.owner.id or user_id in self.collaborators


class Playlists:
    """All playlists of a sandbox, and in whose library they are."""

    def __init__(self, world: World, listeners: Listeners) -> None:
        self._world = world
        self._ids = Identifiers(world.seed, "playlist")
        self._libraries: dict[str, list[Playlist]] = {listener.id: [] for listener in listeners.all}
        everybody = listeners.all
        made = [
            self._make(listener, number, everybody[(place + 1) % len(everybody)])
            for place, listener in enumerate(everybody)
            for number in range(world.options.playlists)
        ]
        for playlist in made:
            self._libraries[playlist.owner.id].append(playlist)
        self.large = self._large(listeners.all[0])
        self._libraries[self.large.owner.id].append(self.large)
        self._share(made, listeners)
        shared = {playlist.id: playlist for library in self._libraries.values() for playlist in library}
        self._by_id: Mapping[str, Playlist] = shared

    def of(self, identifier: str) -> Playlist | None:
        """Return a playlist by identifier."""
        return self._by_id.get(identifier)

    def library(self, user_id: str) -> list[Playlist]:
        """Return the playlists that a user owns or follows."""
        return self._libraries[user_id]

    def public(self) -> list[Playlist]:
        """Return all that everybody may see."""
        return [playlist for playlist in self._by_id.values() if playlist.public]

    def _make(self, owner: Listener, number: int, neighbour: Listener) -> Playlist:
        world = self._world
        random = seeded(world.seed, "playlist", owner.index, number)
        name = f"playlist {owner.index}/{number}"
        collaborative = number % 5 == 3
        return Playlist(
            id=self._ids.of(owner.index * 1000 + number),
            name=invention.playlist_name(random) + MARK,
            description="" if random.random() < 0.5 else "Kept by a listener who does not exist" + MARK,
            owner=owner,
            public=not collaborative and number % 3 != 1,
            collaborative=collaborative,
            followers=random.randrange(400),
            items=DriftingList(name, partial(self._items, owner, name), self._daily(owner, name)),
            collaborators=frozenset({neighbour.id}) if collaborative else frozenset(),
        )

    def _large(self, owner: Listener) -> Playlist:
        items = DriftingList("the long one", self._large_items)
        identifier = self._ids.of(999_999)
        return Playlist(identifier, LARGE, "", owner, public=True, collaborative=False, followers=4, items=items)

    def _large_items(self) -> list[Entry]:
        wanted = self._world.options.large_playlist_items
        tracks = list(islice(self._world.track_indexes_of_first_day(), wanted))
        added = _first_moment() - timedelta(days=200)
        return [Entry(tracks[place % len(tracks)], added + timedelta(seconds=13 * place)) for place in range(wanted)]

    def _items(self, owner: Listener, name: str) -> list[Entry]:
        random = seeded(self._world.seed, name, "items")
        length = random.randrange(5, 180)
        kinds = random.choices(("track", "local", "gone"), (96, 2, 2), k=length)
        added = _first_moment() - timedelta(days=length + 30)
        return [
            Entry(self._world.any_track(name, place), added + timedelta(hours=20 * place), kind, owner.index)
            for place, kind in enumerate(kinds)
        ]

    def _daily(self, owner: Listener, name: str) -> Daily | None:
        world = self._world
        if not world.options.drift:
            return None

        def changes(day: date, length: int) -> Iterator[Change]:
            random = seeded(world.seed, name, day)
            for number in range(random.choice((0, 0, 1, 1, 2, 3))):
                at = datetime.combine(day, time(), UTC) + timedelta(seconds=random.randrange(86_400))
                what = random.random()
                if what < 0.5 or length < 4:
                    added = Entry(world.any_track(name, day, number), at, "track", owner.index)
                    yield Change(at, add=((random.choice((length, 0)), added),))
                elif what < 0.8:
                    yield Change(at, remove=(random.randrange(length),))
                else:
                    yield Change(at, move=(random.randrange(length), random.randrange(length)))

        return changes

    def _share(self, made: list[Playlist], listeners: Listeners) -> None:
        """Put some playlists into the library of the next user: collaborative ones, and public ones to follow."""
        everybody = listeners.all
        for playlist in made:
            neighbour = everybody[(playlist.owner.index + 1) % len(everybody)]
            if playlist.collaborators or (playlist.public and playlist.followers % 3 == 0):
                self._libraries[neighbour.id].append(playlist)


def _first_moment() -> datetime:
    return datetime.combine(FIRST_DAY, time(), UTC)
