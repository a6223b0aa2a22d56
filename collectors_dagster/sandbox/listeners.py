"""The users: who they are, what they saved, whom they follow, what they played."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple

from collectors_dagster.sandbox.drifting import Change, DriftingList, Entry
from collectors_dagster.sandbox.invention import COLOURS, COUNTRIES, MARK, seeded
from collectors_dagster.sandbox.world import FIRST_DAY, MOST_TRACKS, World

REMEMBERED_PLAYS = 50
"""As many plays does the service remember; older ones are lost."""

TIME_RANGES = {"short_term": 7, "medium_term": 45, "long_term": 365}
"""After how many days the ranking of a range has changed noticeably."""


class Play(NamedTuple):
    """A track that was played; the instant is unique per user, as the service's are to the millisecond."""

    track: int
    played_at: datetime
    context: str = ""
    """Identifier of the playlist it was played from; empty: none."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A user."""

    index: int
    id: str
    account_id: str
    name: str
    email: str
    country: str
    is_premium: bool
    is_allowed: bool
    """Whether development-mode applications may ask for this user."""
    saved_tracks: DriftingList = field(repr=False)
    saved_albums: DriftingList = field(repr=False)
    followed: DriftingList = field(repr=False)


class Listeners:
    """All users of a sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world
        options = world.options
        self.all = tuple(_listener(world, index) for index in range(options.listeners + 1))
        self._by_id = {listener.id: listener for listener in self.all}
        self._by_hand: dict[int, list[Play]] = {}
        self._plays_of_day = lru_cache(4096)(self._sessions)

    def of(self, identifier: str) -> Listener | None:
        """Return a user by identifier."""
        return self._by_id.get(identifier)

    def add_play(self, listener: Listener, play: Play) -> None:
        """Let a user have played something more."""
        self._by_hand.setdefault(listener.index, []).append(play)

    def recent_plays(self, listener: Listener, now: datetime) -> list[Play]:
        """Return the last plays that the service remembers, the latest first."""
        plays = [play for play in self._by_hand.get(listener.index, []) if play.played_at <= now]
        day = now.date()
        for _ in range(60):  # nobody is silent for so long
            plays += [play for play in self._plays_of_day(listener.index, day) if play.played_at <= now]
            if len(plays) >= REMEMBERED_PLAYS:
                break
            day -= timedelta(days=1)
        return sorted(plays, key=lambda play: play.played_at, reverse=True)[:REMEMBERED_PLAYS]

    def top(self, listener: Listener, kind: str, time_range: str, today: date) -> list[int]:
        """Return a user's favourite artists or tracks, the dearest first."""
        world = self._world
        age = (today - FIRST_DAY).days if world.options.drift else 0
        period = age // TIME_RANGES[time_range]
        size = 50 if kind == "artists" else 99
        random = seeded(world.seed, "top", listener.index, kind, time_range)
        later = seeded(world.seed, "top", listener.index, kind, time_range, period)
        if kind == "artists":
            ranked = random.sample(range(world.options.artists), min(size, world.options.artists))
        else:
            ranked = list(dict.fromkeys(world.any_track("top", listener.index, time_range, n) for n in range(size)))
        for _ in range(len(ranked) // 10 if period else 0):
            ranked.insert(later.randrange(len(ranked)), ranked.pop(later.randrange(len(ranked))))
        return ranked

    def _sessions(self, listener: int, day: date) -> tuple[Play, ...]:
        """Return the plays that begin on a day: a few sessions of tracks one after the other."""
        random = seeded(self._world.seed, "plays", listener, day)
        plays: list[Play] = []
        for session in range(random.randrange(2, 6)):
            at = datetime.combine(day, time(random.randrange(24), random.randrange(60)), UTC)
            at += timedelta(milliseconds=random.randrange(60_000))
            for number in range(random.randrange(3, 25)):
                index = self._world.any_track("played", listener, day, session, number)
                track = self._world.track(index)
                at += timedelta(milliseconds=track.duration_ms)
                plays.append(Play(index, at))
        return tuple({play.played_at: play for play in plays}.values())


def _listener(world: World, index: int) -> Listener:
    random = seeded(world.seed, "listener", index)
    colour = COLOURS[index % len(COLOURS)]
    number = random.randrange(100_000)
    return Listener(
        index=index,
        id=f"sandbox-{colour.lower()}-{number:05d}",
        account_id=f"sandbox{random.getrandbits(64):016x}",
        name=f"Listener {colour}{MARK}",
        email=f"{colour.lower()}.{number}@sandbox.invalid",
        country=COUNTRIES[index % len(COUNTRIES)],
        is_premium=index % 3 != 2,
        is_allowed=index < world.options.listeners,
        saved_tracks=_saved_tracks(world, index),
        saved_albums=_saved_albums(world, index),
        followed=_followed(world, index),
    )


def _saved_tracks(world: World, listener: int) -> DriftingList:
    """Return a library of a few hundred tracks, the latest first; one comes nearly every day, one leaves some days."""

    def first() -> list[Entry]:
        length = seeded(world.seed, "saved tracks", listener).randrange(150, 400)
        tracks = dict.fromkeys(world.any_track("saved", listener, number) for number in range(length))
        return [Entry(track, _before(hours=7 * place)) for place, track in enumerate(tracks)]

    def daily(day: date, length: int) -> Iterator[Change]:
        dice = seeded(world.seed, "saves", listener, day)
        for number in range(dice.randrange(0, 3)):
            at = _moment(day, dice.random())
            added = Entry(world.any_track("saved", listener, day, number), at)
            yield Change(at, add=((0, added),))
        if dice.random() < 0.2 and length > 10:
            yield Change(_moment(day, dice.random()), remove=(dice.randrange(length),))

    return DriftingList(f"saved tracks {listener}", first, daily if world.options.drift else None)


def _saved_albums(world: World, listener: int) -> DriftingList:

    def first() -> list[Entry]:
        length = seeded(world.seed, "saved albums", listener).randrange(20, 70)
        albums = dict.fromkeys(world.any_track("saved albums", listener, n) // MOST_TRACKS for n in range(length))
        return [Entry(album, _before(hours=50 * place)) for place, album in enumerate(albums)]

    def daily(day: date, length: int) -> Iterator[Change]:
        dice = seeded(world.seed, "album saves", listener, day)
        if dice.random() < 0.15:
            at = _moment(day, dice.random())
            yield Change(at, add=((0, Entry(world.any_track("saved albums", listener, day) // MOST_TRACKS, at)),))

    return DriftingList(f"saved albums {listener}", first, daily if world.options.drift else None)


def _followed(world: World, listener: int) -> DriftingList:
    everybody = list(range(world.options.artists))
    random = seeded(world.seed, "followed", listener)
    random.shuffle(everybody)
    count = random.randrange(60, 140)
    followed, others = everybody[:count], everybody[count:]

    def first() -> list[Entry]:
        return [Entry(artist, _before(hours=90)) for artist in followed]

    def daily(day: date, length: int) -> Iterator[Change]:
        dice = seeded(world.seed, "follows", listener, day)
        if dice.random() < 0.1 and length > 5:
            yield Change(_moment(day, dice.random()), remove=(dice.randrange(length),))
        if dice.random() < 0.2 and others:
            yield Change(_moment(day, dice.random()), add=((0, Entry(others.pop(), _moment(day, 0.5))),))

    return DriftingList(f"followed {listener}", first, daily if world.options.drift else None)


def _before(*, hours: float) -> datetime:
    return datetime.combine(FIRST_DAY, time(), UTC) - timedelta(hours=hours + 1)


def _moment(day: date, share: float) -> datetime:
    seconds = int(share * 86_400)
    return datetime.combine(day, time(), UTC) + timedelta(seconds=seconds)
