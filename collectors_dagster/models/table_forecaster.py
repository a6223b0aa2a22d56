"""The forecaster over columns of a file of the user's own: the design that forecasts tenants' hosts, at any step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collectors_dagster.frames import Floats
from collectors_dagster.models.experts import EXPERTS, Views
from collectors_dagster.models.forest_expert import LEAST_PERIODS, ForestExpert, Ground
from collectors_dagster.models.grid import Grid
from collectors_dagster.models.outlook import Fan, Outlook, mean_of_known

MOST_PERIODS = 7
"""Nothing is known of a season's future further ahead than seven of them."""
SEED = 0
_GROWTH = 2.2
_MOST_BYTES = 32e6
STATES: tuple[str, ...] = ("assumed", "widened", "observed")
"""Of an interval: none can be said; wider than the longest horizon observed; made of observed misses."""


@dataclass(frozen=True, slots=True)
class ColumnForecast:
    """One column's future.

    Attributes
    ----------
    fan : Fan
        At steps 1 to the horizon.
    state : shape (horizon,)
        Index into ``STATES``.
    coverage : shape (levels,)
        Share of earlier intervals that held, over all horizons of the last seven seasons; NaN if none came due.
    error_ratio : float
        Mean error of earlier forecasts over that of "as a season ago", same span; NaN if none came due.
    confidence : float
        0 to 1; see :meth:`Outlook.confidence`. NaN without an interval.
    silent : int
        Steps since the column's newest value.
    """

    fan: Fan
    state: Floats
    coverage: Floats
    error_ratio: float
    confidence: float
    silent: int


def judged_steps(horizon: int, period: int) -> tuple[int, ...]:
    """Return the horizons whose misses are watched: 1, growing by a factor, a season, the last.

    Examples
    --------
    >>> judged_steps(24, 24)
    (1, 2, 4, 9, 20, 24)
    """
    steps, step = {1, horizon}, 1
    while step < horizon:
        steps.add(step)
        step = max(step + 1, round(step * _GROWTH))
    if period < horizon:
        steps.add(period)
    return tuple(sorted(steps))


def forecast_table(
    grid: Grid, horizon: int, *, progress: Callable[[int], None] = lambda _: None
) -> list[ColumnForecast]:
    """Forecast every column.

    Parameters
    ----------
    grid : Grid
    horizon : int
        Steps ahead, at most seven seasons.
    progress : callable
        Told the number of columns done since it was told last.
    """
    steps = judged_steps(horizon, grid.period)
    together = max(int(_MOST_BYTES / (8 * len(grid.values) * len(steps) * len(EXPERTS))), 1)
    found: list[ColumnForecast] = []
    for start in range(0, grid.values.shape[1], together):
        outlook = walked(grid.values[:, start : start + together], grid, steps)
        found += [_column(outlook, signal, horizon) for signal in range(outlook.views.values.shape[1])]
        progress(min(together, grid.values.shape[1] - start))
    return found


def walked(values: Floats, grid: Grid, steps: tuple[int, ...]) -> Outlook:
    """Run the mixture over some columns, with a forest if there are two seasons to learn from."""
    expert = None
    if len(values) >= LEAST_PERIODS * grid.period:
        expert = ForestExpert.fit(Ground(Views.of(values, grid.period, steps[-1]), grid.cell, steps), seed=SEED)
    return Outlook.of(values, grid.cell, period=grid.period, steps=steps, expert=expert)


def _column(outlook: Outlook, signal: int, horizon: int) -> ColumnForecast:
    fan = outlook.fan(signal, range(1, horizon + 1))
    coverage, ratio = outlook.coverage()[:, signal], outlook.error_ratio()[signal]
    known = np.flatnonzero(np.isfinite(outlook.views.values[:, signal]))
    return ColumnForecast(
        fan=fan,
        state=np.where(np.isnan(fan.low[0]), 0, np.where(fan.observed, 2, 1)),
        coverage=np.array([mean_of_known(one) for one in coverage]),
        error_ratio=mean_of_known(ratio),
        confidence=outlook.confidence(signal, fan),
        silent=len(outlook) - 1 - int(known[-1]) if len(known) else len(outlook),
    )
