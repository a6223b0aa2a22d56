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
    known = np.flatnonzero(np.isfinite(values))
    known = known[np.argsort(values[known])]
    if not len(known):
        return result
    ordered, changes = values[known], np.flatnonzero(np.diff(block[known]))
    run = np.searchsorted(changes, np.arange(len(known)))  # the neighbours of one block between two of others
    below = np.concatenate([[-np.inf], ordered[changes]])[run]
    above = np.concatenate([ordered[changes + 1], [np.inf]])[run]
    nearest = np.minimum(ordered - below, above - ordered)
    result[known] = np.where(np.isfinite(nearest), nearest, np.nan)  # a single block has nothing to be judged against
    return result
