"""Bundles are read only if they are ours, and build only what we allow."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collectors_dagster.errors import ModelError
from collectors_dagster.models import bundle
from collectors_dagster.models.anomaly import HostDetector, TenantDetector
from collectors_dagster.models.forecast import TenantForecaster
from collectors_dagster.models.serving import Rows, ServedDetector, columns_of, frames_of
from tests.support.histories import quiet_host


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
    assert {path.suffix for path in files} == {".json", ".npz"}
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
