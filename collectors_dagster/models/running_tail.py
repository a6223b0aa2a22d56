"""From "how strange" to "how rare", as numbers come: a tail probability that knows only what was before.

Below a high quantile the empirical distribution speaks; beyond it a generalised Pareto tail of fixed shape whose scale
is the mean excess (peaks over threshold, Pickands 1975). The same as :mod:`collectors_dagster.models.tail`, which is
fitted once.
"""

from bisect import bisect_left, bisect_right
from math import inf, log10

from collectors_dagster.models.sorted_memory import CAPACITY, SortedMemory
from collectors_dagster.models.tail import BODY, SHAPE

MOST = 12.0
"""Largest surprise: nobody has seen enough to say more."""


class RunningTail:
    """Distribution of a non-negative strangeness, learned on the way."""

    __slots__ = ("_memory",)

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._memory = SortedMemory(capacity)

    def __len__(self) -> int:
        return len(self._memory)

    def add(self, strangeness: float) -> None:
        """Learn; infinities are left out."""
        if strangeness < inf:
            self._memory.add(strangeness)

    def surprise(self, strangeness: float) -> float:
        """Return s = -log10 P(at least as strange); 0 as long as nothing is known."""
        ordered = self._memory.ordered
        count = len(ordered)
        if not count:
            return 0.0
        start = int(BODY * count)
        bound = ordered[start]
        if strangeness <= bound:
            at_least = count - bisect_left(ordered, strangeness)
            return log10((count + 1) / (at_least + 1))
        first = bisect_right(ordered, bound)
        beyond = ordered[first:]
        share = (len(beyond) + 1) / (count + 1)
        excess = sum(beyond) / len(beyond) - bound if beyond else 0.0
        if excess <= 0.0:
            return min(log10(count + 1), MOST)
        relative = (strangeness - bound) / (excess * (1.0 - SHAPE))
        return float(min(-log10(share) + log10(1.0 + SHAPE * relative) / SHAPE, MOST))
