"""Novelty of many values at once: the distance to the nearest value ever seen. Large is not strange; never seen is.

:class:`~collectors_dagster.models.sorted_memory.SortedMemory` says the same of values as they come.
"""

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats


def novelty(values: Floats, seen: Floats) -> Floats:
    """Return the distance of each value to its nearest in `seen`.

    Parameters
    ----------
    values : shape (n,)
        NaN stays NaN.
    seen : shape (k,)
        Sorted, finite.

    Returns
    -------
    shape (n,)
        NaN if nothing was seen.

    Examples
    --------
    >>> novelty(np.array([5.0, 20.0]), np.array([3.0, 4.0, 5.0, 6.0]))
    array([ 0., 14.])
    """
    if not len(seen):
        return np.full(values.shape, np.nan)
    at = np.searchsorted(seen, values)
    below = np.where(at > 0, values - seen[np.maximum(at - 1, 0)], np.inf)
    above = np.where(at < len(seen), seen[np.minimum(at, len(seen) - 1)] - values, np.inf)
    return np.where(np.isfinite(values), np.minimum(below, above), np.nan)


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
