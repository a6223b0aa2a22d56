"""A trained model comes with all that a person needs to judge it, however little was known."""

import struct

import numpy as np
import pytest

from collectors_dagster.errors import InsufficientDataError
from collectors_dagster.features.feature_set import VERSION
from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.models.gates import LEAST_STATE
from collectors_dagster.models.training import train_detector, train_forecaster
from collectors_dagster.records import ModelPackage
from tests.support.histories import quiet_host, with_values

DAY = 1440
MOST_BYTES = 24_000


def packages(minutes: int) -> tuple[ModelPackage, ModelPackage]:
    frames = {"quiet-1": [quiet_host(minutes)]}
    return train_detector("aurora", frames, seed=0).package, train_forecaster("aurora", frames, seed=0).package


def is_picture(png: bytes) -> bool:
    width, height = struct.unpack(">II", png[16:24])
    return png.startswith(b"\x89PNG") and width > 300 and height > 100 and len(png) < MOST_BYTES


@pytest.mark.parametrize("minutes", [1, 90, 4 * DAY])
def test_every_package_is_complete(minutes: int) -> None:
    for package in packages(minutes):
        assert package.plots
        assert all(is_picture(png) for png in package.plots.values())
        assert package.tags["feature_set"] == VERSION
        assert package.tags["rows"] == str(minutes)
        assert package.metrics["training_rows"] == minutes
        assert all(np.isfinite(value) for value in package.metrics.values())
        assert 1 <= len(package.example["host"]) <= 5
        assert "aurora" in package.card
        assert "quiet-1" in package.card


def test_the_digest_names_the_history_and_nothing_else() -> None:
    anomaly, forecast = packages(30)
    assert anomaly.data == forecast.data
    assert anomaly.tags["dataset_digest"] == anomaly.data.digest
    changed = quiet_host(30)
    changed.values[20, 0] += 0.001
    other = train_detector("aurora", {"quiet-1": [changed]}, seed=1).package.data
    renamed = train_detector("aurora", {"quiet-2": [quiet_host(30, host="quiet-2")]}, seed=1).package.data
    assert len({anomaly.data.digest, other.digest, renamed.digest}) == 3


def test_the_signals_that_decide_are_drawn() -> None:
    package, _ = packages(90)
    assert "importance.png" in package.plots


def test_the_card_says_how_young_a_model_is() -> None:
    young, _ = packages(30)
    grown, _ = packages(4 * DAY)
    assert "learning" in young.card
    assert "own training rows" in young.card
    assert "a day it had not seen" in grown.card
    assert (young.metrics[LEAST_STATE], grown.metrics[LEAST_STATE]) == (0.0, 2.0)


def test_one_host_of_two_decides_how_much_is_known() -> None:
    frames = {"a": [quiet_host(3 * DAY, host="a")], "b": [quiet_host(30, host="b")]}
    package = train_detector("aurora", frames, seed=0).package
    assert package.tags["state"] == "learning"
    assert package.metrics["hosts"] == 2.0


def test_no_measured_minute_is_refused_with_the_remedy() -> None:
    nothing = with_values(quiet_host(5), np.full((5, len(SIGNALS)), np.nan))
    for train in (train_detector, train_forecaster):
        with pytest.raises(InsufficientDataError, match="let the agent run"):
            train("aurora", {"quiet-1": [nothing]}, seed=0)


def test_a_host_without_a_minute_does_not_stop_the_others() -> None:
    nothing = with_values(quiet_host(5, host="b"), np.full((5, len(SIGNALS)), np.nan))
    frames = {"a": [quiet_host(90, host="a")], "b": [nothing]}
    assert train_detector("aurora", frames, seed=0).package.metrics["hosts"] == 1.0
    assert train_forecaster("aurora", frames, seed=0).package.metrics["hosts"] == 1.0
