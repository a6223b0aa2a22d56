"""How far a host's metrics are from moving together as they do: the residual of a principal component analysis.

Each metric is measured in its own standard deviations, in full as far as three and by their logarithm beyond: one
metric that leaps must not drown all others. Each row is seen with means and standard deviations over the last few
rows. What the components of the training rows do not explain is the row's residual: its energy says how strange, and an
Isolation Forest on its parts says whether the mixture is odd although the sum is not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from collectors_dagster.frames import Floats

EXPLAINED = 0.9
"""Share of the variance that components are taken for."""
FLOOR = 0.05
"""Least standard deviation, as a part of the metric's range: what hardly moves must not be loud when it does."""
LINEAR = 3.0
"""Standard deviations that count in full; beyond, their logarithm."""
SEEN_FLOOR = 0.5
"""Least standard deviation of what is seen of a row, in standard deviations of the metric."""
TREES, SAMPLES = 100, 256
USUAL_ROWS = 5000
"""Training rows, evenly spread, that say what the two answers usually are."""
SCALES: tuple[tuple[int, ...], ...] = ((5, 30), (3, 10, 60))
"""Rows of the windows, of two views whose answers are added."""
CONTEXT_ROWS = max(max(scales) for scales in SCALES)


@dataclass(frozen=True, slots=True)
class View:
    """One choice of windows, fitted."""

    windows: tuple[int, ...]
    centre: Floats
    scale: Floats
    components: Floats
    energy: float
    forest: IsolationForest
    usual: tuple[float, float]
    spread: tuple[float, float]

    @classmethod
    def fit(cls, standard: Floats, windows: tuple[int, ...], keep: NDArray[np.bool_], seed: int) -> "View":
        """Learn from standardised rows, shape (n, m), of which `keep` are used."""
        seen = seen_with(standard, windows)[keep]
        centre, scale = seen.mean(axis=0), np.maximum(seen.std(axis=0), SEEN_FLOOR)
        centred = (seen - centre) / scale
        variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        order = np.argsort(-variances)
        share = np.cumsum(variances[order]) / max(float(variances.sum()), 1e-12)
        components = vectors[:, order[: int(np.searchsorted(share, EXPLAINED)) + 1]]
        squares = (centred - centred @ components @ components.T) ** 2
        energy = max(float(squares.sum(axis=1).mean()), 1e-12)
        parts = np.log1p(squares)
        forest = IsolationForest(
            n_estimators=TREES, max_samples=min(SAMPLES, len(parts)), random_state=seed, n_jobs=1
        ).fit(parts)
        some = np.linspace(0, len(parts) - 1, min(USUAL_ROWS, len(parts))).astype(np.int64)
        answers = (np.log1p(squares.sum(axis=1) / energy), -forest.score_samples(parts[some]))
        usual = [float(np.median(answer)) for answer in answers]
        spread = [
            max(float(np.quantile(answer, 0.99)) - middle, 1e-6) for answer, middle in zip(answers, usual, strict=True)
        ]
        return cls(windows, centre, scale, components, energy, forest, (usual[0], usual[1]), (spread[0], spread[1]))

    def strangeness(self, standard: Floats, first: int) -> Floats:
        """Return how strange the rows from `first` on are; those before are their context."""
        centred = (seen_with(standard, self.windows)[first:] - self.centre) / self.scale
        squares = (centred - centred @ self.components @ self.components.T) ** 2
        loud = np.log1p(squares.sum(axis=1) / self.energy)
        odd = -self.forest.score_samples(np.log1p(squares))
        return np.asarray((loud - self.usual[0]) / self.spread[0] + (odd - self.usual[1]) / self.spread[1])


@dataclass(frozen=True, slots=True)
class WindowedResidual:
    """A host's model: what its metrics are like, and how they move together.

    Attributes
    ----------
    centre, scale : shape (m,)
        Mean and floored standard deviation of the training rows.
    """

    centre: Floats
    scale: Floats
    views: tuple[View, ...]

    @classmethod
    def fit(cls, values: Floats, keep: NDArray[np.bool_], *, seed: int) -> "WindowedResidual":
        """Learn.

        Parameters
        ----------
        values : shape (n, m)
            Rows in the order of time; NaN where nothing was measured.
        keep : shape (n,)
            Rows to learn from; the others are context only.
        """
        used = values[keep]
        with np.errstate(invalid="ignore"):
            centre = np.nan_to_num(np.nanmean(used, axis=0))
            span = np.nan_to_num(np.nanmax(used, axis=0) - np.nanmin(used, axis=0))
            deviation = np.nan_to_num(np.nanstd(used, axis=0))
        scale = np.maximum(deviation, FLOOR * np.where(span > 0, span, np.abs(centre)))
        scale = np.where(scale > 0, scale, 1.0)
        standard = _standardised(values, centre, scale)
        return cls(centre, scale, tuple(View.fit(standard, windows, keep, seed) for windows in SCALES))

    def strangeness(self, values: Floats, first: int) -> Floats:
        """Return how strange the rows from `first` on are; larger is stranger."""
        standard = _standardised(values, self.centre, self.scale)
        return np.asarray(sum(view.strangeness(standard, first) for view in self.views))

    def deviations(self, values: Floats) -> Floats:
        """Return each metric's distance from its mean in standard deviations."""
        return np.asarray((values - self.centre) / self.scale)


def seen_with(standard: Floats, windows: tuple[int, ...]) -> Floats:
    """Return the rows with trailing means and standard deviations, shape (n, m * (1 + 2 * len(windows)))."""
    return np.hstack([standard, *(part for rows in windows for part in _trailing(standard, rows))])


def _trailing(values: Floats, rows: int) -> tuple[Floats, Floats]:
    zero = np.zeros((1, values.shape[1]))
    sums, squares = (np.vstack([zero, np.cumsum(what, axis=0)]) for what in (values, values**2))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - rows, 0)
    count = (end - start)[:, None]
    mean = (sums[end] - sums[start]) / count
    return mean, np.sqrt(np.maximum((squares[end] - squares[start]) / count - mean**2, 0.0))


def _standardised(values: Floats, centre: Floats, scale: Floats) -> Floats:
    """Return compressed standard deviations from the mean; what is unknown counts as usual."""
    return LINEAR * np.arcsinh(np.nan_to_num((values - centre) / scale, nan=0.0) / LINEAR)
