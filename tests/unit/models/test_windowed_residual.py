"""How metrics move together: found, the same in any unit and company, and the same after it was stored."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from collectors_dagster.frames import Floats
from collectors_dagster.models.bundle import read_arrays, write_arrays
from collectors_dagster.models.isolation import TREES, IsolationTrees
from collectors_dagster.models.windowed_residual import CONTEXT_ROWS, WindowedResidual

ROWS = 1500


def moving_together(rows: int = ROWS, seed: int = 0) -> Floats:
    random = np.random.default_rng(seed)
    load = 0.5 + 0.2 * np.sin(np.arange(rows) / 100)[:, None] + random.normal(0, 0.02, (rows, 1))
    return np.asarray(load * np.array([1.0, 2.0, 0.5, 3.0]) + random.normal(0, 0.01, (rows, 4)))


def fitted(values: Floats) -> WindowedResidual:
    return WindowedResidual.fit(values, np.ones(len(values), dtype=np.bool_), seed=0)


@pytest.fixture(scope="module")
def model() -> WindowedResidual:
    return fitted(moving_together())


def test_a_forest_as_arrays_scores_as_the_library_does() -> None:
    random = np.random.default_rng(1)
    rows, asked = random.normal(size=(700, 6)) ** 3, random.normal(size=(1100, 6)) ** 3
    theirs = IsolationForest(n_estimators=TREES, max_samples=256, random_state=4, n_jobs=1).fit(rows)
    np.testing.assert_allclose(IsolationTrees.fit(rows, seed=4).strangeness(asked), -theirs.score_samples(asked), 1e-6)


@pytest.mark.parametrize("rows", [1, 2, 3, 40])
def test_a_forest_of_few_rows_answers(rows: int) -> None:
    found = IsolationTrees.fit(np.arange(3.0 * rows).reshape(rows, 3), seed=0).strangeness(np.ones((2, 3)))
    assert np.isfinite(found).all()


def test_a_metric_that_leaves_the_others_is_strange_although_its_values_are_usual(model: WindowedResidual) -> None:
    values = moving_together(seed=1)
    values[1000:1030, 1] = values[1000:1030, 1].mean() - 0.5
    found = model.strangeness(values)
    assert found[1000:1030].max() > 2 * np.quantile(np.delete(found, slice(1000, 1090)), 0.99)


def test_a_row_is_as_strange_alone_as_among_others(model: WindowedResidual) -> None:
    values = moving_together(300, seed=2)
    together = model.strangeness(values)
    for row in (0, 5, 150, 299):
        start = max(row + 1 - CONTEXT_ROWS, 0)
        assert model.strangeness(values[start : row + 1], slice(-1, None))[0] == pytest.approx(together[row], abs=1e-6)


@pytest.mark.parametrize("unit", [1e-9, 1024.0, 1e12])
def test_units_do_not_matter(model: WindowedResidual, unit: float) -> None:
    values = moving_together(seed=3)
    factors = np.array([unit, 1.0, unit, 1.0])
    scaled = fitted(moving_together() * factors).strangeness(values * factors)
    np.testing.assert_allclose(scaled, model.strangeness(values), atol=2e-2)


def test_one_metric_that_leaps_a_thousandfold_does_not_drown_the_others(model: WindowedResidual) -> None:
    once, more = moving_together(200, seed=4), moving_together(200, seed=4)
    once[150, 0], more[150, 0] = 50.0, 50_000.0
    peak, drowned = (model.strangeness(one)[150] for one in (once, more))
    assert peak < drowned < 3 * peak


@pytest.mark.parametrize("column", [0, 3])
def test_constant_and_unknown_metrics_are_survived(column: int) -> None:
    for filling in (7.0, 0.0, np.nan):
        values = moving_together()
        values[:, column] = filling
        assert np.isfinite(fitted(values).strangeness(values)).all()


def test_a_stored_model_answers_as_before(model: WindowedResidual, tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", model.arrays("together"))
    words = json.loads(json.dumps(model.words()))
    again = WindowedResidual.stored(words, read_arrays(tmp_path / "a.npz"), "together")
    values = moving_together(seed=5)
    np.testing.assert_array_equal(again.strangeness(values), model.strangeness(values))
    np.testing.assert_array_equal(again.deviations(values), model.deviations(values))
