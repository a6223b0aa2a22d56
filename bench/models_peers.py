"""What anomaly detection is compared with: three detectors as people commonly write them, causal like ours.

``(n,)`` and ``(n, m)`` arrays in, one number per row out; higher is more anomalous.
"""

from typing import Protocol

import numpy as np
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest

from collectors_dagster.frames import Floats

GROWTH = 1.25
"""A series' model is fitted again when there are so many times the rows."""
FIRST_ROWS = 100
ALPHA = 0.05
CLUSTERS, LAGS = 2, 4
SEED = 0


class Peer(Protocol):
    """A detector that is fitted to rows and scores others."""

    def fit(self, rows: Floats) -> "Peer":
        """Learn from rows, shape (n, m)."""
        ...

    def score(self, rows: Floats) -> Floats:
        """Return how strange each row is."""
        ...


class PlainForest:
    """scikit-learn's Isolation Forest on the values as they are."""

    def fit(self, rows: Floats) -> "PlainForest":
        """Learn."""
        self._forest = IsolationForest(random_state=SEED, n_jobs=1).fit(rows)
        return self

    def score(self, rows: Floats) -> Floats:
        """Return the negated score of the samples."""
        return np.asarray(-self._forest.score_samples(rows))


class ClusterDistance:
    """Netdata's way in short: two clusters of a metric's last differences; beyond the training's 99 % is anomalous.

    A row's score is the share of metrics that are anomalous, plus a trifle of the mean distance to break ties. One
    model per metric, where Netdata keeps eighteen that must agree.
    """

    def fit(self, rows: Floats) -> "ClusterDistance":
        """Learn."""
        self._models = []
        for column in rows.T:
            seen = _differences(column)
            means = KMeans(CLUSTERS, n_init=1, random_state=SEED).fit(seen[:: max(len(seen) // 5000, 1)])
            distance = means.transform(seen).min(axis=1)
            self._models.append((means, max(float(np.quantile(distance, 0.99)), 1e-12)))
        return self

    def score(self, rows: Floats) -> Floats:
        """Return the share of metrics beyond their bound."""
        relative = [
            means.transform(_differences(column)).min(axis=1) / bound
            for column, (means, bound) in zip(rows.T, self._models, strict=True)
        ]
        stacked = np.vstack(relative)
        return np.asarray((stacked > 1.0).mean(axis=0) + 1e-3 * np.tanh(stacked.mean(axis=0)))


def _differences(column: Floats) -> Floats:
    """Return each row's last differences of a three-row mean, shape (n, 1 + LAGS)."""
    smooth = np.convolve(np.concatenate([np.full(2, column[0]), column]), np.full(3, 1 / 3), mode="valid")
    steps = np.diff(smooth, prepend=smooth[0])
    padded = np.concatenate([np.full(LAGS, steps[0]), steps])
    return np.lib.stride_tricks.sliding_window_view(padded, LAGS + 1)


class MovingAverage:
    """Exponentially weighted mean and variance of each metric; a row's score is its largest |z|.

    Nothing is fitted: the averages run through whatever rows come.
    """

    def fit(self, rows: Floats) -> "MovingAverage":
        """Start the averages with what is known."""
        self._mean, self._variance = rows[0].copy(), np.zeros(rows.shape[1])
        self.score(rows)
        return self

    def score(self, rows: Floats) -> Floats:
        """Return the largest |z| of each row against the averages before it."""
        result = np.empty(len(rows))
        for number, row in enumerate(rows):
            off = row - self._mean
            scale = np.sqrt(self._variance)
            result[number] = np.max(np.where(scale > 0, np.abs(off) / np.where(scale > 0, scale, 1.0), 0.0))
            self._mean = self._mean + ALPHA * off
            self._variance = (1.0 - ALPHA) * (self._variance + ALPHA * off**2)
        return result


PEERS: dict[str, type[PlainForest] | type[ClusterDistance] | type[MovingAverage]] = {
    "isolation forest": PlainForest,
    "k-means, as netdata": ClusterDistance,
    "ewma z": MovingAverage,
}


def over_series(peer: type[PlainForest] | type[ClusterDistance] | type[MovingAverage], values: Floats) -> Floats:
    """Score a series of which no part is known before, causally: fitted to the rows so far, again as they grow."""
    rows = values[:, None]
    result = np.zeros(len(rows))
    done = min(FIRST_ROWS, len(rows))
    while done < len(rows):
        upto = min(int(done * GROWTH) + 1, len(rows))
        lead = min(done, LAGS + 2)
        result[done:upto] = peer().fit(rows[:done]).score(rows[done - lead : upto])[lead:]
        done = upto
    return result
