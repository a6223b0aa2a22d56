"""What a pull is given, and what it gives back."""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from collectors_dagster.clock import Clock
from collectors_dagster.strategies.spotify_datasets import Dataset

if TYPE_CHECKING:
    from collectors_dagster.integrations.spotify.client import SpotifyClient
    from collectors_dagster.integrations.timescale.spotify import SpotifyStore
    from collectors_dagster.integrations.timescale.spotify_pulls import Mark, PullScope, PullStart


Row = TypeVar("Row")


class Progress(Protocol):
    """Is told how far a pull is."""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Hear that `done` of `total` things (None: unknown) of a kind are stored."""
        ...


def unheard(what: str, done: int, total: int | None) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class LeftOut:
    """How many entries came that cannot be stored: null, or without what identifies them."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class Pulling:
    """One dataset of one user, or of the tenant, about to be pulled.

    Attributes
    ----------
    day : date
        The day whose snapshot is taken.
    start : PullStart
        Where to go on; an empty position is the beginning.
    whole : bool
        Whether a list that is usually followed from its newest entry is to be read to its end.
    max_artists : int
        The most artists that are followed for a tenant.
    """

    client: "SpotifyClient"
    store: "SpotifyStore"
    clock: Clock
    dataset: Dataset
    scope: "PullScope"
    day: date
    start: "PullStart"
    progress: Progress = unheard
    whole: bool = False
    max_artists: int = 500
    left_out: LeftOut = field(default_factory=LeftOut)

    def usable(self, rows: Sequence[Row], entries: Sized) -> Sequence[Row]:
        """Return the rows that came of entries, and count the entries that none came of: nothing is lost silently."""
        self.left_out.count += len(entries) - len(rows)
        return rows

    def mark(self, position: Mapping[str, Any]) -> "Mark":
        """Return where the pull goes on after the next write."""
        from collectors_dagster.integrations.timescale.spotify_pulls import Mark  # noqa: PLC0415  # psycopg

        return Mark(self.scope, position, self.clock.now())

    def left_of_today(self) -> dict[str, Any]:
        """Return the position if it is of this day's snapshot; else the beginning."""
        position = dict(self.start.position)
        return position if position.get("day") == self.day.isoformat() else {"day": self.day.isoformat()}

    def sweep_of(self, position: Mapping[str, Any]) -> datetime:
        """Return when the sweep began that `position` belongs to; now for a new one."""
        begun = position.get("sweep")
        return datetime.fromisoformat(begun) if begun else self.clock.now()


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull stored.

    Attributes
    ----------
    position : Mapping
        Where the next pull begins.
    new, changed, removed : int
        Rows.
    gap : bool
        Rows may have been lost since the pull before.
    notes : tuple of str
        What a person should know: unstable playlists, ids that Spotify does not know.
    detail : Mapping
        Further figures of the dataset.
    """

    position: Mapping[str, Any] = field(default_factory=dict)
    new: int = 0
    changed: int = 0
    removed: int = 0
    gap: bool = False
    notes: tuple[str, ...] = ()
    detail: Mapping[str, int] = field(default_factory=dict)


Pull = Callable[[Pulling], Any]
