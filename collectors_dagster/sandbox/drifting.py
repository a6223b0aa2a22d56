"""Lists that change with time: each change has its instant, and reading applies those that are due."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

from collectors_dagster.sandbox.world import FIRST_DAY


class Entry(NamedTuple):
    """One item of a list.

    Attributes
    ----------
    thing : int
        Index of a track, an album or an artist.
    kind : str
        `track`, or in playlists also `local` (a file of the user's) and `gone` (removed from the catalogue).
    added_by : int
        Index of the user.
    """

    thing: int
    added_at: datetime
    kind: str = "track"
    added_by: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to a list at one instant, in this order: items leave, one moves, items come.

    Attributes
    ----------
    remove : tuple of int
        Positions; those beyond the end are passed over.
    move : tuple of int or None
        From where to where.
    add : tuple of (int, Entry)
        Position and item; a position beyond the end appends.
    """

    at: datetime
    remove: tuple[int, ...] = ()
    move: tuple[int, int] | None = None
    add: tuple[tuple[int, Entry], ...] = ()


Daily = Callable[[date, int], Iterable[Change]]
"""The changes of a day, given how long the list is when it begins."""


class DriftingList:
    """A list with a revision that grows with each change.

    Parameters
    ----------
    name : str
        Unique among the lists of a sandbox.
    first : callable
        Returns the entries of the first day; called when somebody looks.
    daily : callable or None
        Names each day's own changes; ``None``: it changes only by hand.
    """

    def __init__(self, name: str, first: Callable[[], list[Entry]], daily: Daily | None = None) -> None:
        self.name = name
        self.revision = 1
        self._first = first
        self._daily = daily
        self._entries: list[Entry] | None = None
        self._day = FIRST_DAY
        self._due: list[Change] = []

    @property
    def entries(self) -> list[Entry]:
        """The entries as of the last look."""
        if self._entries is None:
            self._entries = self._first()
        return self._entries

    def at(self, now: datetime) -> list[Entry]:
        """Return the entries as they are at `now`; not to be changed by the caller."""
        if self._daily is not None:
            while self._day <= now.date():
                self._apply_due(datetime.combine(self._day, datetime.min.time(), UTC))
                self._due += sorted(self._daily(self._day, len(self.entries)), key=lambda change: change.at)
                self._day += timedelta(days=1)
            self._apply_due(now)
        return self.entries

    def change(self, change: Change) -> None:
        """Change the list now, whatever the day brings."""
        entries = self.entries
        for position in sorted(set(change.remove), reverse=True):
            if 0 <= position < len(entries):
                del entries[position]
        if change.move is not None and 0 <= change.move[0] < len(entries):
            entries.insert(change.move[1], entries.pop(change.move[0]))
        for position, entry in change.add:
            entries.insert(position, entry)
        self.revision += 1

    @property
    def snapshot_id(self) -> str:
        """What changes with each change, and with nothing else."""
        mark = blake2b(f"{self.name}/{self.revision}".encode(), digest_size=20).digest()
        return urlsafe_b64encode(self.revision.to_bytes(4, "big") + mark).decode()

    def _apply_due(self, now: datetime) -> None:
        while self._due and self._due[0].at <= now:
            self.change(self._due.pop(0))
