"""From "how strange" to "how rare": a calibrated tail probability.

Up to a high quantile the empirical distribution speaks; beyond it a generalised Pareto tail of fixed shape whose scale
is the mean excess (peaks over threshold, Pickands 1975). How far it may extrapolate is bounded by the number of
observations, so that an hour of history cannot claim one in a million.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from collectors_dagster.frames import Floats
from collectors_dagster.models.bundle import as_stored

BODY = 0.95
SHAPE = 0.3
_GRID = np.linspace(0.0, BODY, 191)


@dataclass(frozen=True, slots=True)
class TailModel:
    """Distribution of a non-negative strangeness.

    Attributes
    ----------
    quantiles : shape (191,)
        Of the body, from 0 to 0.95.
    scale : float
        Of the tail beyond the last quantile.
    count : int
        Observations behind it; 0 means that nothing can be said.
    decades : float
        Powers of ten by which the tail may go beyond the rarest observation.
    """

    quantiles: Floats
    scale: float
    count: int
    decades: float

    @classmethod
    def fit(cls, strangeness: Floats, *, resolution: float, decades: float) -> "TailModel":
        """Fit to observations (NaN and infinities are left out).

        Parameters
        ----------
        resolution : float
            Differences below this are not seen: it bounds the scale from below.
        """
        known = strangeness[np.isfinite(strangeness)]
        if not len(known):
            return cls(np.zeros(len(_GRID)), resolution, 0, decades)
        quantiles = as_stored(np.quantile(known, _GRID))
        beyond = known[known > quantiles[-1]] - quantiles[-1]
        excess = float(beyond.mean()) if len(beyond) else 0.0
        return cls(quantiles, max(excess * (1.0 - SHAPE), resolution), len(known), decades)

    def words(self) -> dict[str, float]:
        """Return what goes to a JSON file; the quantiles go to an array file."""
        return {"scale": self.scale, "count": self.count, "decades": self.decades}

    @classmethod
    def stored(cls, words: Mapping[str, float], quantiles: Floats) -> "TailModel":
        """Return the model that :meth:`words` and its quantiles describe."""
        return cls(quantiles, float(words["scale"]), int(words["count"]), float(words["decades"]))

    def surprise(self, strangeness: Floats) -> Floats:
        """Return s = -log10 P(at least as strange); 0 where unknown.

        Examples
        --------
        >>> tail = TailModel.fit(np.arange(1000.0), resolution=1.0, decades=1.0)
        >>> [round(float(s), 2) for s in tail.surprise(np.array([500.0, 900.0, 950.0]))]
        [0.3, 1.0, 1.3]
        """
        if not self.count:
            return np.zeros(strangeness.shape)
        value = np.nan_to_num(strangeness, nan=0.0, posinf=np.finfo(np.float64).max)
        distinct, first = np.unique(self.quantiles, return_index=True)  # ties: P(at least) looks from the left
        body = 1.0 - np.interp(value, distinct, _GRID[first])
        excess = np.maximum(value - self.quantiles[-1], 0.0) / self.scale
        tail = (1.0 - BODY) * (1.0 + SHAPE * excess) ** (-1.0 / SHAPE)
        probability = np.where(excess > 0.0, tail, body)
        floor = 10.0 ** -(np.log10(self.count + 1.0) + self.decades)
        return np.asarray(-np.log10(np.clip(probability, floor, 1.0)))


def shown(surprise: Floats) -> Floats:
    """Return the score people see, ``1 - 10**(-s/2)``: 0.90 is one in a hundred, 0.99 one in ten thousand."""
    return np.asarray(1.0 - 10.0 ** (-surprise / 2.0))
