"""Bundles are read only if they are ours, and build only what we allow."""

import json
import operator
import pickle
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import IsolationForest, RandomForestRegressor

from collectors_dagster.errors import ModelError
from collectors_dagster.models import bundle
from collectors_dagster.models.anomaly import HostDetector, TenantDetector
from collectors_dagster.models.forecast import TenantForecaster
from collectors_dagster.models.serving import Rows, ServedDetector, columns_of, frames_of
from tests.support.histories import quiet_host


class Intruder:
    """A type that no model of ours holds."""

    def __init__(self) -> None:
        self.command = "harm"


def test_a_foreign_type_is_not_built(tmp_path: Path) -> None:
    path = tmp_path / "forest.skops"
    skops.io.dump(Intruder(), path)
    with pytest.raises(ModelError, match="Intruder"):
        bundle.read_forest(path)


def estimator(module: str, name: str) -> object:
    return getattr(import_module(f"sklearn.{module}"), name)()


@pytest.mark.parametrize(
    "stranger",
    [
        estimator("linear_model", "LinearRegression"),
        estimator("preprocessing", "FunctionTransformer"),
        np.exp,
        operator.methodcaller("x"),
    ],
    ids=["estimator", "transformer", "function", "call"],
)
def test_what_skops_would_build_unasked_is_not_built_either(tmp_path: Path, stranger: object) -> None:
    path = tmp_path / "forest.skops"
    skops.io.dump(stranger, path)
    with pytest.raises(ModelError, match="no model of ours holds"):
        bundle.read_forest(path)


def test_a_known_name_on_a_node_that_calls_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "forest.skops"
    schema = {
        "__class__": "ndarray",
        "__module__": "numpy",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "system"},
        "protocol": 2,
    }
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("schema.json", json.dumps(schema))
    with pytest.raises(ModelError, match=r"numpy\.ndarray"):
        bundle.read_forest(path)


@pytest.mark.parametrize("content", [b"", b"PK", pickle.dumps({"a": 1})])
def test_what_is_no_forest_is_refused_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "forest.skops").write_bytes(content)
    with pytest.raises(ModelError, match="train and register"):
        bundle.read_forest(tmp_path / "forest.skops")


@pytest.mark.parametrize("forest", [IsolationForest, RandomForestRegressor])
def test_forests_of_ours_come_back_as_they_were(tmp_path: Path, forest: type) -> None:
    rows = np.random.default_rng(0).random((64, 3))
    fitted = forest(n_estimators=3, random_state=0).fit(rows, rows[:, 0])
    bundle.write_forest(tmp_path / "forest.skops", fitted)
    again = bundle.read_forest(tmp_path / "forest.skops")
    np.testing.assert_array_equal(again.predict(rows), fitted.predict(rows))


@pytest.mark.parametrize("content", ["", "{}", '{"kind": "anomaly", "format": 99}', "[1]"])
def test_what_is_no_bundle_is_refused_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / bundle.MANIFEST).write_text(content)
    with pytest.raises(ModelError, match="train"):
        TenantDetector.load(tmp_path)


def test_a_bundle_of_another_kind_is_refused(tmp_path: Path) -> None:
    TenantForecaster.fit({"quiet-1": [quiet_host(30)]}, seed=0).save(tmp_path)
    with pytest.raises(ModelError, match="kind"):
        TenantDetector.load(tmp_path)


def test_no_file_of_a_bundle_is_pickle(tmp_path: Path) -> None:
    frames = {"quiet-1": [quiet_host(3 * 1440)]}
    TenantDetector.fit(frames, seed=0).save(tmp_path / "detector")
    TenantForecaster.fit(frames, seed=0).save(tmp_path / "forecaster")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".npz", ".skops"}
    for path in files:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                assert all(stored[name].dtype != np.dtype(object) for name in stored.files)
        if path.suffix == ".json":
            json.loads(path.read_text())


def test_a_tenant_bundle_knows_its_hosts_and_serves_strangers(tmp_path: Path) -> None:
    frames = {name: [quiet_host(90, host=name)] for name in ("web/1", "täst ..")}
    TenantDetector.fit(frames, seed=0).save(tmp_path / "b")
    again = TenantDetector.load(tmp_path / "b", "12")
    assert set(again.detectors) == set(frames)
    assert again.detector("web/1").version == "12"
    assert again.detector("stranger").version == "12"
    assert again.detector("stranger").state.value == "learning"
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["bundle.json", "host-0", "host-1"]


def test_served_rows_equal_the_detectors_scores() -> None:
    frame = quiet_host(5, first=90)
    model = TenantDetector.fit({"quiet-1": [quiet_host(90)]}, seed=0)
    served = Rows(ServedDetector(model)).predict(pd.DataFrame(columns_of(frame)))
    direct = model.detector("quiet-1").score(frame, None)
    assert list(served["anomaly_score"]) == [one.score for one in direct]
    assert list(served["state"]) == ["provisional"] * 5


def test_rows_of_several_hosts_may_be_mixed_and_unsorted() -> None:
    one, two = columns_of(quiet_host(2, host="a")), columns_of(quiet_host(2, host="b"))
    mixed = {name: [two[name][1], one[name][1], two[name][0], one[name][0]] for name in one}
    frames = frames_of(mixed)
    assert [frame.host for frame in frames] == ["a", "b"]
    np.testing.assert_array_equal(frames[1].values, quiet_host(2, host="b").values)


def test_rows_without_host_or_time_are_refused() -> None:
    with pytest.raises(ModelError, match="timestamp"):
        frames_of({"host": ["a"]})


def test_an_empty_detector_is_a_bundle_too(tmp_path: Path) -> None:
    TenantDetector({}).save(tmp_path)
    assert TenantDetector.load(tmp_path).detector("x").state is HostDetector.untrained("x").state
