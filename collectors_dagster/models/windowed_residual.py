"""How far a host's metrics are from moving together as they do: the residual of a principal component analysis.

Each metric is measured in its own standard deviations, in full as far as three and by their logarithm beyond: one
metric that leaps must not drown all others. Each row is seen with means and standard deviations over the last few
rows. What the components of the training rows do not explain is the row's residual: its energy says how strange, and an
Isolation Forest on its parts says whether the mixture is odd although the sum is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats
from collectors_dagster.models.bundle import as_stored
from collectors_dagster.models.isolation import IsolationTrees

EXPLAINED = 0.9
"""Share of the variance that components are taken for."""
FLOOR = 0.05
"""Least standard deviation, as a part of the metric's range: what hardly moves must not be loud when it does."""
LINEAR = 3.0
"""Standard deviations that count in full; beyond, their logarithm."""
SEEN_FLOOR = 0.5
"""Least standard deviation of what is seen of a row, in standard deviations of the metric."""
USUAL_ROWS = 5000
"""Training rows, evenly spread, that the forest samples and that say what the two answers usually are."""

Rows = slice | NDArray[np.int64]
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
    forest: IsolationTrees
    usual: tuple[float, float]
    spread: tuple[float, float]

    @classmethod
    def fit(cls, standard: Floats, windows: tuple[int, ...], keep: NDArray[np.bool_], seed: int) -> "View":
        """Learn from standardised rows, shape (n, m), of which `keep` are used."""
        seen = seen_with(standard, windows)[keep]
        centre, scale = as_stored(seen.mean(axis=0)), as_stored(np.maximum(seen.std(axis=0), SEEN_FLOOR))
        centred = (seen - centre) / scale
        variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        order = np.argsort(-variances)
        share = np.cumsum(variances[order]) / max(float(variances.sum()), 1e-12)
        components = as_stored(vectors[:, order[: int(np.searchsorted(share, EXPLAINED)) + 1]])
        squares = (centred - centred @ components @ components.T) ** 2
        energy = max(float(squares.sum(axis=1).mean()), 1e-12)
        some = np.linspace(0, len(squares) - 1, min(USUAL_ROWS, len(squares))).astype(np.int64)
        parts = np.log1p(squares[some])
        forest = IsolationTrees.fit(parts, seed=seed)
        answers = (np.log1p(squares.sum(axis=1) / energy), forest.strangeness(parts))
        usual = [float(np.median(answer)) for answer in answers]
        spread = [
            max(float(np.quantile(answer, 0.99)) - middle, 1e-6) for answer, middle in zip(answers, usual, strict=True)
        ]
        return cls(windows, centre, scale, components, energy, forest, (usual[0], usual[1]), (spread[0], spread[1]))

    def strangeness(self, standard: Floats, rows: Rows) -> Floats:
        """Return how strange some rows are; those before are their context."""
        centred = (seen_with(standard, self.windows)[rows] - self.centre) / self.scale
        squares = (centred - centred @ self.components @ self.components.T) ** 2
        loud = np.log1p(squares.sum(axis=1) / self.energy)
        odd = self.forest.strangeness(np.log1p(squares))
        return np.asarray((loud - self.usual[0]) / self.spread[0] + (odd - self.usual[1]) / self.spread[1])

    def words(self) -> dict[str, Any]:
        """Return what goes to a JSON file."""
        numbers = {"energy": self.energy, "usual": list(self.usual), "spread": list(self.spread)}
        return {"windows": list(self.windows), "forest": self.forest.words(), **numbers}

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return what goes to an array file, under names that begin with `name`."""
        own = {f"{name}_{part}": getattr(self, part) for part in ("centre", "scale", "components")}
        return own | self.forest.arrays(f"{name}_forest")

    @classmethod
    def stored(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], name: str) -> "View":
        """Return the view that :meth:`words` and :meth:`arrays` describe."""
        centre, scale, components = (arrays[f"{name}_{part}"] for part in ("centre", "scale", "components"))
        forest = IsolationTrees.stored(words["forest"], arrays, f"{name}_forest")
        usual, spread = ((float(one), float(other)) for one, other in (words["usual"], words["spread"]))
        windows = tuple(int(rows) for rows in words["windows"])
        return cls(windows, centre, scale, components, float(words["energy"]), forest, usual, spread)


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
        centre, deviation, span = (as_stored(one) for one in _moments(used))
        scale = np.maximum(deviation, FLOOR * np.where(span > 0, span, np.abs(centre)))
        scale = as_stored(np.where(scale > 0, scale, 1.0))
        standard = _standardised(values, centre, scale)
        return cls(centre, scale, tuple(View.fit(standard, windows, keep, seed) for windows in SCALES))

    def strangeness(self, values: Floats, rows: Rows = slice(None)) -> Floats:
        """Return how strange some rows of `values` are, larger is stranger; those before them are their context."""
        standard = _standardised(values, self.centre, self.scale)
        return np.asarray(sum(view.strangeness(standard, rows) for view in self.views))

    def deviations(self, values: Floats) -> Floats:
        """Return each metric's distance from its mean in standard deviations."""
        return np.asarray((values - self.centre) / self.scale)

    def words(self) -> list[dict[str, Any]]:
        """Return what goes to a JSON file."""
        return [view.words() for view in self.views]

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return what goes to an array file, under names that begin with `name`."""
        result: dict[str, NDArray[Any]] = {f"{name}_centre": self.centre, f"{name}_scale": self.scale}
        for number, view in enumerate(self.views):
            result |= view.arrays(f"{name}_view{number}")
        return result

    @classmethod
    def stored(cls, words: list[dict[str, Any]], arrays: Mapping[str, NDArray[Any]], name: str) -> "WindowedResidual":
        """Return the model that :meth:`words` and :meth:`arrays` describe."""
        views = tuple(View.stored(one, arrays, f"{name}_view{number}") for number, one in enumerate(words))
        return cls(arrays[f"{name}_centre"], arrays[f"{name}_scale"], views)


def seen_with(standard: Floats, windows: tuple[int, ...]) -> Floats:
    """Return the rows with trailing means and standard deviations, shape (n, m * (1 + 2 * len(windows)))."""
    return np.hstack([standard, *(part for rows in windows for part in _trailing(standard, rows))])


def _trailing(values: Floats, rows: int) -> tuple[Floats, Floats]:
    sums, squares = np.cumsum(values, axis=0), np.cumsum(values**2, axis=0)
    sums[rows:], squares[rows:] = sums[rows:] - sums[:-rows], squares[rows:] - squares[:-rows]
    count = np.minimum(np.arange(1, len(values) + 1), rows)[:, None]
    mean = sums / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0))


def _standardised(values: Floats, centre: Floats, scale: Floats) -> Floats:
    """Return compressed standard deviations from the mean; what is unknown counts as usual."""
    return LINEAR * np.arcsinh(np.nan_to_num((values - centre) / scale, nan=0.0) / LINEAR)


def _moments(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return each column's mean, standard deviation and range over what is known; zeros where nothing is."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    deviation = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count)
    high, low = np.where(known, values, -np.inf).max(axis=0), np.where(known, values, np.inf).min(axis=0)
    return mean, deviation, np.where(known.any(axis=0), high - low, 0.0)
