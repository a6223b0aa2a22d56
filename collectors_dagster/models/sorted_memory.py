"""What was seen so far, in order of size: the nearest neighbours and the rank of a value in a few comparisons."""

from bisect import bisect_left, insort
from collections import deque

CAPACITY = 100_000
"""Values kept; the oldest go first. Ten weeks of minutes."""
NEIGHBOURS = 3


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
    16.0
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
        """Return the distance to the third-nearest value, or infinity if fewer are known.

        Large is not strange; never seen is (nearest-neighbour novelty, e.g. Ramaswamy et al., SIGMOD 2000).
        """
        ordered = self.ordered
        if len(ordered) < NEIGHBOURS:
            return float("inf")
        right = bisect_left(ordered, value)
        left, distance = right - 1, 0.0
        for _ in range(NEIGHBOURS):
            below = value - ordered[left] if left >= 0 else float("inf")
            above = ordered[right] - value if right < len(ordered) else float("inf")
            if below <= above:
                distance, left = below, left - 1
            else:
                distance, right = above, right + 1
        return distance
