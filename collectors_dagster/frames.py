"""Arrays with their meaning. Imported by what computes; never by the agent (it carries no numpy).

Time axes are in UTC. Those of frames are ``datetime64[s]`` and name the END of each bucket.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.samples import SeriesKey

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """What is stored of one series in a window; where nothing was measured there is no row.

    Attributes
    ----------
    ts : shape (n,), increasing, of any unit; what of a bucket it names is said by who asked for it
    numbers : an array of shape (n,) by name: ``value`` of samples; ``avg``, ``min``, ``max`` and ``count`` of buckets
    """

    series: SeriesKey
    ts: Times
    numbers: Mapping[str, NDArray[np.generic]]


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
