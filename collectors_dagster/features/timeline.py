"""Frames of one host joined on one regular axis of minutes, gaps as NaN."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import Floats, SignalFrame, Times
from collectors_dagster.records import Window

MINUTE_SECONDS = 60
DAY_MINUTES = 1440
ABSURD = 1e30
"""No signal of any machine is this large; such a value is a defect of its source."""

Minutes = NDArray[np.int64]


def minutes_of(ts: Times) -> Minutes:
    """Return whole minutes since the epoch; an instant between two minutes counts to the earlier."""
    return np.asarray(ts.astype("datetime64[s]").astype(np.int64) // MINUTE_SECONDS)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Signals at every minute from `first` on.

    Attributes
    ----------
    first : int
        Minute since the epoch of row 0.
    values : shape (n, 14)
        In the order of ``SIGNALS``; NaN where nothing is known.
    """

    first: int
    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    @property
    def minutes(self) -> Minutes:
        """Minute since the epoch of every row."""
        return np.arange(self.first, self.first + len(self.values), dtype=np.int64)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Rows in which at least one signal is known."""
        return np.asarray(np.isfinite(self.values).any(axis=1))

    def last_days(self, days: int) -> "Timeline":
        """Return at most the last `days` days."""
        drop = max(len(self.values) - days * DAY_MINUTES, 0)
        return Timeline(self.first + drop, self.values[drop:])

    def until(self, minute: int) -> "Timeline":
        """Return the timeline with unknown rows behind it up to a minute; itself if it reaches that far."""
        missing = minute + 1 - self.first - len(self.values)
        if missing <= 0:
            return self
        return Timeline(self.first, np.vstack([self.values, np.full((missing, self.values.shape[1]), np.nan)]))

    def equals(self, other: "Timeline") -> bool:
        """Whether both know the same about the same minutes."""
        return self.first == other.first and np.array_equal(self.values, other.values, equal_nan=True)

    def without(self, windows: Sequence[Window]) -> "Timeline":
        """Return a copy in which the minutes of `windows` are unknown."""
        values = self.values.copy()
        values[self.covered(windows)] = np.nan
        return Timeline(self.first, values)

    def covered(self, windows: Sequence[Window]) -> NDArray[np.bool_]:
        """Return which rows overlap a window (a row is the minute that ENDS at its instant)."""
        hit = np.zeros(len(self.values), dtype=np.bool_)
        for window in windows:
            start = int(window.start.timestamp() // MINUTE_SECONDS) + 1 - self.first
            end = -int(-window.end.timestamp() // MINUTE_SECONDS) - self.first
            hit[max(start, 0) : max(end + 1, 0)] = True
        return hit

    def frame(self, host: str) -> SignalFrame:
        """Return the rows as a signal frame."""
        ts = (self.minutes * MINUTE_SECONDS).astype("datetime64[s]")
        return SignalFrame(host, ts, SIGNALS, self.values)


EMPTY = Timeline(0, np.empty((0, len(SIGNALS))))


def in_order(frame: SignalFrame) -> Floats:
    """Return the frame's values with the columns of ``SIGNALS``; absent, infinite and absurd ones are NaN."""
    values = np.full((len(frame.ts), len(SIGNALS)), np.nan)
    for column, name in enumerate(frame.signals):
        if name in SIGNALS:
            values[:, SIGNALS.index(name)] = frame.values[:, column]
    values[~(np.abs(values) < ABSURD)] = np.nan
    return values


def joined(frames: Sequence[SignalFrame], *, days: int) -> Timeline:
    """Join frames of one host; where two know the same value, the later in the sequence counts.

    Parameters
    ----------
    frames : sequence of SignalFrame
        In any order of time; may overlap, may leave gaps.
    days : int
        Only the last so many days before the newest row are kept.
    """
    kept = [frame for frame in frames if len(frame.ts)]
    if not kept:
        return EMPTY
    minutes = [minutes_of(frame.ts) for frame in kept]
    last = max(int(one.max()) for one in minutes)
    first = max(min(int(one.min()) for one in minutes), last + 1 - days * DAY_MINUTES)
    values = np.full((last + 1 - first, len(SIGNALS)), np.nan)
    for frame, at in zip(kept, minutes, strict=True):
        inside = at >= first
        new = in_order(frame)[inside]
        rows = at[inside] - first
        values[rows] = np.where(np.isfinite(new), new, values[rows])
    return Timeline(first, values)
