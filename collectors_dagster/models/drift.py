"""How far one distribution has moved from another: the population stability index."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats

BINS = 10
SMALLEST_SHARE = 1e-3
"""An empty bin counts as this much: its logarithm would be infinite, and a thousand minutes say no more."""
_NOTHING = "a stability index needs values on both sides"
STABLE_BELOW = 0.2
"""The usual reading (Siddiqi, Credit Risk Scorecards, 2006): under 0.1 nothing happened, from 0.2 on something did."""


def population_stability_index(reference: Floats, seen: Floats) -> float:
    """Return the population stability index of `seen` against `reference`, both of shape ``(n,)``.

    The bins are the deciles of the reference. What is not finite is left out. 0: the same distribution.

    Raises
    ------
    ValueError
        If either is empty: there is nothing to compare.

    Examples
    --------
    >>> week = np.linspace(0.0, 1.0, 1000)
    >>> round(population_stability_index(week, week), 3)
    0.0
    >>> population_stability_index(week, week**3) > STABLE_BELOW
    True
    """
    before, after = reference[np.isfinite(reference)], seen[np.isfinite(seen)]
    if not len(before) or not len(after):
        raise ValueError(_NOTHING)
    edges = np.unique(np.quantile(before, np.linspace(0.0, 1.0, BINS + 1)[1:-1]))
    return stability_of_counts(_counts(before, edges), _counts(after, edges))


def stability_of_counts(reference: Sequence[int], seen: Sequence[int]) -> float:
    """Return the index of values that were counted already, bin by bin, in the same bins.

    Raises
    ------
    ValueError
        If either counts nothing.

    Examples
    --------
    >>> stability_of_counts([90, 10], [180, 20])
    0.0
    """
    if not sum(reference) or not sum(seen):
        raise ValueError(_NOTHING)
    expected, found = (np.maximum(np.array(one) / sum(one), SMALLEST_SHARE) for one in (reference, seen))
    return float(((found - expected) * np.log(found / expected)).sum())


def _counts(values: Floats, edges: Floats) -> list[int]:
    """Count the values in each bin; equal values never lie in two of them."""
    at: NDArray[np.int64] = np.searchsorted(edges, values, side="left")
    return [int(count) for count in np.bincount(at, minlength=len(edges) + 1)]
