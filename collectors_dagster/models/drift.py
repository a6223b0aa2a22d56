"""How far one distribution has moved from another: the population stability index."""

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats

BINS = 10
SMALLEST_SHARE = 1e-3
"""An empty bin counts as this much: its logarithm would be infinite, and a thousand minutes say no more."""
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
        raise ValueError("a stability index needs values on both sides")
    edges = np.unique(np.quantile(before, np.linspace(0.0, 1.0, BINS + 1)[1:-1]))
    expected, found = _shares(before, edges), _shares(after, edges)
    return float(((found - expected) * np.log(found / expected)).sum())


def _shares(values: Floats, edges: Floats) -> Floats:
    """Return the share of values in each bin; equal values never lie in two of them."""
    at: NDArray[np.int64] = np.searchsorted(edges, values, side="left")
    counts = np.bincount(at, minlength=len(edges) + 1)
    return np.asarray(np.maximum(counts / len(values), SMALLEST_SHARE))
