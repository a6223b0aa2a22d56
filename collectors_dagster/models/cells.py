"""The forecaster's clock: ten-minute means, aligned to the epoch, named by their end."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import Timeline
from collectors_dagster.frames import Floats

CELL_MINUTES = 10
DAY_CELLS = 144

FORECAST_SIGNALS: tuple[str, ...] = (
    "cpu_utilization_ratio",
    "memory_used_ratio",
    "load_per_cpu",
    "filesystem_used_ratio",
    "network_receive_bytes_per_second",
    "network_transmit_bytes_per_second",
)
"""Signals whose future people plan with."""

_COLUMNS = [SIGNALS.index(name) for name in FORECAST_SIGNALS]


@dataclass(frozen=True, slots=True)
class Cells:
    """Ten-minute means of the forecast signals.

    Attributes
    ----------
    first : int
        End of row 0, in units of ten minutes since the epoch.
    values : shape (n, 6)
        NaN where nothing is known. The last row may be the mean of a cell that is not over yet.
    """

    first: int
    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    @property
    def number(self) -> NDArray[np.int64]:
        """Cell number of each row."""
        return np.arange(self.first, self.first + len(self.values), dtype=np.int64)


def cells_of(timeline: Timeline) -> Cells:
    """Average minutes to cells; a cell knows a value if one of its minutes does."""
    if not len(timeline):
        return Cells(0, np.empty((0, len(FORECAST_SIGNALS))))
    cell = -(-timeline.minutes // CELL_MINUTES)
    row = cell - cell[0]
    values = timeline.values[:, _COLUMNS]
    known = np.isfinite(values)
    total, count = np.zeros((2, int(row[-1]) + 1, len(_COLUMNS)))
    np.add.at(total, row, np.where(known, values, 0.0))
    np.add.at(count, row, known)
    mean = np.full(total.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return Cells(int(cell[0]), mean)


STEPS: tuple[int, ...] = (1, 6, 36, 72, 144)
"""Horizons that are judged, in cells: 10 min, 1 h, 6 h, 12 h, 1 d."""
