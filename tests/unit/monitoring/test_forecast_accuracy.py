"""A forecast is judged when what it speaks of has come, and only then."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import SignalFrame
from collectors_dagster.monitoring.forecast_accuracy import judge_forecasts
from collectors_dagster.records import ForecastPoint
from tests.support.histories import CPU, instant, quiet_host, with_values


def flat(minutes: int, level: float) -> SignalFrame:
    frame = quiet_host(minutes)
    values = np.full(frame.values.shape, np.nan)
    values[:, CPU] = level
    return with_values(frame, values)


def point(at: datetime, mean: float, half: float) -> ForecastPoint:
    edges = (mean - half, mean + half, mean - 2 * half, mean + 2 * half)
    return ForecastPoint("quiet-1", SIGNALS[CPU], at - timedelta(hours=1), at, mean, *edges)


def test_errors_and_intervals_are_judged_by_the_mean_of_ten_minutes() -> None:
    frame = flat(60, 0.5)
    frame.values[50:60:2, CPU] = 0.4  # mean of the last ten minutes: 0.45
    points = [point(instant(frame, 59), 0.40, 0.03), point(instant(frame, 40), 0.5, 0.01)]
    [judged] = judge_forecasts(points, [frame])
    assert judged.due == 2
    assert judged.accuracy == pytest.approx(1 - 0.05 / 0.95)
    assert (judged.held80, judged.held95) == (0.5, 1.0)


def test_what_has_not_come_or_is_of_nobody_is_not_judged() -> None:
    frame = flat(60, 0.5)
    later = instant(frame) + timedelta(hours=2)
    assert judge_forecasts([point(later, 0.5, 0.1)], [frame]) == []
    assert judge_forecasts([point(instant(frame), 0.5, 0.1)], []) == []
    assert judge_forecasts([point(datetime(2020, 1, 1, tzinfo=UTC), 0.5, 0.1)], [frame]) == []


@pytest.mark.parametrize(("said", "accuracy"), [(0.0, 1.0), (0.2, 0.0)])
def test_nothing_that_was_said_to_be_nothing_is_right(said: float, accuracy: float) -> None:
    frame = flat(60, 0.0)
    [judged] = judge_forecasts([point(instant(frame), said, 0.1)], [frame])
    assert judged.accuracy == accuracy
