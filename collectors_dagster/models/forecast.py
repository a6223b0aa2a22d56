"""The load forecaster: per host and signal, ten minutes to a day ahead, with intervals that hold.

An online mixture of cheap experts and a Random Forest (:mod:`collectors_dagster.models.experts`,
:mod:`collectors_dagster.models.forest_expert`, :mod:`collectors_dagster.models.mixture`). Everything but the forest is
recomputed from the history given, so that a forecast always uses the newest minute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from collectors_dagster.features.feature_set import VERSION
from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import EMPTY, Timeline, joined
from collectors_dagster.frames import Floats, SignalFrame
from collectors_dagster.models import bundle
from collectors_dagster.models.cells import CELL_MINUTES, DAY_CELLS, FORECAST_SIGNALS, Cells, cells_of
from collectors_dagster.models.experts import Views, cheap_predictions
from collectors_dagster.models.forest_expert import MIN_CELLS, STEPS, ForestExpert
from collectors_dagster.models.mixture import Backtest, Interval, intervals, mixed, weights
from collectors_dagster.models.profile import state_of
from collectors_dagster.models.signal_rules import RULES
from collectors_dagster.records import ForecastPoint, ModelState, Window

KIND = "forecast"
MEMORY_DAYS = 14
DEFAULT_HORIZONS: tuple[int, ...] = (10, 30, 60, 120, 180, 360, 720, 1080, 1440)
"""Minutes ahead that the daily asset stores."""
MAX_HORIZON = DAY_CELLS * CELL_MINUTES


@dataclass(frozen=True, slots=True)
class Outlook:
    """The mixture at one instant: everything a forecast is made of, and how it did so far."""

    cells: Cells
    views: Views
    forest: Floats
    backtest: Backtest
    interval: Interval


class HostForecaster:
    """Forecasts one host.

    Attributes
    ----------
    host : str
    state : ModelState
        ``learning`` intervals are assumptions, not observations; ``provisional`` ones know no season.
    """

    def __init__(self, host: str, memory: Timeline, forest: ForestExpert | None) -> None:
        self.host = host
        self.state = state_of(memory)
        self._memory = memory
        self._forest = forest

    @classmethod
    def untrained(cls, host: str) -> "HostForecaster":
        """Return the forecaster of a host nobody knows."""
        return cls(host, EMPTY, None)

    @classmethod
    def fit(cls, frames: Sequence[SignalFrame], *, seed: int, mask: Sequence[Window] = ()) -> "HostForecaster":
        """Learn from frames of one host; minutes in `mask` are left out."""
        host = frames[0].host if frames else ""
        memory = joined(frames, days=MEMORY_DAYS).without(mask)
        memory = Timeline(memory.first, bundle.as_stored(memory.values))
        cells = cells_of(memory)
        if len(cells) < MIN_CELLS:
            return cls(host, memory, None)
        return cls(host, memory, ForestExpert.fit(Views.of(cells.values), cells.number, seed=seed))

    def outlook(self, history: SignalFrame | None, issued_at: datetime | None = None) -> Outlook | None:
        """Run the mixture over memory and history up to `issued_at`; None without a single known minute."""
        timeline = self._timeline(history, issued_at)
        cells = cells_of(timeline)
        if not len(cells) or not np.isfinite(cells.values).any():
            return None
        views = Views.of(cells.values)
        forest = self._forest_says(views, cells)
        answers = cheap_predictions(views, np.arange(len(cells)), STEPS)
        backtest = Backtest.run(cells.values, np.concatenate([answers, forest[..., None]], axis=3), STEPS)
        return Outlook(cells, views, forest, backtest, intervals(backtest.miss))

    def forecast(
        self,
        history: SignalFrame | None,
        issued_at: datetime,
        horizons_minutes: Sequence[int] = DEFAULT_HORIZONS,
    ) -> list[ForecastPoint]:
        """Forecast every signal this host has.

        Parameters
        ----------
        history : SignalFrame or None
            Minutes that the training did not see; what lies after `issued_at` is ignored.
        issued_at : datetime
            The present: nothing later is used.
        horizons_minutes : sequence of int
            10 to 1440; rounded to ten minutes.

        Returns
        -------
        list of ForecastPoint
            By signal, then by horizon. Signals never measured are left out.
        """
        outlook = self.outlook(history, issued_at)
        if outlook is None:
            return []
        steps = [_step(minutes) for minutes in horizons_minutes]
        return [
            point
            for column in range(len(FORECAST_SIGNALS))
            if np.isfinite(outlook.views.level[-1, column])
            for point in _points(self.host, outlook, column, issued_at, steps)
        ]

    def _timeline(self, history: SignalFrame | None, issued_at: datetime | None) -> Timeline:
        stored = self._memory.frame(self.host)
        whole = joined([one for one in (stored, history) if one is not None], days=MEMORY_DAYS + 1)
        if issued_at is None or not len(whole):
            return whole
        last = int(issued_at.timestamp() // 60)
        return Timeline(whole.first, whole.values[: max(last + 1 - whole.first, 0)])

    def _forest_says(self, views: Views, cells: Cells) -> Floats:
        if self._forest is None:
            return np.full((*cells.values.shape, len(STEPS)), np.nan)
        return self._forest.predictions(views, cells.number)

    def save(self, directory: Path) -> None:
        """Write the forecaster's files into `directory`."""
        words: dict[str, Any] = {"host": self.host, "first": self._memory.first, "forests": None}
        arrays = {"memory": self._memory.values}
        if self._forest is not None:
            words["forests"] = [forest is not None for forest in self._forest.forests]
            words["first_cell"] = self._forest.first
            arrays["past"] = self._forest.past
            for number, forest in enumerate(self._forest.forests):
                if forest is not None:
                    bundle.write_forest(directory / f"forest-{number}.skops", forest)
        bundle.write_manifest(directory, "host-forecaster", words)
        bundle.write_arrays(directory / "arrays.npz", arrays)

    @classmethod
    def load(cls, directory: Path) -> "HostForecaster":
        """Read a forecaster."""
        words = bundle.read_manifest(directory, "host-forecaster")
        arrays = bundle.read_arrays(directory / "arrays.npz")
        memory = Timeline(int(words["first"]), arrays["memory"])
        return cls(str(words["host"]), memory, _forest_from(words, arrays, directory))


def _forest_from(words: Mapping[str, Any], arrays: Mapping[str, Any], directory: Path) -> ForestExpert | None:
    if words["forests"] is None:
        return None
    forests = tuple(
        bundle.read_forest(directory / f"forest-{number}.skops") if present else None
        for number, present in enumerate(words["forests"])
    )
    return ForestExpert(forests, int(words["first_cell"]), arrays["past"])


def _step(minutes: int) -> int:
    return int(np.clip(round(minutes / CELL_MINUTES), 1, DAY_CELLS))


def _points(host: str, outlook: Outlook, column: int, issued_at: datetime, steps: Sequence[int]) -> list[ForecastPoint]:
    means = _means(outlook, column, steps)
    spread = [_spread(outlook, column, level, steps) for level in range(2)]
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


class TenantForecaster:
    """All forecasters of one tenant: the bundle that is registered."""

    def __init__(self, forecasters: Mapping[str, HostForecaster]) -> None:
        self.forecasters = dict(forecasters)

    @classmethod
    def fit(
        cls,
        frames: Mapping[str, Sequence[SignalFrame]],
        *,
        seed: int,
        mask: Mapping[str, Sequence[Window]] | None = None,
    ) -> "TenantForecaster":
        """Learn every host from its frames."""
        windows = mask or {}
        return cls(
            {
                host: HostForecaster.fit(list(own), seed=seed, mask=windows.get(host, ()))
                for host, own in sorted(frames.items())
                if own
            }
        )

    def forecaster(self, host: str) -> HostForecaster:
        """Return the host's forecaster; for an unknown host one that knows nothing but the history it is given."""
        known = self.forecasters.get(host)
        return known if known is not None else HostForecaster.untrained(host)

    def forecast(
        self,
        history: SignalFrame,
        issued_at: datetime,
        horizons_minutes: Sequence[int] = DEFAULT_HORIZONS,
    ) -> list[ForecastPoint]:
        """Forecast the host of `history`; see :meth:`HostForecaster.forecast`."""
        return self.forecaster(history.host).forecast(history, issued_at, horizons_minutes)

    def states(self) -> dict[str, ModelState]:
        """Return every host's state."""
        return {host: one.state for host, one in self.forecasters.items()}

    def save(self, directory: Path) -> None:
        """Write the bundle: a manifest and one directory per host."""
        places = {host: f"host-{number}" for number, host in enumerate(sorted(self.forecasters))}
        for host, place in places.items():
            self.forecasters[host].save(directory / place)
        bundle.write_manifest(directory, KIND, {"hosts": places, "feature_set": VERSION})

    @classmethod
    def load(cls, directory: Path) -> "TenantForecaster":
        """Read a bundle.

        Raises
        ------
        ModelError
            If the directory holds no bundle of this kind.
        """
        places = bundle.read_manifest(directory, KIND)["hosts"]
        return cls({host: HostForecaster.load(directory / place) for host, place in places.items()})


assert set(FORECAST_SIGNALS) <= set(SIGNALS)
