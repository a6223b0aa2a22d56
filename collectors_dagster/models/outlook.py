"""The mixture over a past: what it says about the future from any row of it, and how it did so far.

One design for tenants' hosts and for files of the user's own: walked once, it can be asked at every row, and an answer
never depends on later rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats
from collectors_dagster.models.conformal import LEVELS, WINDOW_PERIODS, Intervals
from collectors_dagster.models.experts import Views, cheap_predictions
from collectors_dagster.models.forest_expert import ForestExpert, Ground
from collectors_dagster.models.mixture import Backtest, answering, mixed


@dataclass(frozen=True, slots=True)
class Fan:
    """A forecast of one signal.

    Attributes
    ----------
    mean : shape (steps,)
    low, high : shape (levels, steps)
        Edges of the 80 % and 95 % intervals; NaN where nothing was observed to make them of.
    observed : shape (steps,)
        False where a step lies beyond all horizons whose misses were observed: the interval is widened by a rule.
    """

    mean: Floats
    low: Floats
    high: Floats
    observed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outlook:
    """Everything a forecast is made of.

    Attributes
    ----------
    steps : horizons that are judged, in rows
    forest : shape (n, signals, steps)
        What the forest said at every origin.
    """

    steps: tuple[int, ...]
    views: Views
    forest: Floats
    backtest: Backtest
    intervals: Intervals

    @classmethod
    def of(
        cls,
        values: Floats,
        cell: NDArray[np.int64],
        *,
        period: int,
        steps: tuple[int, ...],
        expert: ForestExpert | None,
    ) -> "Outlook":
        """Run the mixture over the past.

        Parameters
        ----------
        values : shape (n, signals)
            NaN where unknown.
        cell : shape (n,)
            Consecutive numbers of the rows; a season begins where they are divisible by `period`.
        period : int
            Rows of a day.
        steps : rising numbers of rows ahead
        expert : ForestExpert or None
            Of the same signals and steps.
        """
        views = Views.of(values, period, steps[-1])
        forest = np.full((*values.shape, len(steps)), np.nan)
        if expert is not None:
            forest = expert.predictions(Ground(views, cell, steps))
        cheap = cheap_predictions(views, np.arange(len(values)), steps)
        backtest = Backtest.run(views.values, np.concatenate([cheap, forest[..., None]], axis=3), steps, period)
        return cls(steps, views, forest, backtest, Intervals.run(backtest.miss, steps, period))

    def __len__(self) -> int:
        return len(self.views.values)

    def fan(self, signal: int, steps: Sequence[int], row: int = -1) -> Fan:
        """Return the forecast of a signal from a row on; `steps` are at most the longest judged one."""
        row %= len(self)
        mean = self._mean(signal, steps, row)
        sides = [self._sides(signal, level, steps, row) for level in range(len(LEVELS))]
        seen = np.flatnonzero(np.isfinite(self.intervals.low[row, 0, signal]))
        longest = self.steps[seen[-1]] if len(seen) else 0
        low, high = (np.array([one[side] for one in sides]) for side in (0, 1))
        low[1], high[1] = np.minimum(low[1], low[0]), np.maximum(high[1], high[0])
        return Fan(mean, mean + low, mean + high, np.array(steps) <= longest)

    def coverage(self, row: int = -1) -> Floats:
        """Return the share of intervals that held in the week up to a row, shape (levels, signals, steps)."""
        return self.intervals.coverage(row % len(self), WINDOW_PERIODS * self.views.period)

    def error_ratio(self, row: int = -1) -> Floats:
        """Return the mean error over that of "as yesterday" in the week up to a row, shape (signals, steps).

        NaN where neither was observed or yesterday was never wrong.
        """
        row %= len(self)
        period, values = self.views.period, self.views.values
        start = max(row + 1 - WINDOW_PERIODS * period, 0)
        naive = np.full((*values.shape, len(self.steps)), np.nan)
        for column, step in enumerate(self.steps):
            back = -(-step // period) * period
            if back < len(values):
                naive[back:, :, column] = values[back:] - values[:-back]
        miss = self.backtest.miss[start : row + 1]
        both = np.isfinite(miss) & np.isfinite(naive[start : row + 1])
        ours = np.where(both, np.abs(miss), 0.0).sum(axis=0)
        theirs = np.where(both, np.abs(naive[start : row + 1]), 0.0).sum(axis=0)
        return np.asarray(np.divide(ours, theirs, out=np.full(ours.shape, np.nan), where=theirs > 0))

    def confidence(self, signal: int, fan: Fan, row: int = -1) -> float:
        """Return 0 to 1: how much narrower the 80 % intervals are than what the last week's values span.

        1 minus the mean width over the distance of the week's 10 % and 90 % quantiles; 1 for a value that never moved
        and is not expected to. NaN without an interval.
        """
        row %= len(self)
        width = float(np.mean(fan.high[0] - fan.low[0]))
        recent = self.views.values[max(row + 1 - WINDOW_PERIODS * self.views.period, 0) : row + 1, signal]
        recent = recent[np.isfinite(recent)]
        if not np.isfinite(width) or not len(recent):
            return float("nan")
        low, high = np.quantile(recent, (0.1, 0.9))
        if high <= low:
            return 1.0 if width == 0 else 0.0
        return float(np.clip(1.0 - width / (high - low), 0.0, 1.0))

    def _mean(self, signal: int, steps: Sequence[int], row: int) -> Floats:
        """Return the mixture's answer, its shares interpolated between judged horizons."""
        cheap = cheap_predictions(self.views, np.array([row]), tuple(steps))[0, signal]
        answers = np.column_stack([cheap, np.interp(steps, self.steps, self.forest[row, signal])])
        judged, place = np.log(self.steps), np.log(steps)
        share = np.column_stack([np.interp(place, judged, one) for one in self.backtest.share[row, signal].T])
        return mixed(answers, answering(answers, share))

    def _sides(self, signal: int, level: int, steps: Sequence[int], row: int) -> tuple[Floats, Floats]:
        """Return signed distances below and above the mean at each step.

        Horizons not observed yet get the longest observed one widened with the square root of time.
        """
        low, high = self.intervals.low[row, level, signal], self.intervals.high[row, level, signal]
        seen = np.flatnonzero(np.isfinite(low))
        if not len(seen):
            nothing = np.full(len(steps), np.nan)
            return nothing, nothing.copy()
        judged = np.array(self.steps, dtype=np.float64)[seen]
        grown = np.sqrt(np.maximum(np.array(steps) / judged[-1], 1.0))
        return np.interp(steps, judged, low[seen]) * grown, np.interp(steps, judged, high[seen]) * grown


def mean_of_known(values: Floats) -> float:
    """Return the mean of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
