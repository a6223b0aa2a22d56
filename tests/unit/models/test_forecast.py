"""Forecasts use nothing of the future, say what they do not know, and their intervals hold."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import SignalFrame
from collectors_dagster.models.cells import FORECAST_SIGNALS, STEPS
from collectors_dagster.models.forecast import DEFAULT_HORIZONS, HostForecaster
from collectors_dagster.records import ForecastPoint, ModelState
from tests.support.histories import CPU, cut, instant, quiet_host, with_values

DAY = 1440


def rhythmic(minutes: int, *, seed: int = 0) -> SignalFrame:
    """Return a host whose load swings by day between 10 and 70 %."""
    frame = quiet_host(minutes, seed=seed)
    values = frame.values.copy()
    noise = np.random.default_rng(seed).normal(0, 0.02, minutes)
    values[:, CPU] = 0.4 - 0.3 * np.cos(2 * np.pi * np.arange(minutes) / DAY) + noise
    return with_values(frame, values)


def of_cpu(points: list[ForecastPoint]) -> list[ForecastPoint]:
    return [one for one in points if one.signal == "cpu_utilization_ratio"]


def test_a_daily_rhythm_is_foreseen() -> None:
    whole = rhythmic(8 * DAY)
    present = 7 * DAY - 1
    forecaster = HostForecaster.fit([cut(whole, 0, present + 1)], seed=0)
    for point in of_cpu(forecaster.forecast(None, instant(whole, present), [60, 360, 720, 1400])):
        row = present + round((point.ts - instant(whole, present)) / timedelta(minutes=1))
        actual = whole.values[row - 9 : row + 1, CPU].mean()
        assert point.mean == pytest.approx(actual, abs=0.08)


def test_intervals_hold_as_often_as_they_say() -> None:
    forecaster = HostForecaster.fit([rhythmic(14 * DAY)], seed=0)
    outlook = forecaster.outlook()
    assert outlook is not None
    column = FORECAST_SIGNALS.index("cpu_utilization_ratio")
    assert np.abs(outlook.outlook.coverage()[0, column] - 0.80).max() < 0.08
    assert np.abs(outlook.outlook.coverage()[1, column] - 0.95).max() < 0.05


def test_what_comes_later_changes_no_forecast() -> None:
    whole = rhythmic(5 * DAY)
    forecaster = HostForecaster.fit([cut(whole, 0, 3 * DAY)], seed=0)
    present = 4 * DAY
    upto, beyond = cut(whole, 3 * DAY, present + 1), cut(whole, 3 * DAY)
    issued = instant(whole, present)
    assert forecaster.forecast(beyond, issued) == forecaster.forecast(upto, issued)


def test_training_on_the_future_is_not_used_for_the_past() -> None:
    """A forecast issued inside the training's span uses only the minutes before it."""
    whole = rhythmic(3 * DAY)
    forecaster = HostForecaster.fit([whole], seed=0)
    changed = whole.values.copy()
    changed[2 * DAY :, CPU] = 0.99
    other = HostForecaster.fit([with_values(whole, changed)], seed=0)
    issued = instant(whole, DAY)
    assert forecaster.forecast(None, issued) == other.forecast(None, issued)


@pytest.mark.parametrize("minutes", [1, 45, 200, DAY, 3 * DAY])
def test_points_are_ordered_bounded_and_nested(minutes: int) -> None:
    frame = quiet_host(minutes)
    points = HostForecaster.fit([frame], seed=0).forecast(None, instant(frame))
    assert [one.signal for one in points[:: len(DEFAULT_HORIZONS)]] == list(FORECAST_SIGNALS)
    for one in points:
        assert 0.0 <= one.low95 <= one.low80 <= one.mean <= one.high80 <= one.high95
        assert one.high95 <= 1.0 or not one.signal.endswith("_ratio")
        assert one.ts > one.issued_at


def test_a_minute_of_history_gives_wide_intervals_and_says_learning() -> None:
    frame = quiet_host(1)
    forecaster = HostForecaster.fit([frame], seed=0)
    [point] = of_cpu(forecaster.forecast(None, instant(frame), [60]))
    assert forecaster.state is ModelState.LEARNING
    assert point.high95 - point.low95 > 0.9
    assert point.mean == pytest.approx(frame.values[0, CPU])


def test_horizons_never_observed_are_wider_than_observed_ones() -> None:
    frame = quiet_host(300)
    points = of_cpu(HostForecaster.fit([frame], seed=0).forecast(None, instant(frame), [10, 1440]))
    assert points[1].high95 - points[1].low95 > 2 * (points[0].high95 - points[0].low95)


def test_signals_never_measured_are_left_out() -> None:
    frame = quiet_host(3 * DAY)
    values = np.full(frame.values.shape, np.nan)
    values[:, CPU] = frame.values[:, CPU]
    points = HostForecaster.fit([with_values(frame, values)], seed=0).forecast(None, instant(frame))
    assert {one.signal for one in points} == {"cpu_utilization_ratio"}


def test_gaps_do_not_stop_a_forecast() -> None:
    frame = rhythmic(4 * DAY)
    values = frame.values.copy()
    values[DAY : DAY + 300] = np.nan
    values[-30:] = np.nan
    forecaster = HostForecaster.fit([with_values(frame, values)], seed=0)
    for point in of_cpu(forecaster.forecast(None, instant(frame))):
        assert np.isfinite([point.mean, point.low95, point.high95]).all()


def test_an_unknown_host_is_forecast_from_the_history_given() -> None:
    frame = quiet_host(120)
    assert HostForecaster.untrained("new").forecast(frame, instant(frame)) != []
    assert HostForecaster.untrained("new").forecast(None, instant(frame)) == []


def test_the_forest_is_an_expert_after_two_days_and_never_hurts() -> None:
    frame = rhythmic(6 * DAY)
    with_forest = HostForecaster.fit([frame], seed=0).outlook()
    without = HostForecaster.untrained("quiet-1").outlook(frame)
    assert with_forest is not None
    assert without is not None
    column = FORECAST_SIGNALS.index("cpu_utilization_ratio")
    assert np.isfinite(with_forest.outlook.forest[-1, column]).all()
    ours, theirs = (np.abs(one.outlook.backtest.miss[4 * DAY // 10 :, column]) for one in (with_forest, without))
    for step in range(len(STEPS)):
        assert np.nanmean(ours[:, step]) < 1.1 * np.nanmean(theirs[:, step])


def test_a_past_walked_once_is_asked_at_any_of_its_hours() -> None:
    """The answer inside a longer history is the one that the history up to then gives."""
    whole = rhythmic(5 * DAY)
    known = HostForecaster.untrained("quiet-1")
    for present in (DAY - 1, 2 * DAY - 1, 4 * DAY + 60 * 7 - 1):
        assert instant(whole, present).minute % 10 == 0
        alone = HostForecaster.untrained("quiet-1").forecast(cut(whole, 0, present + 1), instant(whole, present))
        assert known.forecast(whole, instant(whole, present)) == alone


def test_hours_of_silence_are_part_of_the_horizon() -> None:
    frame = rhythmic(4 * DAY)
    later = instant(frame) + timedelta(hours=6)
    point = of_cpu(HostForecaster.fit([frame], seed=0).forecast(None, later, [60]))[0]
    assert point.mean == pytest.approx(0.4 - 0.3 * np.cos(2 * np.pi * 7 / 24), abs=0.1)
    assert HostForecaster.fit([frame], seed=0).forecast(None, later + timedelta(days=8), [60]) == []


@pytest.mark.parametrize("minutes", [30, 3 * DAY])
def test_a_saved_forecaster_says_the_same(tmp_path: Path, minutes: int) -> None:
    frame = rhythmic(minutes)
    forecaster = HostForecaster.fit([frame], seed=0)
    forecaster.save(tmp_path / "one")
    again = HostForecaster.load(tmp_path / "one")
    assert again.forecast(None, instant(frame)) == forecaster.forecast(None, instant(frame))
    assert again.state is forecaster.state


def test_forecast_signals_are_signals() -> None:
    assert set(FORECAST_SIGNALS) <= set(SIGNALS)


def test_trust_is_shown_with_what_was_observed() -> None:
    frame = rhythmic(6 * DAY)
    forecaster = HostForecaster.fit([frame], seed=0)
    trust = forecaster.trust(None, instant(frame))["cpu_utilization_ratio"]
    assert 0.5 < trust.confidence <= 1.0
    assert abs(trust.held80 - 0.8) < 0.1
    young = HostForecaster.fit([quiet_host(1)], seed=0).trust(None, instant(quiet_host(1)))["cpu_utilization_ratio"]
    assert np.isnan([young.confidence, young.held80, young.held95]).all()
    assert HostForecaster.untrained("new").trust(None, instant(frame)) == {}


def test_the_days_of_a_training_are_walked_through_once() -> None:
    """Whatever part of them is handed in as history."""
    whole = rhythmic(4 * DAY)
    forecaster = HostForecaster.fit([whole], seed=0)
    first = forecaster.outlook(cut(whole, DAY, 2 * DAY))
    forecaster.forecast(cut(whole, 0, 3 * DAY), instant(whole, 3 * DAY - 1))
    assert forecaster.outlook(None) is first


def test_a_model_of_before_serves_without_its_forest(tmp_path: Path) -> None:
    frame = rhythmic(3 * DAY)
    HostForecaster.fit([frame], seed=0).save(tmp_path / "one")
    manifest = tmp_path / "one" / "bundle.json"
    words = json.loads(manifest.read_text())
    words = {**words, "kind": "host-forecaster", "units": [1.0 if one else None for one in words.pop("forests")]}
    manifest.write_text(json.dumps(words))
    assert HostForecaster.load(tmp_path / "one").forecast(None, instant(frame))
