"""Incidents are not learned, until they are how the host is."""

from datetime import UTC, datetime, timedelta

import numpy as np

from collectors_dagster.features.timeline import joined
from collectors_dagster.frames import Floats
from collectors_dagster.models.acceptance import alerted, unlearned
from collectors_dagster.models.host_model import HeldOut
from collectors_dagster.records import Window
from tests.support.histories import quiet_host

START = datetime(2026, 11, 1, tzinfo=UTC)
WEEK = joined([quiet_host(7 * 1440)], days=14)


def found(surprise: Floats, finding: Floats | None = None) -> HeldOut:
    return HeldOut(np.zeros(len(surprise)) if finding is None else finding, surprise)


def incident(day: int, minute: int, *, lasting: int = 10) -> Window:
    start = START + timedelta(days=day, minutes=minute)
    return Window(start, start + timedelta(minutes=lasting))


def test_a_single_incident_is_not_learned() -> None:
    assert unlearned(WEEK, [incident(2, 600)]) == [incident(2, 600)]


def test_an_incident_of_three_days_at_the_same_time_is_a_habit() -> None:
    nightly = [incident(day, 120 + 4 * day) for day in (1, 2, 4)]
    once = incident(3, 900)
    assert unlearned(WEEK, [*nightly, once]) == [once]


def test_midnight_does_not_part_a_habit() -> None:
    nightly = [incident(1, 1438), incident(3, 0), incident(4, 5)]
    assert unlearned(WEEK, nightly) == []


def test_two_days_are_no_habit_yet() -> None:
    assert len(unlearned(WEEK, [incident(1, 120), incident(2, 120)])) == 2


def test_a_level_that_lasts_most_of_a_day_is_the_new_normal() -> None:
    shift = incident(6, 300, lasting=1140)
    assert unlearned(WEEK, [shift]) == []
    assert unlearned(WEEK, [incident(5, 300, lasting=600)]) != []


def test_alarming_minutes_become_windows_around_exactly_them() -> None:
    surprise = np.full(len(WEEK), np.nan)
    surprise[:50] = 0.5
    surprise[10:12] = 2.5
    surprise[40] = 9.0
    windows = alerted(WEEK, found(surprise), from_surprise=2.0)
    assert windows == [
        Window(START + timedelta(minutes=10), START + timedelta(minutes=12)),
        Window(START + timedelta(minutes=40), START + timedelta(minutes=41)),
    ]
    assert list(np.flatnonzero(WEEK.covered(windows))) == [10, 11, 40]


def test_minutes_close_together_are_one_exception() -> None:
    surprise = np.zeros(len(WEEK))
    surprise[[100, 103, 108]] = 3.0
    assert alerted(WEEK, found(surprise), from_surprise=2.0) == [
        Window(START + timedelta(minutes=100), START + timedelta(minutes=109))
    ]


def test_only_the_strongest_one_a_day_are_exceptions() -> None:
    """What happens every few hours is how the host is, however unusual each time looks."""
    surprise = np.zeros(len(WEEK))
    often = np.arange(200, len(WEEK), 100)
    surprise[often] = 2.1
    surprise[often[[3, 50]]] = 4.0
    starts = {window.start for window in alerted(WEEK, found(surprise), from_surprise=2.0)}
    assert len(starts) == 8
    assert {START + timedelta(minutes=int(row)) for row in often[[3, 50]]} <= starts


def test_too_many_alarming_minutes_are_no_exceptions() -> None:
    surprise = np.zeros(len(WEEK))
    surprise[:600] = 5.0
    assert alerted(WEEK, found(surprise), from_surprise=2.0) == []


def test_a_calm_history_has_no_exceptions() -> None:
    assert alerted(WEEK, found(np.full(len(WEEK), 1.9)), from_surprise=2.0) == []


def test_an_exception_reaches_as_far_as_it_stands_out() -> None:
    surprise, finding = np.zeros(len(WEEK)), np.zeros(len(WEEK))
    finding[2000:2200] = finding[4000:4100] = 1.5
    surprise[2190:2200] = 2.5
    whole = [Window(START + timedelta(minutes=2000), START + timedelta(minutes=2200))]
    assert alerted(WEEK, found(surprise, finding), from_surprise=2.0) == whole


def test_an_exception_that_would_take_a_notable_share_with_it_is_its_rarest_minutes() -> None:
    surprise, finding = np.zeros(len(WEEK)), np.zeros(len(WEEK))
    finding[2000:2600] = 1.5
    surprise[2590:2600] = 2.5
    rarest = [Window(START + timedelta(minutes=2590), START + timedelta(minutes=2600))]
    assert alerted(WEEK, found(surprise, finding), from_surprise=2.0) == rarest
