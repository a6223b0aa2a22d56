"""Rows of a file on a regular axis of time: what a forecaster needs and files seldom have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats
from collectors_dagster.models.experts import MOST

MOST_ROWS = 20_160
"""Steps that are remembered, the newest: a fortnight of minutes."""
DAY_SECONDS = 86_400.0
_YEAR_SECONDS = 365.25 * DAY_SECONDS
_OFF = 0.01


@dataclass(frozen=True, slots=True)
class Grid:
    """Values at a regular step.

    Attributes
    ----------
    newest : float
        Instant of the last row, seconds since 1970.
    step : float
        Seconds between rows.
    values : shape (n, m)
        NaN where the file has nothing; the mean where several of its rows fall on one step.
    moved, merged, empty, older : int
        Rows of the file that do not lie on a step; that share one with an earlier row; steps without a row; rows before
        the oldest step that is remembered.
    """

    newest: float
    step: float
    values: Floats
    moved: int
    merged: int
    empty: int
    older: int

    @property
    def seconds(self) -> Floats:
        """Instant of every row."""
        return self.newest + self.step * np.arange(1 - len(self.values), 1, dtype=np.float64)

    @property
    def absurd(self) -> int:
        """How many values are too large to be reckoned with, and count as missing."""
        return int((np.abs(self.values) > MOST).sum())

    def ahead(self, steps: int) -> Floats:
        """Instants of the next steps."""
        return self.newest + self.step * np.arange(1, steps + 1, dtype=np.float64)

    def newest_of(self, column: int, rows: int) -> tuple[Floats, Floats]:
        """Return instants and values of a column's last rows."""
        return self.seconds[-rows:], self.values[-rows:, column]

    @property
    def cell(self) -> NDArray[np.int64]:
        """Number of every row, counted from 1970."""
        return int(self.newest // self.step) + np.arange(1 - len(self.values), 1, dtype=np.int64)

    @property
    def period(self) -> int:
        """Rows of a season: a day's; a week's for steps above half a day, a year's for those above half a week."""
        for season in (DAY_SECONDS, 7 * DAY_SECONDS, _YEAR_SECONDS):
            if self.step <= season / 2:
                return round(season / self.step)
        return 1


def usual_step(seconds: Floats) -> float | None:
    """Return the median distance of distinct instants in seconds, whole from one second up; None for a single one."""
    distances = np.diff(np.unique(seconds))
    if not len(distances):
        return None
    usual = float(np.median(distances))
    return float(round(usual)) if usual >= 1.0 else usual


def gridded(seconds: Floats, values: Floats, step: float) -> Grid:
    """Put rows in the order of time on steps that end at the newest.

    Parameters
    ----------
    seconds : shape (n,)
        Not decreasing.
    values : shape (n, m)
    step : float
        In seconds.
    """
    behind = (seconds[-1] - seconds) / step
    place = np.rint(behind)
    kept = place < MOST_ROWS
    row = (place[kept].max() - place[kept]).astype(np.int64)
    total = np.zeros((int(row.max()) + 1, values.shape[1]))
    count, rows = np.zeros(total.shape), np.zeros(len(total), dtype=np.int64)
    known = np.isfinite(values[kept])
    np.add.at(count, row, known)
    np.add.at(rows, row, 1)
    # Divided before they are added: the sum of two large numbers may be none.
    np.add.at(total, row, np.where(known, values[kept], 0.0) / np.maximum(count[row], 1.0))
    return Grid(
        newest=float(seconds[-1]),
        step=step,
        values=np.where(count > 0, total, np.nan),
        moved=int((np.abs(behind - place)[kept] > _OFF).sum()),
        merged=int(np.maximum(rows - 1, 0).sum()),
        empty=int((rows == 0).sum()),
        older=int((~kept).sum()),
    )
