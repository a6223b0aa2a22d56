"""What the agent remembers of its own sampling: the newest value of each series, a minute of sweeps, durations.

Written by the sampling thread after each sweep, read by the endpoint's. What is handed over is replaced whole, never
changed in place, so that no lock is needed.
"""

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from collectors_dagster.collectors.runner import Column, Sweep, Tally

SWEEP_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
COLLECTOR_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1.0)
REMEMBERED_SWEEPS = 60
REMEMBER_SECONDS = 0.9
"""Between two remembered sweeps at least; a little under a second, because sweeps come on a grid give or take."""
STALE_FACTOR = 2.5
"""A value older than this many intervals of its collector is not shown as the present one."""
NAN = float("nan")


class Histogram:
    """Counts of durations below bounds. For one writer.

    Examples
    --------
    >>> histogram = Histogram((0.1, 1.0))
    >>> histogram.observe(0.05)
    >>> histogram.observe(3.0)
    >>> histogram.cumulative(), histogram.sum
    ((1, 1, 2), 3.05)
    """

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one duration, in seconds."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> tuple[int, ...]:
        """Return how many were at most each bound, and last how many there were."""
        total, found = 0, []
        for count in tuple(self._counts):
            total += count
            found.append(total)
        return tuple(found)


class Snapshot(NamedTuple):
    """The newest value of every series; NaN where there is none.

    Attributes
    ----------
    columns : tuple of Column
        The same object as last time unless the set of series changed.
    """

    columns: tuple[Column, ...]
    values: "array[float]"


class _Block:
    """One collector's part of the columns, with its newest values."""

    __slots__ = ("collector", "columns", "readings", "start", "stop", "taken")

    def __init__(self, collector: str, columns: tuple[Column, ...], start: int) -> None:
        self.collector = collector
        self.columns = columns
        self.start, self.stop = start, start + len(columns)
        self.readings = -1
        self.taken = (-1e300, array("d", [NAN]) * len(columns))
        """Monotonic seconds and values, always replaced together."""


class _Arrangement(NamedTuple):
    columns: tuple[Column, ...]
    blocks: tuple[_Block, ...]


class Observed:
    """Remembers what the sampler saw and how long it took.

    Parameters
    ----------
    started : float
        Monotonic seconds.
    """

    def __init__(self, started: float) -> None:
        self.sweep_seconds = Histogram(SWEEP_BOUNDS)
        self.collector_seconds: dict[str, Histogram] = {}
        self.last_sweep = started
        self.spool_refuses = False
        """Whether the newest sweep was lost."""
        self._lost = 0
        self._readings: dict[str, int] = {}
        self._arrangement = _Arrangement((), ())
        self._history: deque[tuple[float, Sweep]] = deque(maxlen=REMEMBERED_SWEEPS)

    def swept(self, sweep: Sweep, tallies: Mapping[str, Tally], mono: float, seconds: float, lost: int) -> None:
        """Take note of a sweep.

        Parameters
        ----------
        mono : float
            When it ended, in monotonic seconds.
        lost : int
            Sweeps that the spool did not take, so far.
        """
        self.last_sweep = mono
        self.sweep_seconds.observe(seconds)
        self.spool_refuses, self._lost = lost > self._lost, lost
        if not self._history or mono - self._history[-1][0] >= REMEMBER_SECONDS:
            self._history.append((mono, sweep))
        if sweep.columns is not self._arrangement.columns:
            self._arrangement = self._arranged(sweep.columns)
        for block in self._arrangement.blocks:
            if tallies[block.collector].readings != block.readings:
                block.readings = tallies[block.collector].readings
                block.taken = (mono, sweep.values[block.start : block.stop])
        self._time(tallies)

    def snapshot(self, tallies: Mapping[str, Tally], now: float, interval_seconds: float) -> Snapshot:
        """Return the newest values that are not stale.

        Parameters
        ----------
        interval_seconds : float
            Of the sampling; a collector's own interval counts if it is longer.
        """
        columns, blocks = self._arrangement
        values: array[float] = array("d")
        for block in blocks:
            mono, taken = block.taken
            oldest = now - STALE_FACTOR * max(interval_seconds, tallies[block.collector].interval_seconds)
            values.extend(taken if mono >= oldest else array("d", [NAN]) * len(taken))
        return Snapshot(columns, values)

    def taken(self) -> dict[str, float]:
        """Return when each collector's newest values were taken, in monotonic seconds."""
        return {block.collector: block.taken[0] for block in self._arrangement.blocks if block.readings >= 0}

    def history(self, metrics: frozenset[str]) -> Iterator[tuple[float, list[tuple[Column, float]]]]:
        """Yield the remembered sweeps, oldest first: when each was, and the values of the metrics asked for."""
        places: dict[int, list[int]] = {}
        for mono, sweep in tuple(self._history):
            columns = sweep.columns
            wanted = places.get(id(columns))
            if wanted is None:
                wanted = [place for place, column in enumerate(columns) if column.metric.name in metrics]
                places[id(columns)] = wanted
            yield mono, [(columns[place], sweep.values[place]) for place in wanted]

    def _arranged(self, columns: tuple[Column, ...]) -> _Arrangement:
        """Return the new arrangement; a collector whose series are as they were keeps its values."""
        before = {block.columns: block for block in self._arrangement.blocks}
        blocks, start = [], 0
        for collector, members in groupby(columns, key=lambda column: column.collector):
            block = _Block(collector, tuple(members), start)
            known = before.get(block.columns)
            if known:
                block.readings, block.taken = known.readings, known.taken
            blocks.append(block)
            start = block.stop
        return _Arrangement(columns, tuple(blocks))

    def _time(self, tallies: Mapping[str, Tally]) -> None:
        for name, tally in tallies.items():
            if tally.readings != self._readings.get(name, 0):
                self._readings[name] = tally.readings
                histogram = self.collector_seconds.get(name)
                if histogram is None:
                    histogram = self.collector_seconds[name] = Histogram(COLLECTOR_BOUNDS)
                histogram.observe(tally.last_seconds)
