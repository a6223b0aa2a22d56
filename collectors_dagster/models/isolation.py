"""An Isolation Forest as arrays: fitted by scikit-learn, asked and stored by us.

scikit-learn walks tree by tree, so that one row costs as much as sixty, and its object needs a serialiser that builds
types. Here all trees are walked at once, and the forest is four arrays. The scores are scikit-learn's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from collectors_dagster.frames import Floats
from collectors_dagster.models.bundle import as_stored

TREES, SAMPLES = 50, 256
_ROWS_AT_ONCE = 512
_EULER = 0.5772156649


@dataclass(frozen=True, slots=True)
class IsolationTrees:
    """Trees of equal room, shape (trees, nodes) each; a leaf is its own child.

    Attributes
    ----------
    feature : column that a node looks at
    threshold : up to which a row goes left
    children : shape (trees, nodes, 2)
        Node it goes to left and right, counted over all trees.
    length : splits that isolated what ended here (Liu, Ting, Zhou, ICDM 2008)
    depth : int
        Steps after which every row is at a leaf.
    usual : float
        Splits that isolate a row of the sample on average.
    """

    feature: NDArray[np.int32]
    threshold: Floats
    children: NDArray[np.int32]
    length: Floats
    depth: int
    usual: float

    @classmethod
    def fit(cls, rows: Floats, *, seed: int) -> "IsolationTrees":
        """Learn from rows, shape (n, m)."""
        samples = min(SAMPLES, len(rows))
        forest = IsolationForest(n_estimators=TREES, max_samples=samples, random_state=seed, n_jobs=1).fit(rows)
        trees = [one.tree_ for one in forest.estimators_]
        room = max(tree.node_count for tree in trees)
        itself = np.tile(np.arange(room, dtype=np.int32), (len(trees), 1))
        feature, left, right = np.zeros_like(itself), itself.copy(), itself.copy()
        threshold, length = np.full(itself.shape, np.inf), np.zeros(itself.shape)
        for number, tree in enumerate(trees):
            inner = np.flatnonzero(tree.children_left >= 0)
            feature[number, inner] = tree.feature[inner]
            threshold[number, inner] = tree.threshold[inner]
            left[number, inner], right[number, inner] = tree.children_left[inner], tree.children_right[inner]
            length[number, : tree.node_count] = _depths(left[number], right[number])[: tree.node_count] + _path(
                tree.n_node_samples.astype(np.float64)
            )
        depth = max(tree.max_depth for tree in trees)
        usual = max(float(_path(np.array([float(samples)]))[0]), 1.0)
        first = (np.arange(len(trees), dtype=np.int32) * room)[:, None]
        children = np.stack([left + first, right + first], axis=2)
        return cls(feature, as_stored(threshold), children, as_stored(length), depth, usual)

    def strangeness(self, rows: Floats) -> Floats:
        """Return 0..1 for each row, shape (n,): scikit-learn's ``-score_samples``."""
        parts = [self._walked(rows[start : start + _ROWS_AT_ONCE]) for start in range(0, len(rows), _ROWS_AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _walked(self, rows: Floats) -> Floats:
        trees, room = self.feature.shape
        feature, threshold, children = self.feature.ravel(), self.threshold.ravel(), self.children.ravel()
        values, columns = rows.astype(np.float32).astype(np.float64).ravel(), rows.shape[1]
        row_start = (np.arange(len(rows)) * columns)[:, None]
        at = np.repeat((np.arange(trees) * room)[None, :], len(rows), axis=0)
        for _ in range(self.depth):
            goes_right = values.take(row_start + feature.take(at)) > threshold.take(at)
            at = children.take(2 * at + goes_right)
        mean = self.length.ravel().take(at).mean(axis=1)
        return np.asarray(2.0 ** (-mean / self.usual))

    def words(self) -> dict[str, float]:
        """Return what goes to a JSON file."""
        return {"depth": self.depth, "usual": self.usual}

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return what goes to an array file, under names that begin with `name`."""
        return {f"{name}_{part}": getattr(self, part) for part in ("feature", "threshold", "children", "length")}

    @classmethod
    def stored(cls, words: Mapping[str, float], arrays: Mapping[str, NDArray[Any]], name: str) -> "IsolationTrees":
        """Return the forest that :meth:`words` and :meth:`arrays` describe."""
        feature, threshold, children, length = (
            arrays[f"{name}_{part}"] for part in ("feature", "threshold", "children", "length")
        )
        return cls(feature, threshold, children, length, int(words["depth"]), float(words["usual"]))


def _depths(left: NDArray[np.int32], right: NDArray[np.int32]) -> Floats:
    """Return each node's distance from the root; parents come before their children."""
    depths = np.zeros(len(left))
    for node in np.flatnonzero(left != np.arange(len(left))):
        depths[left[node]] = depths[right[node]] = depths[node] + 1.0
    return depths


def _path(samples: Floats) -> Floats:
    """Return how many more splits would isolate one of so many, on average."""
    many = np.maximum(samples, 2.0)
    length = 2.0 * (np.log(np.maximum(many - 1.0, 1.0)) + _EULER) - 2.0 * (many - 1.0) / many
    return np.asarray(np.where(samples <= 1, 0.0, np.where(samples <= 2, 1.0, length)))
