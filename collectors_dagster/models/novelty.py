"""Novelty: the distance to the third-nearest value ever seen. Large is not strange; never seen is."""

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats

NEIGHBOURS = 3


def novelty(values: Floats, seen: Floats) -> Floats:
    """Return the distance of each value to its third-nearest in `seen`.

    Parameters
    ----------
    values : shape (n,)
        NaN stays NaN.
    seen : shape (k,)
        Sorted, finite.

    Returns
    -------
    shape (n,)
        NaN if `seen` has fewer than three values.

    Examples
    --------
    >>> novelty(np.array([5.0, 20.0]), np.array([3.0, 4.0, 5.0, 6.0]))
    array([ 1., 16.])
    """
    if len(seen) < NEIGHBOURS:
        return np.full(values.shape, np.nan)
    at = np.searchsorted(seen, values)
    around = at[:, None] + np.arange(-NEIGHBOURS, NEIGHBOURS)[None, :]
    inside = (around >= 0) & (around < len(seen))
    distance = np.abs(values[:, None] - seen[np.clip(around, 0, len(seen) - 1)])
    distance = np.where(inside, distance, np.inf)
    result = np.sort(distance, axis=1)[:, NEIGHBOURS - 1]
    return np.where(np.isfinite(values), result, np.nan)


def held_out_novelty(values: Floats, block: NDArray[np.int64]) -> Floats:
    """Return each value's novelty against the values of all other blocks.

    Neighbours in time resemble each other: judged against its own block, nothing would ever be new.

    Parameters
    ----------
    values : shape (n,)
    block : shape (n,)
        Block number of each value, e.g. its day.
    """
    result = np.full(values.shape, np.nan)
    known = np.isfinite(values)
    for number in np.unique(block[known]):
        mine = block == number
        result[mine] = novelty(values[mine], np.sort(values[known & ~mine]))
    return result
