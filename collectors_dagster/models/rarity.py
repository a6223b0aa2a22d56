"""Rarities of several views of the same thing, as one."""

from math import log, log10

import numpy as np

from collectors_dagster.frames import Floats

_LN10 = log(10.0)


def both(one: Floats, other: Floats) -> Floats:
    """Return s = -log10 p of two rarities by Fisher's method (Fisher 1925; for two, p = xy(1 - ln xy)).

    The views are taken for independent, which they are only in part: what is strange to both seems rarer than it is.

    Parameters
    ----------
    one, other : shape (n,)
        s = -log10 p of each.

    Examples
    --------
    >>> np.round(both(np.array([2.0, 0.0]), np.array([2.0, 0.0])), 2)
    array([2.99, 0.  ])
    """
    total = one + other
    return np.asarray(total - np.log10(1.0 + _LN10 * total))


def both_of(one: float, other: float) -> float:
    """Return the same for two numbers, in a tenth of the time."""
    total = one + other
    return total - log10(1.0 + _LN10 * total)
