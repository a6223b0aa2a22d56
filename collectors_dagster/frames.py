"""Arrays with their meaning. Imported by what computes; never by the agent (it carries no numpy).

Time axes are ``datetime64[s]`` in UTC and name the END of each bucket.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.samples import SeriesKey

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class SeriesBuckets:
    """One series over equal buckets; buckets without samples are absent.

    Attributes
    ----------
    ts : shape (n,)
    mean, maximum : shape (n,)
    """

    series: SeriesKey
    ts: Times
    mean: Floats
    maximum: Floats


@dataclass(frozen=True, slots=True)
class SignalFrame:
    """A host's signals on a regular time axis.

    Attributes
    ----------
    ts : shape (n,)
    signals : names of the m columns
    values : shape (n, m); NaN where nothing was measured
    """

    host: str
    ts: Times
    signals: tuple[str, ...]
    values: Floats


@dataclass(frozen=True, slots=True)
class FeatureFrame:
    """One row per minute of one host, columns named ``<signal>__<feature>``.

    Attributes
    ----------
    version : hash of the feature set that made it
    """

    host: str
    version: str
    ts: Times
    columns: tuple[str, ...]
    values: Floats
