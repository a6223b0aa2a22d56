"""Cheap experts: what each would have said at every past instant about every horizon.

Arrays are (origins, signals, horizons); an expert that cannot answer says NaN and is left out of the mixture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats
from collectors_dagster.models.cells import DAY_CELLS

EXPERTS: tuple[str, ...] = (
    "last",
    "ema_fast",
    "ema_slow",
    "day_mean",
    "yesterday",
    "season_fast",
    "season_slow",
    "forest",
)
"""Names of the mixture's members; the forest joins after two days."""

_SEASON_DAYS = 7
_FAST, _SLOW = 0.3, 0.03
_DAMP_FAST, _DAMP_SLOW = 0.9, 0.99
DAMP_FOREST = 0.97


def ema(values: Floats, weight: float) -> Floats:
    """Return the exponential mean of each column over what is known so far; NaN before the first value."""
    result = np.full(values.shape, np.nan)
    state = np.full(values.shape[1], np.nan)
    for row, value in enumerate(values):
        step = np.where(np.isnan(state), value, state + weight * (value - state))
        state = np.where(np.isnan(value), state, step)
        result[row] = state
    return result


def day_mean(values: Floats) -> Floats:
    """Return the mean of what is known of the last day, itself included."""
    known = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0.0), axis=0)
    count = np.cumsum(known, axis=0, dtype=np.float64)
    total[DAY_CELLS:], count[DAY_CELLS:] = (
        total[DAY_CELLS:] - total[:-DAY_CELLS],
        count[DAY_CELLS:] - count[:-DAY_CELLS],
    )
    result = np.full(values.shape, np.nan)
    np.divide(total, count, out=result, where=count > 0)
    return result


def season(values: Floats, length: int) -> Floats:
    """Return the mean of the same phase over up to seven past days for rows 0..length-1.

    `length` may exceed the rows by a day: the season of tomorrow is known today.
    """
    stacked = np.full((_SEASON_DAYS, length, values.shape[1]), np.nan)
    for day in range(1, _SEASON_DAYS + 1):
        start = day * DAY_CELLS
        end = min(length, len(values) + start)
        if start < end:
            stacked[day - 1, start:end] = values[: end - start]
    known = np.isfinite(stacked)
    count = known.sum(axis=0)
    result = np.full((length, values.shape[1]), np.nan)
    np.divide(np.where(known, stacked, 0.0).sum(axis=0), count, out=result, where=count > 0)
    return result


@dataclass(frozen=True, slots=True)
class Views:
    """What the experts look at; row t knows nothing after t, except the season, which is of earlier days.

    Attributes
    ----------
    level, fast, slow, mean : shape (n, m)
        The last known value, two exponential means, the day's mean.
    season : shape (n + 144, m)
    values : shape (n, m)
    """

    values: Floats
    level: Floats
    fast: Floats
    slow: Floats
    mean: Floats
    season: Floats

    @classmethod
    def of(cls, values: Floats) -> "Views":
        """Compute all views of a series."""
        return cls(
            values=values,
            level=ema(values, 1.0),
            fast=ema(values, _FAST),
            slow=ema(values, _SLOW),
            mean=day_mean(values),
            season=season(values, len(values) + DAY_CELLS),
        )

    def damped(self, rows: NDArray[np.int64], step: int, damping: float) -> Floats:
        """Return the season at `step` cells ahead plus the damped distance from it now."""
        now = self.level[rows] - self.season[rows]
        return np.asarray(self.season[rows + step] + damping**step * now)

    def yesterday(self, rows: NDArray[np.int64], step: int) -> Floats:
        """Return the value one day before the target."""
        source = rows + step - DAY_CELLS
        found = self.values[np.maximum(source, 0)]
        return np.where((source >= 0)[:, None], found, np.nan)


def cheap_predictions(views: Views, rows: NDArray[np.int64], steps: tuple[int, ...]) -> Floats:
    """Return what all experts but the forest say, shape (rows, signals, steps, experts - 1).

    Parameters
    ----------
    rows : shape (k,)
        Origins.
    steps : cells ahead, each 1 to 144
    """
    by_step = [
        np.stack(
            [
                views.level[rows],
                views.fast[rows],
                views.slow[rows],
                views.mean[rows],
                views.yesterday(rows, step),
                views.damped(rows, step, _DAMP_FAST),
                views.damped(rows, step, _DAMP_SLOW),
            ],
            axis=2,
        )
        for step in steps
    ]
    return np.stack(by_step, axis=2)
