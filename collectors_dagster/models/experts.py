"""Cheap experts: what each would have said at every past instant about every horizon.

A row is a cell of time, a column a signal. An expert that cannot answer says NaN and is left out of the mixture.
Medians, not means, wherever a level or a season is taken: forecasts are judged by absolute errors, and one burst must
not be remembered for a week.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats

EXPERTS: tuple[str, ...] = (
    "last",
    "ema_fast",
    "ema_slow",
    "day_median",
    "three_day_median",
    "yesterday",
    "yesterday_shifted",
    "drift",
    "season_fast",
    "season_slow",
    "fortnight_slow",
    "weekly",
    "weekly_damped",
    "forest",
)
"""Names of the mixture's members; the forest joins after two days."""

MOST = 1e100
"""Larger values count as missing: the square of a difference must be a number."""
DAY_OF_DAMPING = 144
"""The damping factors are per 144th of a period."""
_FAST = 0.3
_SLOW_PER_PERIOD, _SLOWEST_TO = 4.3, 0.1
_DAMP_FAST, _DAMP_SLOW, _DAMP_WEEK = 0.9, 0.99, 0.97
DAMP_FOREST = 0.97
_WEEK_DAYS, _FORTNIGHT_DAYS, _WEEKS = 7, 14, 4
_REFRESHES_PER_PERIOD = 24


def ema(values: Floats, weight: float) -> Floats:
    """Return the exponential mean of each column over what is known so far; NaN before the first value."""
    result = np.full(values.shape, np.nan)
    state = np.full(values.shape[1], np.nan)
    for row, value in enumerate(values):
        step = np.where(np.isnan(state), value, state + weight * (value - state))
        state = np.where(np.isnan(value), state, step)
        result[row] = state
    return result


def last_known(values: Floats) -> Floats:
    """Return each column's newest known value; NaN before the first."""
    rows = np.where(np.isfinite(values), np.arange(len(values))[:, None], -1)
    newest = np.maximum.accumulate(rows, axis=0)
    return np.where(newest >= 0, np.take_along_axis(values, np.maximum(newest, 0), axis=0), np.nan)


def unmoved_since(level: Floats) -> NDArray[np.int64]:
    """Return for how many rows each column has kept its value."""
    rows = np.arange(len(level))[:, None]
    changed = np.diff(level, axis=0, prepend=level[:1]) != 0
    return np.asarray(rows - np.maximum.accumulate(np.where(changed, rows, 0), axis=0))


def median_of_known(values: Floats) -> Floats:
    """Return the median along the first axis over what is known; NaN where nothing is."""
    ordered = np.sort(values, axis=0)  # unknown ones come last
    count = np.isfinite(ordered).sum(axis=0, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=0)
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(values) - 1), axis=0)
    middle = low / 2 + high / 2  # halves first: the sum of two large ones may overflow
    return np.asarray(np.where(count > 0, middle, np.nan)[0])


def trailing_median(values: Floats, length: int, every: int) -> Floats:
    """Return the median of the newest `length` rows, refreshed each `every` rows (in the first period: each row)."""
    result = np.full(values.shape, np.nan)
    due = np.unique(np.concatenate([np.arange(0, min(every, len(values))), np.arange(0, len(values), every)]))
    for row in due:
        result[row:] = median_of_known(values[max(row + 1 - length, 0) : row + 1])
    return result


def season(values: Floats, period: int, times: int, ahead: int) -> Floats:
    """Return the median of the same phase over up to `times` past periods, for every row and `ahead` rows more.

    Row t knows nothing after t - period, so at most a period ahead of an origin is known there.
    """
    length = len(values) + min(ahead, period)
    stacked = np.full((times, length, values.shape[1]), np.nan)
    for number in range(times):
        start = (number + 1) * period
        end = min(length, len(values) + start)
        if start < end:
            stacked[number, start:end] = values[: end - start]
    return median_of_known(stacked)


@dataclass(frozen=True, slots=True)
class Views:
    """What the experts look at; row t knows nothing after t.

    Attributes
    ----------
    period : int
        Rows of a season: those of a day (144 for cells of ten minutes).
    ahead : int
        Longest horizon in rows.
    level, fast, slow, day, three_days : shape (n, m)
        The last known value, two exponential means, two trailing medians.
    week, fortnight : shape (n + up to a period, m)
        Median of the same phase of the last 7 and 14 periods.
    weekly : shape (n + up to seven periods, m)
        Median of the same phase of the last four weeks.
    resting : shape (n, m)
        Where the level has not moved for a season: a line that rests is expected to.
    values : shape (n, m)
    """

    values: Floats
    period: int
    ahead: int
    level: Floats
    fast: Floats
    slow: Floats
    day: Floats
    three_days: Floats
    week: Floats
    fortnight: Floats
    weekly: Floats
    resting: NDArray[np.bool_]

    @classmethod
    def of(cls, values: Floats, period: int, ahead: int) -> "Views":
        """Compute all views of a series."""
        values = np.where(np.abs(values) <= MOST, values, np.nan)
        every = max(period // _REFRESHES_PER_PERIOD, 1)
        level = last_known(values)
        return cls(
            values=values,
            period=period,
            ahead=ahead,
            level=level,
            fast=ema(values, _FAST),
            slow=ema(values, min(_SLOW_PER_PERIOD / period, _SLOWEST_TO)),
            day=trailing_median(values, period, every),
            three_days=trailing_median(values, 3 * period, every),
            week=season(values, period, _WEEK_DAYS, ahead),
            fortnight=season(values, period, _FORTNIGHT_DAYS, ahead),
            weekly=season(values, _WEEK_DAYS * period, _WEEKS, ahead),
            resting=unmoved_since(level) >= period,
        )

    def season_ahead(self, rows: NDArray[np.int64], step: int) -> Floats:
        """Return the week's season at `step` rows after each origin."""
        return np.asarray(self.week[rows + _within(step, self.period)])

    def damped(self, seasonal: Floats, rows: NDArray[np.int64], step: int, damping: float, periods: int = 1) -> Floats:
        """Return a season (of so many periods) at `step` rows ahead plus the damped distance from it now."""
        now = self.level[rows] - seasonal[rows]
        ahead = seasonal[rows + _within(step, periods * self.period)]
        return np.asarray(ahead + damping ** (step * DAY_OF_DAMPING / self.period) * now)

    def moved(self, rows: NDArray[np.int64]) -> Floats:
        """Return how far the level went in the last season: a counter's increase; NaN in the first one."""
        before = self.level[np.maximum(rows - self.period, 0)]
        return np.where((rows >= self.period)[:, None], self.level[rows] - before, np.nan)

    def yesterday(self, rows: NDArray[np.int64], step: int) -> Floats:
        """Return the newest value of the target's phase that is known at the origin."""
        source = rows + _within(step, self.period) - self.period
        found = self.values[np.maximum(source, 0)]
        return np.where((source >= 0)[:, None], found, np.nan)


def _within(step: int, period: int) -> int:
    """Return the step of the same phase that lies 1 to `period` rows ahead: what is further was not known then."""
    return (step - 1) % period + 1


def cheap_predictions(views: Views, rows: NDArray[np.int64], steps: tuple[int, ...]) -> Floats:
    """Return what all experts but the forest say, shape (rows, signals, steps, experts - 1).

    Of a line that rests only the last value is said.

    Parameters
    ----------
    rows : shape (k,)
        Origins.
    steps : rows ahead, each 1 to ``views.ahead``
    """
    moved = views.moved(rows)
    by_step = [
        np.stack(
            [
                views.level[rows],
                views.fast[rows],
                views.slow[rows],
                views.day[rows],
                views.three_days[rows],
                views.yesterday(rows, step),
                views.yesterday(rows, step) + moved,
                views.level[rows] + moved * (step / views.period),
                views.damped(views.week, rows, step, _DAMP_FAST),
                views.damped(views.week, rows, step, _DAMP_SLOW),
                views.damped(views.fortnight, rows, step, _DAMP_SLOW),
                views.weekly[rows + _within(step, _WEEK_DAYS * views.period)],
                views.damped(views.weekly, rows, step, _DAMP_WEEK, _WEEK_DAYS),
            ],
            axis=2,
        )
        for step in steps
    ]
    answers = np.stack(by_step, axis=2)
    answers[:, :, :, 1:][views.resting[rows]] = np.nan
    return answers
