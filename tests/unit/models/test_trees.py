"""Trees as arrays say what scikit-learn's say, and are the same after they were stored."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest, RandomForestRegressor

from collectors_dagster.models.isolation import SAMPLES, TREES, IsolationTrees
from collectors_dagster.models.trees import Trees


@dataclass
class Stump:
    """A tree of one question."""

    threshold: NDArray[np.float64]
    node_count: int = 3
    max_depth: int = 1
    children_left: NDArray[np.int64] = field(default_factory=lambda: np.array([1, -1, -1]))
    children_right: NDArray[np.int64] = field(default_factory=lambda: np.array([2, -1, -1]))
    feature: NDArray[np.int64] = field(default_factory=lambda: np.array([0, -2, -2]))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("depth", [1, 8, None])
def test_a_regression_forest_answers_as_before(outputs: int, depth: int | None) -> None:
    random = np.random.default_rng(outputs)
    rows, asked = random.random((300, 4)), random.random((1_200, 4))
    wanted = random.random((300, outputs))
    forest = RandomForestRegressor(n_estimators=7, max_depth=depth, random_state=0)
    forest.fit(rows, wanted[:, 0] if outputs == 1 else wanted)
    grown = [one.tree_ for one in forest.estimators_]
    trees = Trees.of(grown)
    told = trees.spread([tree.value[:, :, 0] for tree in grown])
    np.testing.assert_allclose(trees.mean(asked, told), forest.predict(asked).reshape(-1, outputs), rtol=1e-12)


@given(st.floats(-1e30, 1e30))
def test_a_row_goes_where_its_threshold_of_64_bits_would_send_it(threshold: float) -> None:
    """Thresholds lie between numbers of 32 bits, rows are such numbers: rounded to the nearest, one would err."""
    nearest = np.float32(threshold)
    rows = np.array([np.nextafter(nearest, np.float32(-np.inf)), nearest, np.nextafter(nearest, np.float32(np.inf))])
    trees = Trees.of([Stump(np.array([threshold, -2.0, -2.0]))])
    stored = trees.threshold.astype(np.float32).astype(np.float64)
    again = replace(trees, threshold=stored)
    told = trees.spread([np.array([[0.0], [1.0], [2.0]])])
    expected = np.where(rows.astype(np.float64) <= threshold, 1.0, 2.0)
    np.testing.assert_array_equal(again.mean(rows[:, None].astype(np.float64), told).ravel(), expected)


def test_no_row_is_no_answer() -> None:
    rows = np.random.default_rng(0).random((20, 2))
    forest = RandomForestRegressor(n_estimators=2, random_state=0).fit(rows, rows)
    trees = Trees.of([one.tree_ for one in forest.estimators_])
    told = trees.spread([one.tree_.value[:, :, 0] for one in forest.estimators_])
    assert trees.mean(np.empty((0, 2)), told).shape == (0, 2)


def test_an_isolation_forest_answers_as_before() -> None:
    random = np.random.default_rng(5)
    rows, asked = random.normal(size=(1_000, 6)), random.normal(size=(700, 6)) * 3.0
    forest = IsolationForest(n_estimators=TREES, max_samples=SAMPLES, random_state=3, n_jobs=1).fit(rows)
    ours = IsolationTrees.fit(rows, seed=3)
    np.testing.assert_allclose(ours.strangeness(asked), -forest.score_samples(asked), rtol=1e-6)
