"""An Isolation Forest as arrays (Liu, Ting, Zhou, ICDM 2008). The scores are scikit-learn's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats
from collectors_dagster.models.bundle import as_stored
from collectors_dagster.models.trees import Trees

TREES, SAMPLES = 50, 256
_EULER = 0.5772156649


@dataclass(frozen=True, slots=True)
class IsolationTrees:
    """Trees that isolate rows.

    Attributes
    ----------
    length : shape (trees, nodes)
        Splits that isolated what ended here.
    usual : float
        Splits that isolate a row of the sample on average.
    """

    trees: Trees
    length: Floats
    usual: float

    @classmethod
    def fit(cls, rows: Floats, *, seed: int) -> "IsolationTrees":
        """Learn from rows, shape (n, m)."""
        from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - who only scores does not wait for it

        samples = min(SAMPLES, len(rows))
        forest = IsolationForest(n_estimators=TREES, max_samples=samples, random_state=seed, n_jobs=1).fit(rows)
        grown = [one.tree_ for one in forest.estimators_]
        trees = Trees.of(grown)
        lengths = [
            _depths(tree.children_left, tree.children_right) + _path(tree.n_node_samples.astype(np.float64))
            for tree in grown
        ]
        usual = max(float(_path(np.array([float(samples)]))[0]), 1.0)
        return cls(trees, as_stored(trees.spread(lengths)), usual)

    def strangeness(self, rows: Floats) -> Floats:
        """Return 0..1 for each row, shape (n,): scikit-learn's ``-score_samples``."""
        return np.asarray(2.0 ** (-self.trees.mean(rows, self.length) / self.usual))

    def words(self) -> dict[str, float]:
        """Return what goes to a JSON file."""
        return {"depth": self.trees.depth, "usual": self.usual}

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return what goes to an array file, under names that begin with `name`."""
        return {**self.trees.arrays(name), f"{name}_length": self.length}

    @classmethod
    def stored(cls, words: Mapping[str, float], arrays: Mapping[str, NDArray[Any]], name: str) -> "IsolationTrees":
        """Return the forest that :meth:`words` and :meth:`arrays` describe."""
        trees = Trees.stored(int(words["depth"]), arrays, name)
        return cls(trees, arrays[f"{name}_length"], float(words["usual"]))


def _depths(left: NDArray[np.int64], right: NDArray[np.int64]) -> Floats:
    """Return each node's distance from the root; parents come before their children, a leaf's are -1."""
    depths = np.zeros(len(left))
    for node in np.flatnonzero(left >= 0):
        depths[left[node]] = depths[right[node]] = depths[node] + 1.0
    return depths


def _path(samples: Floats) -> Floats:
    """Return how many more splits would isolate one of so many, on average."""
    many = np.maximum(samples, 2.0)
    length = 2.0 * (np.log(np.maximum(many - 1.0, 1.0)) + _EULER) - 2.0 * (many - 1.0) / many
    return np.asarray(np.where(samples <= 1, 0.0, np.where(samples <= 2, 1.0, length)))
