"""A host's outlook: the mixture over its ten-minute cells, and its answers as records within each signal's bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from collectors_dagster.features.timeline import Timeline
from collectors_dagster.frames import Floats
from collectors_dagster.models.cells import CELL_MINUTES, DAY_CELLS, FORECAST_SIGNALS, STEPS, Cells, cells_of
from collectors_dagster.models.conformal import LEVELS
from collectors_dagster.models.forest_expert import ForestExpert
from collectors_dagster.models.outlook import Outlook, mean_of_known
from collectors_dagster.models.signal_rules import RULES
from collectors_dagster.records import ForecastPoint

MAX_HORIZON_MINUTES = DAY_CELLS * CELL_MINUTES


@dataclass(frozen=True, slots=True)
class Trust:
    """How far a signal's forecasts can be trusted.

    Attributes
    ----------
    confidence : float
        0 to 1, over the next day; see :meth:`collectors_dagster.models.outlook.Outlook.confidence`. NaN: nothing known.
    held80, held95 : float
        Share of last week's intervals that held, over all horizons; NaN if none came due.
    """

    confidence: float
    held80: float
    held95: float


@dataclass(frozen=True, slots=True)
class HostOutlook:
    """The mixture walked over one host's past; it can be asked at every cell of it.

    Attributes
    ----------
    cells : Cells
        The past.
    outlook : Outlook
        Its signals are ``FORECAST_SIGNALS``, its steps ``STEPS``.
    """

    cells: Cells
    outlook: Outlook

    @classmethod
    def of(cls, timeline: Timeline, expert: ForestExpert | None) -> "HostOutlook | None":
        """Walk through the minutes of a host; None without a single known one."""
        cells = cells_of(timeline)
        if not len(cells) or not np.isfinite(cells.values).any():
            return None
        return cls(cells, Outlook.of(cells.values, cells.number, period=DAY_CELLS, steps=STEPS, expert=expert))

    def points(
        self, host: str, issued_at: datetime, horizons_minutes: Sequence[int], row: int = -1
    ) -> list[ForecastPoint]:
        """Return the forecasts of every signal known at a row, by signal and then by horizon."""
        steps = [int(np.clip(round(minutes / CELL_MINUTES), 1, DAY_CELLS)) for minutes in horizons_minutes]
        return [
            point
            for column in range(len(FORECAST_SIGNALS))
            if np.isfinite(self.outlook.views.level[row, column])
            for point in self._points(host, column, issued_at, steps, row)
        ]

    def trust(self, row: int = -1) -> dict[str, Trust]:
        """Return how far the forecasts from a row can be trusted, by signal known there."""
        held = self.outlook.coverage(row)
        return {
            signal: Trust(
                self.outlook.confidence(column, self.outlook.fan(column, STEPS, row), row),
                *(mean_of_known(one[column]) for one in held),
            )
            for column, signal in enumerate(FORECAST_SIGNALS)
            if np.isfinite(self.outlook.views.level[row, column])
        }

    def _points(
        self, host: str, column: int, issued_at: datetime, steps: Sequence[int], row: int
    ) -> list[ForecastPoint]:
        signal, fan = FORECAST_SIGNALS[column], self.outlook.fan(column, steps, row)
        assumed = self._assumed(column, row) * (1.0 + np.arange(len(LEVELS)))[:, None]
        upper = RULES[signal].upper
        mean = np.clip(fan.mean, 0.0, upper)
        low = np.clip(np.where(np.isfinite(fan.low), fan.low, fan.mean - assumed), 0.0, mean)
        high = np.clip(np.where(np.isfinite(fan.high), fan.high, fan.mean + assumed), mean, upper)
        return [
            ForecastPoint(
                host=host,
                signal=signal,
                issued_at=issued_at,
                ts=issued_at + timedelta(minutes=step * CELL_MINUTES),
                mean=float(mean[i]),
                low80=float(low[0, i]),
                high80=float(high[0, i]),
                low95=float(low[1, i]),
                high95=float(high[1, i]),
            )
            for i, step in enumerate(steps)
        ]

    def _assumed(self, column: int, row: int) -> Floats:
        """Return half the width of an interval before anything was observed: wide, because nothing is known."""
        rule = RULES[FORECAST_SIGNALS[column]]
        half = 0.5 if np.isfinite(rule.upper) else self.outlook.views.level[row, column] + rule.min_level
        return np.asarray(half)
