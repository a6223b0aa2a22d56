"""Trailing windows over minutes: row t sees rows up to t, and lives with gaps."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from collectors_dagster.frames import Floats


def trailing(values: Floats, width: int) -> Floats:
    """Return for each row its last `width` rows, oldest first, shape (n, m, width); NaN before the start."""
    padding = np.full((width - 1, values.shape[1]), np.nan)
    return np.asarray(sliding_window_view(np.vstack([padding, values]), width, axis=0))


def trailing_mean(values: Floats, width: int) -> Floats:
    """Return the mean of what is known in the last `width` rows; NaN where nothing is."""
    return weighted_mean(values, np.ones(width))


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Return the trailing mean under `weights` (oldest first) over what is known; NaN where nothing is."""
    windows = trailing(values, len(weights))
    known = np.isfinite(windows)
    mass = known @ weights
    total = np.where(known, windows, 0.0) @ weights
    result = np.full(values.shape, np.nan)
    np.divide(total, mass, out=result, where=mass > 0)
    return result


def trailing_std(values: Floats, width: int) -> Floats:
    """Return the standard deviation of what is known in the last `width` rows; NaN where nothing is."""
    windows = trailing(values, width)
    mean = trailing_mean(values, width)
    known = np.isfinite(windows)
    squares = np.where(known, (windows - mean[:, :, None]) ** 2, 0.0).sum(axis=2)
    count = known.sum(axis=2)
    result = np.full(values.shape, np.nan)
    np.divide(squares, count, out=result, where=count > 0)
    return np.asarray(np.sqrt(result))
