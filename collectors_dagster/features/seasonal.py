"""What is normal at this time of day: the median of the same phase on past days."""

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.timeline import DAY_MINUTES
from collectors_dagster.frames import Floats

DAYS = 7
"""How many past days are asked."""
HALF_WIDTH = 2
"""Minutes on each side of the phase that count too: jobs do not start to the second."""
MIN_DAYS = 2
"""Fewer days say nothing about a season."""


def _past_rows(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row the rows of the same phase on past days, shape (n, DAYS, 2 * HALF_WIDTH + 1)."""
    days = np.arange(1, DAYS + 1, dtype=np.int64) * DAY_MINUTES
    around = np.arange(-HALF_WIDTH, HALF_WIDTH + 1, dtype=np.int64)
    return np.asarray(rows[:, None, None] - days[None, :, None] + around[None, None, :])


def _median(values: Floats) -> Floats:
    """Return the median along the last axis of what is not NaN (numpy's own is ten times slower here)."""
    ordered = np.sort(values, axis=-1)  # NaN last
    known = np.isfinite(ordered).sum(axis=-1)
    low = np.maximum((known - 1) // 2, 0)
    high = np.maximum(known // 2, 0).clip(max=values.shape[-1] - 1)
    at_low = np.take_along_axis(ordered, low[..., None], axis=-1)[..., 0]
    at_high = np.take_along_axis(ordered, high[..., None], axis=-1)[..., 0]
    return np.asarray(np.where(known > 0, (at_low + at_high) / 2.0, np.nan))


def seasonal_normal(context: Floats, rows: NDArray[np.int64]) -> Floats:
    """Return the normal of `rows`, from strictly earlier days only.

    Parameters
    ----------
    context : shape (n, m)
        One row per minute.
    rows : shape (k,)
        Row numbers of `context` to answer for.

    Returns
    -------
    shape (k, m)
        NaN where fewer than two past days know the phase.

    Examples
    --------
    >>> week = np.tile(np.arange(1440.0), 7)[:, None]
    >>> seasonal_normal(week, np.array([6 * 1440 + 30]))
    array([[30.]])
    """
    past = _past_rows(rows)
    inside = past >= 0
    past = np.where(inside, past, 0)
    normal = np.full((len(rows), context.shape[1]), np.nan)
    for signal in range(context.shape[1]):
        values = np.where(inside, context[past, signal], np.nan)
        enough = np.isfinite(values).any(axis=2).sum(axis=1) >= MIN_DAYS
        medians = _median(values.reshape(len(rows), -1))
        normal[:, signal] = np.where(enough, medians, np.nan)
    return normal
