"""One metric's detector, row by row: the score of a row knows nothing that came later.

Two views of each value: itself, and its distance from what is usual at this time of day (before two days are known,
from the median so far). Of each view it is asked whether such a number was ever seen, and how rare a novelty of this
size is here: a tail probability, so that scores of whatever metrics compare. Both are joined by Fisher's method. After
an alarm only what is rarer than all of the last rows is news, and what alarms often must be rarer to alarm again.
"""

from collections import deque
from dataclasses import dataclass
from math import inf, isfinite, log10, nan

from collectors_dagster.models.phases import Phases
from collectors_dagster.models.rarity import both_of
from collectors_dagster.models.running_tail import RunningTail
from collectors_dagster.models.sorted_memory import CAPACITY, SortedMemory

REFRACTORY_ROWS = 100
ALARM = 2.0
"""Surprise from which a row is an alarm: one in a hundred, shown as 0.90."""
QUIET = 0.5
"""Part of a surprise that is left while a stronger one is recent."""
PRICE = log10(2.0) / 4.0
"""What each alarm of the last :data:`CAPACITY` rows adds to what the next one needs: four halve the probability."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is said of one row.

    Attributes
    ----------
    surprise : float
        s = -log10 of how rare such a row is, by itself.
    alarm : float
        The same, but small while a stronger one is recent, and less where alarms are frequent.
    normal : float
        What was expected; NaN at the first row.
    """

    surprise: float
    alarm: float
    normal: float


class _Novelty:
    """Novelty of numbers and how rare it is."""

    __slots__ = ("_seen", "_tail")

    def __init__(self) -> None:
        self._seen = SortedMemory()
        self._tail = RunningTail()

    def median(self) -> float:
        """Return the middle of what was seen; NaN if nothing was."""
        ordered = self._seen.ordered
        middle = len(ordered) // 2
        return (ordered[middle] + ordered[~middle]) / 2.0 if ordered else nan

    def spread(self) -> float:
        """Return a robust standard deviation; 0 if nothing varies."""
        ordered = self._seen.ordered
        if not ordered:
            return 0.0
        return (ordered[int(0.84 * len(ordered))] - ordered[int(0.16 * len(ordered))]) / 2.0

    def judge(self, value: float) -> float:
        """Return how rare such a novelty is, then learn the value."""
        strangeness = self._seen.novelty(value)
        surprise = self._tail.surprise(strangeness) if strangeness < inf else 0.0
        self._seen.add(value)
        self._tail.add(strangeness)
        return surprise


class News:
    """What is left of a surprise beside those of the last rows."""

    __slots__ = ("_alarms", "_recent", "_row")

    def __init__(self) -> None:
        self._recent: deque[tuple[int, float]] = deque()
        self._alarms: deque[int] = deque()
        self._row = 0

    def judge(self, surprise: float) -> float:
        """Return the alarm of the next row."""
        self._row += 1
        self._forget()
        is_record = not self._recent or surprise > self._recent[0][1]
        while self._recent and self._recent[-1][1] <= surprise:
            self._recent.pop()
        self._recent.append((self._row, surprise))
        if not is_record:
            return min(surprise * QUIET, ALARM * 0.99)
        return surprise - PRICE * self._earlier() if surprise < ALARM else self._alarm(surprise)

    def _alarm(self, surprise: float) -> float:
        earlier = self._earlier()
        if not self._alarms or self._alarms[-1] < self._row - REFRACTORY_ROWS:
            self._alarms.append(self._row)
        return surprise - PRICE * earlier

    def _earlier(self) -> int:
        """Count alarms before the one that may be under way."""
        under_way = bool(self._alarms) and self._alarms[-1] >= self._row - REFRACTORY_ROWS
        return len(self._alarms) - under_way

    def _forget(self) -> None:
        while self._recent and self._recent[0][0] < self._row - REFRACTORY_ROWS:
            self._recent.popleft()
        while self._alarms and self._alarms[0] < self._row - CAPACITY:
            self._alarms.popleft()


class SeriesDetector:
    """Scores the rows of one metric in the order of time."""

    def __init__(self) -> None:
        self._phases = Phases()
        self._residuals = _Novelty()
        self._values = _Novelty()
        self._news = News()

    def spread(self) -> float:
        """Return half the distance between the sixteenth and the eighty-fourth percentile of the residuals."""
        return self._residuals.spread()

    def judge(self, seconds: float, value: float) -> Judged:
        """Score a row, then learn it.

        Parameters
        ----------
        seconds : float
            Instant of the row, since any origin; increasing.
        value : float
            NaN and infinities are not judged and not learned.
        """
        if not isfinite(value):
            return Judged(0.0, 0.0, nan)
        normal = self._phases.normal(seconds)
        if not isfinite(normal):
            normal = self._values.median()
        residual = self._residuals.judge(value - normal) if isfinite(normal) else 0.0
        surprise = both_of(self._values.judge(value), residual)
        self._phases.add(seconds, value)
        return Judged(surprise, max(self._news.judge(surprise), 0.0), normal)
