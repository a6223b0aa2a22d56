"""Trees as arrays say what scikit-learn's say, and are the same after they were stored."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest, RandomForestRegressor

from collectors_dagster.models import bundle
from collectors_dagster.models.isolation import SAMPLES, TREES, IsolationTrees
from collectors_dagster.models.trees import Trees


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


def test_rows_that_lie_exactly_on_a_threshold_go_where_they_went(tmp_path: Path) -> None:
    """Thresholds lie between two numbers of 32 bits, here between neighbours: rounded, half of them err."""
    below = (1.0 + np.random.default_rng(0).random(100)).astype(np.float32)  # nearer to zero they are not told apart
    above = np.nextafter(below, np.float32(3.0))
    for low, high in zip(below, above, strict=True):
        rows = np.array([[low], [high]])
        grown = [RandomForestRegressor(n_estimators=1, bootstrap=False).fit(rows, np.arange(2.0)).estimators_[0].tree_]
        trees = Trees.of(grown)
        bundle.write_arrays(tmp_path / "trees.npz", trees.arrays("t"))
        again = Trees.stored(trees.depth, bundle.read_arrays(tmp_path / "trees.npz"), "t")
        told = trees.spread([grown[0].value[:, :, 0]])
        assert again.mean(rows, told).ravel().tolist() == [0.0, 1.0]


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
