"""What happened to a playlist between two snapshots: added, removed, moved.

Entries are matched by what they are (track, when and by whom it was added), the n-th occurrence with the n-th. Of the
entries that both snapshots hold, as many as possible count as unmoved: those of a longest increasing subsequence
(Fredman, "On computing the length of longest increasing subsequences", Discrete Mathematics 11, 1975).
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

E = TypeVar("E", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Added(Generic[E]):
    """An entry that is new, at its position in the new snapshot."""

    position: int
    entry: E


@dataclass(frozen=True, slots=True)
class Removed(Generic[E]):
    """An entry that is gone, at its position in the old snapshot."""

    old_position: int
    entry: E


@dataclass(frozen=True, slots=True)
class Moved(Generic[E]):
    """An entry that changed its place among those that stayed."""

    old_position: int
    position: int
    entry: E


@dataclass(frozen=True, slots=True)
class PlaylistDiff(Generic[E]):
    """All changes, each kind in the order of its positions."""

    added: tuple[Added[E], ...] = ()
    removed: tuple[Removed[E], ...] = ()
    moved: tuple[Moved[E], ...] = ()

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.moved)


def diff(old: Sequence[E], new: Sequence[E]) -> PlaylistDiff[E]:
    """Return what makes `new` of `old`: positions are 0-based; O(n log n).

    Examples
    --------
    >>> diff(["a", "b", "c"], ["c", "a", "d"])  # doctest: +NORMALIZE_WHITESPACE
    PlaylistDiff(added=(Added(position=2, entry='d'),),
                 removed=(Removed(old_position=1, entry='b'),),
                 moved=(Moved(old_position=2, position=0, entry='c'),))
    """
    places: defaultdict[E, deque[int]] = defaultdict(deque)
    for old_position, entry in enumerate(old):
        places[entry].append(old_position)
    added: list[Added[E]] = []
    common: list[tuple[int, int]] = []  # positions in old and new, in the order of new
    for position, entry in enumerate(new):
        if places[entry]:
            common.append((places[entry].popleft(), position))
        else:
            added.append(Added(position, entry))
    gone = sorted(old_position for left in places.values() for old_position in left)
    unmoved = _increasing([old_position for old_position, _ in common])
    return PlaylistDiff(
        tuple(added),
        tuple(Removed(old_position, old[old_position]) for old_position in gone),
        tuple(Moved(was, now, new[now]) for at, (was, now) in enumerate(common) if at not in unmoved),
    )


def apply(changes: PlaylistDiff[E], old: Sequence[E]) -> list[E]:
    """Return the new snapshot: what left its place is taken out, what came is put in, the rest closes up.

    Raises
    ------
    ValueError
        If the changes are not of this snapshot.

    Examples
    --------
    >>> apply(diff("abc", "cad"), "abc")
    ['c', 'a', 'd']
    """
    left = {gone.old_position: gone.entry for gone in changes.removed}
    left |= {moved.old_position: moved.entry for moved in changes.moved}
    if any(not 0 <= at < len(old) or old[at] != entry for at, entry in left.items()):
        raise ValueError("these changes are not of this snapshot")
    placed = {new.position: new.entry for new in changes.added}
    placed |= {moved.position: moved.entry for moved in changes.moved}
    rest = deque(entry for at, entry in enumerate(old) if at not in left)
    length = len(rest) + len(placed)
    if any(not 0 <= at < length for at in placed):
        raise ValueError("these changes are not of this snapshot")
    return [placed[at] if at in placed else rest.popleft() for at in range(length)]


def _increasing(values: Sequence[int]) -> set[int]:
    """Return the indices of a longest increasing subsequence."""
    tails: list[int] = []  # the least last value of a subsequence of each length
    ends: list[int] = []  # where that value stands
    before: list[int] = []
    for at, value in enumerate(values):
        length = bisect_left(tails, value)
        tails[length : length + 1] = [value]
        ends[length : length + 1] = [at]
        before.append(ends[length - 1] if length else -1)
    chosen: set[int] = set()
    at = ends[-1] if ends else -1
    while at >= 0:
        chosen.add(at)
        at = before[at]
    return chosen
