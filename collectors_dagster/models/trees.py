"""Many decision trees as arrays: grown by scikit-learn, asked and stored by us.

scikit-learn walks tree by tree, so that one row costs as much as sixty; its objects need a serialiser that builds
types; and whoever only asks would import all of it. Here all trees are walked at once, and a forest is a few arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats

_ROWS_AT_ONCE = 512


class GrownTree(Protocol):
    """What is read of a tree of scikit-learn (``tree_`` of an estimator); children of a leaf are -1."""

    node_count: int
    max_depth: int
    children_left: NDArray[np.int64]
    children_right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Floats


@dataclass(frozen=True, slots=True)
class Trees:
    """Trees of equal room, shape (trees, nodes) each; a leaf is its own child.

    Attributes
    ----------
    feature : column that a node looks at
    threshold : up to which a row goes left
    children : shape (trees, nodes, 2)
        Node it goes to left and right, counted over all trees.
    depth : int
        Steps after which every row is at a leaf.
    """

    feature: NDArray[np.int32]
    threshold: Floats
    children: NDArray[np.int32]
    depth: int

    @classmethod
    def of(cls, trees: Sequence[GrownTree]) -> "Trees":
        """Return scikit-learn's trees as arrays: they lead every row to the same leaves."""
        room = max(tree.node_count for tree in trees)
        itself = np.tile(np.arange(room, dtype=np.int32), (len(trees), 1))
        feature, left, right = np.zeros_like(itself), itself.copy(), itself.copy()
        threshold = np.full(itself.shape, np.inf)
        for number, tree in enumerate(trees):
            inner = np.flatnonzero(tree.children_left >= 0)
            feature[number, inner] = tree.feature[inner]
            threshold[number, inner] = _lowered(tree.threshold[inner])
            left[number, inner], right[number, inner] = tree.children_left[inner], tree.children_right[inner]
        first = (np.arange(len(trees), dtype=np.int32) * room)[:, None]
        children = np.stack([left + first, right + first], axis=2)
        return cls(feature, threshold, children, max(tree.max_depth for tree in trees))

    def spread(self, parts: Sequence[Floats]) -> Floats:
        """Return what each tree says of its nodes, shape (nodes, ...), as one array of shape (trees, nodes, ...)."""
        trees, room = self.feature.shape
        told = np.zeros((trees, room, *parts[0].shape[1:]))
        for number, part in enumerate(parts):
            told[number, : len(part)] = part
        return told

    def mean(self, rows: Floats, told: Floats) -> Floats:
        """Return the mean over the trees of what is `told` of the leaf of each row.

        Parameters
        ----------
        rows : shape (n, columns)
        told : shape (trees, nodes, ...)

        Returns
        -------
        shape (n, ...)
        """
        flat = told.reshape(-1, *told.shape[2:])
        starts = range(0, len(rows), _ROWS_AT_ONCE)
        parts = [flat[self._leaves(rows[start : start + _ROWS_AT_ONCE])].mean(axis=1) for start in starts]
        return np.concatenate(parts) if parts else np.empty((0, *told.shape[2:]))

    def _leaves(self, rows: Floats) -> NDArray[np.int64]:
        """Return the node, counted over all trees, at which each row ends in each tree, shape (n, trees)."""
        trees, room = self.feature.shape
        feature, threshold, children = self.feature.ravel(), self.threshold.ravel(), self.children.ravel()
        values, columns = rows.astype(np.float32).astype(np.float64).ravel(), rows.shape[1]
        row_start = (np.arange(len(rows)) * columns)[:, None]
        at = np.repeat((np.arange(trees) * room)[None, :], len(rows), axis=0)
        for _ in range(self.depth):
            goes_right = values.take(row_start + feature.take(at)) > threshold.take(at)
            at = children.take(2 * at + goes_right)
        return at

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return what goes to an array file, under names that begin with `name`."""
        return {f"{name}_{part}": getattr(self, part) for part in ("feature", "threshold", "children")}

    @classmethod
    def stored(cls, depth: int, arrays: Mapping[str, NDArray[Any]], name: str) -> "Trees":
        """Return the trees that :meth:`arrays` describe."""
        feature, threshold, children = (arrays[f"{name}_{part}"] for part in ("feature", "threshold", "children"))
        return cls(feature, threshold, children, depth)


def _lowered(thresholds: Floats) -> Floats:
    """Return the largest number of 32 bits up to each: rows are of 32 bits, so that none goes another way."""
    rounded = thresholds.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > thresholds, below, rounded).astype(np.float64)
