"""Frames are joined on one axis of minutes."""

from datetime import UTC, datetime, timedelta

import numpy as np

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import Timeline, joined
from collectors_dagster.frames import SignalFrame
from collectors_dagster.records import Window
from tests.support.histories import CPU, cut, quiet_host


def test_gaps_become_unknown_minutes() -> None:
    frame = quiet_host(10)
    timeline = joined([cut(frame, 0, 3), cut(frame, 6)], days=1)
    assert len(timeline) == 10
    assert list(timeline.measured) == [True] * 3 + [False] * 3 + [True] * 4


def test_order_of_frames_in_time_does_not_matter() -> None:
    frame = quiet_host(10)
    np.testing.assert_array_equal(
        joined([cut(frame, 5), cut(frame, 0, 5)], days=1).values, joined([frame], days=1).values
    )


def test_the_later_frame_wins_but_does_not_erase() -> None:
    frame = quiet_host(2)
    correction = SignalFrame("quiet-1", frame.ts, ("cpu_utilization_ratio",), np.array([[0.9], [np.nan]]))
    timeline = joined([frame, correction], days=1)
    assert timeline.values[0, CPU] == 0.9
    assert timeline.values[1, CPU] == frame.values[1, CPU]


def test_infinities_are_unknown() -> None:
    frame = SignalFrame("x", quiet_host(1).ts, ("load_per_cpu",), np.array([[np.inf]]))
    assert np.isnan(joined([frame], days=1).values).all()


def test_only_the_last_days_are_kept() -> None:
    timeline = joined([quiet_host(3 * 1440)], days=2)
    assert len(timeline) == 2 * 1440
    assert joined([], days=2).values.shape == (0, len(SIGNALS))


def test_an_incident_covers_every_minute_it_touches() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    timeline = Timeline(int(start.timestamp()) // 60 + 1, np.ones((6, len(SIGNALS))))  # minutes that end 00:01..00:06
    window = Window(start + timedelta(minutes=1, seconds=30), start + timedelta(minutes=3))
    assert list(timeline.covered([window])) == [False, True, True, False, False, False]
    assert np.isnan(timeline.without([window]).values[1:3]).all()


def test_an_incident_outside_the_history_covers_nothing() -> None:
    timeline = joined([quiet_host(5)], days=1)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert not timeline.covered([Window(long_ago, long_ago + timedelta(hours=1))]).any()
