"""How good the forecaster is: its errors and intervals beside those of simpler ones, on series given by path.

The series, the origins and the score come from ``score_forecast.py`` in the data's own folder; nothing of them is
stored here. Every forecaster speaks at the same origins and may use rows up to them only: ours is walked through a
series once, its forests are trained anew along the way, each of what lay before; so is the plain Random Forest. What
has no intervals of its own gets the same adaptive ones as ours.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from bench.report import Goal, Report, main_with_options
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.frames import Floats
from collectors_dagster.models.conformal import Intervals
from collectors_dagster.models.experts import Views
from collectors_dagster.models.forest_expert import ForestExpert, Ground
from collectors_dagster.models.mixture import by_target
from collectors_dagster.models.outlook import Outlook

SCORER = "score_forecast.py"
LIMITS = {"1step": 0.43, "1h": 0.52, "6h": 0.80, "1d": 0.91}
"""Error relative to the daily seasonal naive that is allowed."""
COVERAGE_LIMITS = {"abs_err80": 0.08, "abs_err95": 0.05}
FORECAST_MS = 5.0
CUTS = (0.25, 0.4, 0.55, 0.7, 0.775, 0.85, 0.925)
"""Where forests are trained anew; the scored origins begin at 0.7."""
HALVES = 50
_PLAIN_TREES, _PLAIN_LAGS, _PLAIN_CUTS = 20, 24, (0.7, 0.85)
_EDGES = ("lo80", "hi80", "lo95", "hi95")


@dataclass(frozen=True, slots=True)
class Task:
    """One series and where it is forecast from.

    Attributes
    ----------
    actual : shape (n,)
    period : int
        Rows of a day.
    steps : rows ahead that are scored
    origins : rows
    """

    name: str
    index: pd.DatetimeIndex
    actual: Floats
    period: int
    steps: tuple[int, ...]
    origins: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Said:
    """Forecasts of all rows: mean (n, steps) and signed distances to the edges (n, levels, steps)."""

    mean: Floats
    low: Floats
    high: Floats


Forecaster = Callable[[Task], Said]


def ours(task: Task, *, forest: bool = True) -> Said:
    """Forecast with the mixture that tenants and files are forecast with."""
    values, cell = task.actual[:, None], np.arange(len(task.actual), dtype=np.int64)
    expert = None
    if forest:
        ground = Ground(Views.of(values, task.period, task.steps[-1]), cell, task.steps)
        expert = ForestExpert.fit(ground, seed=0, cuts=CUTS)
    outlook = Outlook.of(values, cell, period=task.period, steps=task.steps, expert=expert)
    return Said(outlook.backtest.said[:, 0], outlook.intervals.low[:, :, 0], outlook.intervals.high[:, :, 0])


def without_forest(task: Task) -> Said:
    """Forecast with the mixture of the cheap experts alone."""
    return ours(task, forest=False)


def seasonal_naive(task: Task) -> Said:
    """Say what was a day before."""
    rows = np.arange(len(task.actual))
    said = [task.actual[np.maximum(rows + step - task.period, 0)] for step in task.steps]
    return _with_intervals(task, np.column_stack(said))


def last_value(task: Task) -> Said:
    """Say what is now."""
    return _with_intervals(task, np.repeat(task.actual[:, None], len(task.steps), axis=1))


def plain_forest(task: Task) -> Said:
    """Say what a Random Forest of lags and time of day does."""
    rows = np.arange(len(task.actual))
    lags = [task.actual[np.maximum(rows - lag, 0)] for lag in (*range(_PLAIN_LAGS), task.period - 1)]
    phase = 2 * np.pi * (rows % task.period) / task.period
    inputs = np.column_stack([*lags, np.sin(phase), np.cos(phase)])
    said = np.repeat(task.actual[:, None], len(task.steps), axis=1)
    starts = [int(cut * len(rows)) for cut in _PLAIN_CUTS]
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        for column, step in enumerate(task.steps):
            known = rows[task.period : start - step]
            if len(known) < task.period:
                continue
            forest = RandomForestRegressor(
                n_estimators=_PLAIN_TREES, min_samples_leaf=5, max_features=0.5, random_state=0, n_jobs=1
            )
            forest.fit(inputs[known], task.actual[known + step])
            said[start:end, column] = forest.predict(inputs[start:end])
    return _with_intervals(task, said)


def _with_intervals(task: Task, said: Floats) -> Said:
    miss = task.actual[:, None, None] - by_target(said[:, None, :, None], task.steps)[..., 0]
    made = Intervals.run(miss, task.steps, task.period)
    return Said(said, made.low[:, :, 0], made.high[:, :, 0])


FORECASTERS: dict[str, Forecaster] = {
    "mixture": ours,
    "mixture_without_forest": without_forest,
    "seasonal_naive": seasonal_naive,
    "last_value": last_value,
    "plain_forest": plain_forest,
}


def measured(data: Path) -> tuple[list[Goal], dict[str, Any]]:
    """Return the goals and all figures: per forecaster its scores, costs and spread over halves of the series."""
    scorer = _scorer(data)
    tasks = _tasks(scorer, data)
    detail = {name: _measured(scorer, data, tasks, forecaster) for name, forecaster in FORECASTERS.items()}
    scores, per_forecast = detail["mixture"]["scores"], detail["mixture"]["forecast_ms"]
    goals = [
        Goal(f"forecast error / seasonal naive, {name} ahead", scores[name]["vs_snaive"], limit)
        for name, limit in LIMITS.items()
        if name in scores
    ]
    for key, limit in COVERAGE_LIMITS.items():
        value = float(np.mean([one[key] for one in scores.values()]))
        goals.append(Goal(f"mean error of the coverage of the {key[-2:]} % interval", value, limit))
    goals.append(Goal("one forecast, ms of processor time, training included", per_forecast, FORECAST_MS))
    return goals, {"series": len(tasks), **detail}


def _scorer(data: Path) -> ModuleType:
    """Load the scorer that lies beside the data."""
    path = data / SCORER
    if not path.is_file():
        message = f"{path}: no such file; --data names the folder of the labelled series and their scorers"
        raise ConfigurationError(message)
    spec = importlib.util.spec_from_file_location("score_forecast", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tasks(scorer: ModuleType, data: Path) -> list[Task]:
    return [
        Task(
            name=name,
            index=series.index,
            actual=series.to_numpy(float),
            period=period,
            steps=tuple(scorer.steps(period).values()),
            origins=scorer.origins(len(series), period),
        )
        for name, (series, period) in scorer.series(str(data)).items()
    ]


def _measured(scorer: ModuleType, data: Path, tasks: list[Task], forecaster: Forecaster) -> dict[str, Any]:
    started = time.process_time()
    said = {task.name: forecaster(task) for task in tasks}
    seconds = time.process_time() - started
    rows = pd.concat([_rows(task, said[task.name]) for task in tasks], ignore_index=True)
    forecasts = sum(len(task.origins) * len(task.steps) for task in tasks)
    return {
        "scores": scorer.score(str(data), rows),
        "halves": _halves(tasks, said),
        "cpu_seconds": round(seconds, 2),
        "forecast_ms": round(1e3 * seconds / forecasts, 3),
    }


def _rows(task: Task, said: Said) -> pd.DataFrame:
    """Return the forecasts in the scorer's shape: a row per origin and step."""
    parts = []
    for column, step in enumerate(task.steps):
        mean = said.mean[task.origins, column]
        edges = [
            mean + np.nan_to_num(side[task.origins, level, column])
            for level in (0, 1)
            for side in (said.low, said.high)
        ]
        edges[2], edges[3] = np.minimum(edges[2], edges[0]), np.maximum(edges[3], edges[1])
        columns = {"series": task.name, "origin": task.index[task.origins], "step": step, "mean": mean}
        parts.append(pd.DataFrame(columns | dict(zip(_EDGES, edges, strict=True))))
    return pd.concat(parts, ignore_index=True)


def _halves(tasks: list[Task], said: Mapping[str, Said]) -> dict[str, dict[str, float]]:
    """Return how the error relative to the seasonal naive varies over random halves of the series: 5, 50 and 95 %."""
    random, found = np.random.default_rng(0), {}
    for column, name in ((0, "first"), (-1, "last")):
        ratios = np.log([_ratio(task, said[task.name], column) for task in tasks])
        half = max(len(ratios) // 2, 1)
        drawn = [np.exp(ratios[random.permutation(len(ratios))[:half]].mean()) for _ in range(HALVES)]
        low, middle, high = np.quantile(drawn, (0.05, 0.5, 0.95))
        found[f"{name}_step"] = {"low": round(low, 3), "median": round(middle, 3), "high": round(high, 3)}
    return found


def _ratio(task: Task, said: Said, column: int) -> float:
    """Return the error over the seasonal naive's, clipped as the scorer does."""
    step, origins = task.steps[column], task.origins
    actual = task.actual[origins + step]
    mine = np.abs(said.mean[origins, column] - actual).mean()
    naive = np.abs(task.actual[origins + step - task.period] - actual).mean()
    return float(np.clip((mine + 1e-12) / (naive + 1e-12), 0.05, 20.0))


def measure(options: argparse.Namespace) -> Report:
    goals, detail = measured(options.data)
    return Report("models_forecast", tuple(goals), detail)


def describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled series and their scorers")


if __name__ == "__main__":
    main_with_options(measure, __doc__, describe)
