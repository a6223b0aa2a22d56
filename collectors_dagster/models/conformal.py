"""Intervals that adapt until they hold: quantiles of recent misses, at a level moved by what was observed.

Rolling conformal prediction over a week of misses per signal and horizon, with adaptive conformal inference (Gibbs and
Candes 2021). The level may pass zero: then the interval reaches beyond the largest miss seen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats

LEVELS: tuple[float, ...] = (0.2, 0.05)
"""Allowed misses: of the 80 % and of the 95 % interval."""
MIN_MISSES = 12
"""Fewer observed misses of a horizon say nothing about its interval."""
WINDOW_PERIODS = 7
_GAIN = 0.005
_MOST_LEVEL = 0.5
_REFRESHES_PER_PERIOD = 12


@dataclass(frozen=True, slots=True)
class Intervals:
    """How far to each side of the mean; shapes (n, levels, signals, steps), NaN where nothing was observed.

    Attributes
    ----------
    low, high : signed distances, by origin
    held : 1 where what came lay inside, 0 where not, NaN where unknown; by TARGET
    """

    low: Floats
    high: Floats
    held: Floats

    @classmethod
    def run(cls, miss: Floats, steps: tuple[int, ...], period: int) -> "Intervals":
        """Walk through the past once.

        Parameters
        ----------
        miss : shape (n, signals, steps)
            By target: a row's own misses are known at that row.
        period : int
            Rows of a day.
        """
        n, signals, horizons = miss.shape
        shape = (n, len(LEVELS), signals, horizons)
        low, high, held = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
        allowed = np.array(LEVELS)[:, None, None]
        level = np.broadcast_to(allowed, shape[1:])
        by_signal = np.ascontiguousarray(np.moveaxis(miss, 0, -1))
        every = max(period // _REFRESHES_PER_PERIOD, 1)
        for start in range(0, n, every):
            end = min(start + every, n)
            recent = by_signal[..., max(start + 1 - WINDOW_PERIODS * period, 0) : start + 1]
            low[start:end], high[start:end] = _quantiles(recent, level, allowed)
            rows = np.arange(start, end)
            for column, step in enumerate(steps):
                said = np.maximum(rows - step, 0)  # a row before the first has nothing come due
                below, above = low[said, ..., column], high[said, ..., column]
                came = np.where(rows >= step, miss[start:end, :, column].T, np.nan).T[:, None]
                known = np.isfinite(below) & np.isfinite(came)
                held[start:end, ..., column] = np.where(known, (came >= below) & (came <= above), np.nan)
            inside = held[start:end]
            judged = np.isfinite(inside)
            moved = np.where(judged, allowed - (1.0 - inside), 0.0).sum(axis=0)
            level = np.clip(level + _GAIN * moved, -allowed, _MOST_LEVEL)
        return cls(low, high, held)

    def coverage(self, row: int, window: int) -> Floats:
        """Return the share of intervals that held over the `window` rows up to `row`; NaN where none came due."""
        recent = self.held[max(row + 1 - window, 0) : row + 1]
        count = np.isfinite(recent).sum(axis=0)
        total = np.nansum(recent, axis=0)
        return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def _quantiles(misses: Floats, level: Floats, allowed: Floats) -> tuple[Floats, Floats]:
    """Return both sides at each level, shape (levels, signals, steps), of misses (signals, steps, rows)."""
    ordered = np.sort(misses, axis=-1)  # unknown ones come last
    count = np.isfinite(ordered).sum(axis=-1)
    tail = np.maximum(level / 2 - allowed / (count + 1.0), 0.0)
    wider = 1.0 + np.maximum(-level / (2 * allowed), 0.0)
    low, high = _at(ordered, tail * (count - 1)), _at(ordered, (1.0 - tail) * (count - 1))
    enough = count >= MIN_MISSES
    return (
        np.where(enough, np.minimum(low, 0.0) * wider, np.nan),
        np.where(enough, np.maximum(high, 0.0) * wider, np.nan),
    )


def _at(ordered: Floats, place: Floats) -> Floats:
    """Return sorted values between places, linearly."""
    place = np.clip(place, 0, ordered.shape[-1] - 1)
    below: NDArray[np.int64] = place.astype(np.int64)
    above = np.minimum(below + 1, ordered.shape[-1] - 1)
    signal, step = np.indices(ordered.shape[:-1])
    lower, upper = ordered[signal, step, below], ordered[signal, step, above]
    part = place - below
    return np.asarray(np.where(part > 0, lower + part * (upper - lower), lower))
