"""The mixture at one instant: what it says about the future, and how it did so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from collectors_dagster.frames import Floats
from collectors_dagster.models.cells import CELL_MINUTES, DAY_CELLS, FORECAST_SIGNALS, Cells
from collectors_dagster.models.experts import Views, cheap_predictions
from collectors_dagster.models.forest_expert import STEPS, ForestExpert
from collectors_dagster.models.mixture import LEVELS, Backtest, Interval, intervals, mixed, weights
from collectors_dagster.models.signal_rules import RULES
from collectors_dagster.records import ForecastPoint

MAX_HORIZON_MINUTES = DAY_CELLS * CELL_MINUTES


@dataclass(frozen=True, slots=True)
class Outlook:
    """Everything a forecast is made of.

    Attributes
    ----------
    cells : Cells
        The past; its last row is the present.
    forest : shape (n, signals, steps)
        What the forest said at every origin.
    """

    cells: Cells
    views: Views
    forest: Floats
    backtest: Backtest
    interval: Interval

    @classmethod
    def of(cls, cells: Cells, expert: ForestExpert | None) -> "Outlook":
        """Run the mixture over the past."""
        views = Views.of(cells.values)
        forest = np.full((*cells.values.shape, len(STEPS)), np.nan)
        if expert is not None:
            forest = expert.predictions(views, cells.number)
        cheap = cheap_predictions(views, np.arange(len(cells)), STEPS)
        backtest = Backtest.run(cells.values, np.concatenate([cheap, forest[..., None]], axis=3), STEPS)
        return cls(cells, views, forest, backtest, intervals(backtest.miss))

    def points(self, host: str, issued_at: datetime, horizons_minutes: Sequence[int]) -> list[ForecastPoint]:
        """Return the forecasts of every known signal, by signal and then by horizon."""
        steps = [int(np.clip(round(minutes / CELL_MINUTES), 1, DAY_CELLS)) for minutes in horizons_minutes]
        return [
            point
            for column in range(len(FORECAST_SIGNALS))
            if np.isfinite(self.views.level[-1, column])
            for point in _points(host, self, column, issued_at, steps)
        ]


def _points(host: str, outlook: Outlook, column: int, issued_at: datetime, steps: Sequence[int]) -> list[ForecastPoint]:
    means = _means(outlook, column, steps)
    spread = [_spread(outlook, column, level, steps) for level in range(len(LEVELS))]
    upper = RULES[FORECAST_SIGNALS[column]].upper

    def bounded(value: float) -> float:
        return float(np.clip(value, 0.0, upper))

    return [
        ForecastPoint(
            host=host,
            signal=FORECAST_SIGNALS[column],
            issued_at=issued_at,
            ts=issued_at + timedelta(minutes=step * CELL_MINUTES),
            mean=bounded(means[i]),
            low80=bounded(means[i] + spread[0][0][i]),
            high80=bounded(means[i] + spread[0][1][i]),
            low95=bounded(means[i] + min(spread[1][0][i], spread[0][0][i])),
            high95=bounded(means[i] + max(spread[1][1][i], spread[0][1][i])),
        )
        for i, step in enumerate(steps)
    ]


def _means(outlook: Outlook, column: int, steps: Sequence[int]) -> Floats:
    """Return the mixture's answer at each step, weighted as at the nearest horizon that was judged."""
    last = np.array([len(outlook.cells) - 1])
    cheap = cheap_predictions(outlook.views, last, tuple(steps))[0, column]
    forest = np.interp(steps, STEPS, outlook.forest[-1, column])
    answers = np.column_stack([cheap, forest])
    nearest = [int(np.argmin(np.abs(np.log(np.array(STEPS) / step)))) for step in steps]
    return mixed(answers, weights(outlook.backtest.error[column, nearest], answers))


def _spread(outlook: Outlook, column: int, level: int, steps: Sequence[int]) -> tuple[Floats, Floats]:
    """Return signed distances below and above the mean at each step.

    Horizons not observed yet get the longest observed one widened with the square root of time; without any, half the
    range of a share, or the value itself, stands in: wide, because nothing is known.
    """
    low, high = outlook.interval.low[level, column], outlook.interval.high[level, column]
    seen = np.flatnonzero(np.isfinite(low))
    steps_of = np.array(STEPS, dtype=np.float64)
    if not len(seen):
        name = FORECAST_SIGNALS[column]
        wide = 0.5 if np.isfinite(RULES[name].upper) else outlook.views.level[-1, column] + RULES[name].min_level
        half = np.full(len(steps), wide * (1.0 + level))
        return -half, half
    grown = np.sqrt(np.maximum(np.array(steps) / steps_of[seen[-1]], 1.0))
    below = np.minimum(np.interp(steps, steps_of[seen], low[seen]), 0.0) * grown
    above = np.maximum(np.interp(steps, steps_of[seen], high[seen]), 0.0) * grown
    return below, above
