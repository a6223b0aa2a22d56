"""What was seen so far, in order of size: the nearest neighbour and the rank of a value in a few comparisons."""

from bisect import bisect_left, insort
from collections import deque
from math import inf

CAPACITY = 20_160
"""Values kept; the oldest go first. Fourteen days of minutes."""


class SortedMemory:
    """A bounded multiset of finite numbers.

    Parameters
    ----------
    capacity : int
        Values kept.

    Examples
    --------
    >>> memory = SortedMemory()
    >>> for value in (3.0, 4.0, 5.0, 6.0):
    ...     memory.add(value)
    >>> memory.novelty(20.0)
    14.0
    """

    __slots__ = ("_arrived", "_capacity", "ordered")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.ordered: list[float] = []
        self._arrived: deque[float] = deque()
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self.ordered)

    def add(self, value: float) -> None:
        """Remember `value`; forget the oldest if there is no room."""
        if len(self._arrived) >= self._capacity:
            del self.ordered[bisect_left(self.ordered, self._arrived.popleft())]
        insort(self.ordered, value)
        self._arrived.append(value)

    def novelty(self, value: float) -> float:
        """Return the distance to the nearest value, or infinity if none is known.

        Large is not strange; never seen is (nearest-neighbour novelty, e.g. Ramaswamy et al., SIGMOD 2000).
        """
        ordered = self.ordered
        right = bisect_left(ordered, value)
        below = value - ordered[right - 1] if right else inf
        above = ordered[right] - value if right < len(ordered) else inf
        return min(below, above)
