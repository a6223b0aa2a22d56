"""What is usual at this time of day, for a series of whatever step: the median of the same phase on past days."""

import itertools
from collections.abc import Iterator
from math import nan
from statistics import median

DAY_SECONDS = 86_400.0
DAYS = 7
"""Past days that are asked."""
HALF_WIDTH = 2
"""Steps on each side of the phase that count too."""
MIN_DAYS = 2
"""Fewer days say nothing about a season."""


class Phases:
    """The values of the last week on a grid of steps.

    The step is the median distance of the first day's instants; as long as that day lasts there is no season.
    """

    __slots__ = ("_early", "_first", "_per_day", "_step", "_values")

    def __init__(self) -> None:
        self._early: list[tuple[float, float]] = []
        self._values: list[float] = []
        self._step = self._first = 0.0
        self._per_day = 0

    def add(self, seconds: float, value: float) -> None:
        """Remember a value; `seconds` since any instant, never less than the one before."""
        if self._per_day:
            self._put(seconds, value)
            return
        self._early.append((seconds, value))
        if seconds - self._early[0][0] >= DAY_SECONDS:
            self._begin()

    def normal(self, seconds: float) -> float:
        """Return the median of the same phase on past days; NaN if fewer than two know it."""
        if not self._per_day:
            return nan
        known: list[float] = []
        days = 0
        for part in self._past(self._place(seconds)):
            before = len(known)
            known += [value for value in part if value == value]  # noqa: PLR0124  # not NaN, in a third of the time
            days += len(known) > before
        if days < MIN_DAYS:
            return nan
        known.sort()
        middle = len(known) // 2
        return (known[middle] + known[~middle]) / 2.0

    def _begin(self) -> None:
        instants = [seconds for seconds, _ in self._early]
        steps = [after - before for before, after in itertools.pairwise(instants) if after > before]
        self._step, self._first = median(steps), instants[0]
        self._per_day = max(round(DAY_SECONDS / self._step), 1)
        early, self._early = self._early, []
        for seconds, value in early:
            self._put(seconds, value)

    def _place(self, seconds: float) -> int:
        return round((seconds - self._first) / self._step)

    def _put(self, seconds: float, value: float) -> None:
        place = self._place(seconds)
        self._trim(place)
        place = self._place(seconds)
        missing = place + 1 - len(self._values)
        if missing > 0:
            self._values.extend([nan] * missing)
        self._values[place] = value

    def _trim(self, place: int) -> None:
        """Forget what is older than nine days, in pieces of days."""
        kept = (DAYS + 2) * self._per_day
        if place < 2 * kept:
            return
        gone = (place - kept) // self._per_day * self._per_day
        del self._values[:gone]
        self._first += gone * self._step

    def _past(self, place: int) -> Iterator[list[float]]:
        for day in range(1, DAYS + 1):
            middle = place - day * self._per_day
            yield self._values[max(middle - HALF_WIDTH, 0) : max(middle + HALF_WIDTH + 1, 0)]
