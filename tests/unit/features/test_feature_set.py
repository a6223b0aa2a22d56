"""Features are causal, of a bounded past, and the same in batch and stream."""

import numpy as np
import pytest

from collectors_dagster.features.feature_set import COLUMNS, FEATURES, LOOKBACK_MINUTES, VERSION, compute, levels
from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import Floats, SignalFrame
from tests.support.histories import CPU, cut, quiet_host, with_values


def feature(values: Floats, signal: str, name: str) -> Floats:
    return np.asarray(values[:, COLUMNS.index(f"{signal}__{name}")])


def holed(frame: SignalFrame, seed: int) -> SignalFrame:
    values = frame.values.copy()
    values[np.random.default_rng(seed).random(values.shape) < 0.1] = np.nan
    return with_values(frame, values)


def test_names_and_version_belong_together() -> None:
    frame = compute(None, quiet_host(3))
    assert frame.columns == COLUMNS
    assert len(COLUMNS) == len(SIGNALS) * len(FEATURES)
    assert frame.version == VERSION
    assert len(VERSION) == 12


def test_levels_give_the_signals_back() -> None:
    frame = holed(quiet_host(50), 1)
    again = levels(compute(None, frame))
    assert again.signals == SIGNALS
    np.testing.assert_array_equal(again.values, frame.values)


def test_rows_depend_on_nothing_after_them() -> None:
    frame = holed(quiet_host(4000), 2)
    whole = compute(cut(frame, 0, 3500), cut(frame, 3500))
    for length in (1, 2, 77, 499):
        part = compute(cut(frame, 0, 3500), cut(frame, 3500, 3500 + length))
        np.testing.assert_array_equal(part.values, whole.values[:length])


def test_minute_by_minute_equals_the_whole_day() -> None:
    frame = holed(quiet_host(3100), 3)
    whole = compute(cut(frame, 0, 3000), cut(frame, 3000))
    rows = [compute(cut(frame, 0, row), cut(frame, row, row + 1)).values for row in range(3000, 3100)]
    np.testing.assert_array_equal(np.vstack(rows), whole.values)


def test_history_beyond_the_look_back_changes_nothing() -> None:
    frame = holed(quiet_host(LOOKBACK_MINUTES + 500), 4)
    bounded = compute(cut(frame, 490, LOOKBACK_MINUTES + 490), cut(frame, LOOKBACK_MINUTES + 490))
    unbounded = compute(cut(frame, 0, LOOKBACK_MINUTES + 490), cut(frame, LOOKBACK_MINUTES + 490))
    np.testing.assert_array_equal(bounded.values, unbounded.values)


def test_normal_is_that_of_the_time_of_day_and_needs_two_days() -> None:
    frame = quiet_host(3 * 1440)
    values = frame.values.copy()
    values[:, CPU] = (np.arange(3 * 1440) % 1440) / 1440
    values[2 * 1440 + 100, CPU] = 0.9  # today differs
    features = compute(None, with_values(frame, values)).values
    normal = feature(features, "cpu_utilization_ratio", "normal")
    assert np.isnan(normal[: 2 * 1440 - 2]).all()
    assert normal[2 * 1440 + 100] == pytest.approx(100 / 1440)
    assert feature(features, "cpu_utilization_ratio", "residual")[2 * 1440 + 100] == pytest.approx(0.9 - 100 / 1440)


def test_gaps_are_counted_and_do_not_spread() -> None:
    frame = quiet_host(120)
    values = frame.values.copy()
    values[60:90, CPU] = np.nan
    features = compute(None, with_values(frame, values)).values
    assert feature(features, "cpu_utilization_ratio", "missing60")[89] == pytest.approx(0.5)
    assert np.isnan(feature(features, "cpu_utilization_ratio", "level")[89])
    assert np.isnan(feature(features, "cpu_utilization_ratio", "mean30")[89])
    assert np.isfinite(feature(features, "cpu_utilization_ratio", "mean30")[95])
    assert np.isfinite(feature(features, "cpu_utilization_ratio", "ema")[89])


def test_a_signal_that_is_never_measured_is_unknown_and_harmless() -> None:
    features = compute(None, quiet_host(100)).values  # this host has no swap
    assert np.isnan(feature(features, "swap_used_ratio", "ema")).all()
    assert (feature(features, "swap_used_ratio", "missing60") == 1.0).all()


def test_no_rows_give_no_rows() -> None:
    assert compute(None, cut(quiet_host(5), 5)).values.shape == (0, len(COLUMNS))
