"""What the agent remembers of its sampling."""

from array import array
from bisect import bisect_left
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.observed import REMEMBERED_SWEEPS, Histogram, Observed, Snapshot
from collectors_dagster.collectors.runner import NAN, Column, Sweep, Tally
from collectors_dagster.samples import Kind, Metric

LOAD = Column("load", Metric("load1", Kind.GAUGE, "processes", ""))
DISK_A = Column("disk", Metric("disk_reads_total", Kind.COUNTER, "operations", ""), (("device", "a"),))
DISK_B = Column("disk", Metric("disk_reads_total", Kind.COUNTER, "operations", ""), (("device", "b"),))
BOTH = (LOAD, DISK_A)


def sweep(columns: tuple[Column, ...], *values: float) -> Sweep:
    return Sweep(columns, array("d", values))


def shown(snapshot: Snapshot) -> dict[Column, float | None]:
    return {
        column: None if isnan(value) else value for column, value in zip(snapshot.columns, snapshot.values, strict=True)
    }


@pytest.fixture
def tallies() -> dict[str, Tally]:
    return {"load": Tally(), "disk": Tally(interval_seconds=10.0)}


def test_a_collector_that_was_not_due_keeps_its_newest_value(tallies: dict[str, Tally]) -> None:
    observed = Observed(0.0)
    tallies["load"].readings = tallies["disk"].readings = 1
    observed.swept(sweep(BOTH, 1.0, 50.0), tallies, 1.0, 0.001, 0)
    tallies["load"].readings = 2
    observed.swept(sweep(BOTH, 2.0, NAN), tallies, 2.0, 0.001, 0)
    assert shown(observed.snapshot(tallies, 2.5, 1.0)) == {LOAD: 2.0, DISK_A: 50.0}


def test_a_value_too_old_for_its_interval_is_not_shown(tallies: dict[str, Tally]) -> None:
    observed = Observed(0.0)
    tallies["load"].readings = tallies["disk"].readings = 1
    observed.swept(sweep(BOTH, 1.0, 50.0), tallies, 1.0, 0.001, 0)
    assert shown(observed.snapshot(tallies, 4.0, 1.0)) == {LOAD: None, DISK_A: 50.0}
    assert shown(observed.snapshot(tallies, 27.0, 1.0)) == {LOAD: None, DISK_A: None}


def test_a_reading_that_failed_takes_the_old_value_away(tallies: dict[str, Tally]) -> None:
    observed = Observed(0.0)
    for readings, value in ((1, 50.0), (2, NAN)):
        tallies["load"].readings = tallies["disk"].readings = readings
        observed.swept(sweep(BOTH, 1.0, value), tallies, float(readings), 0.001, 0)
    assert shown(observed.snapshot(tallies, 2.0, 1.0))[DISK_A] is None


def test_new_series_of_one_collector_leave_the_others_as_they_were(tallies: dict[str, Tally]) -> None:
    observed = Observed(0.0)
    tallies["load"].readings = tallies["disk"].readings = 1
    observed.swept(sweep((DISK_A, LOAD), 50.0, 1.0), tallies, 1.0, 0.001, 0)
    tallies["disk"].readings = 2
    observed.swept(sweep((DISK_A, DISK_B, LOAD), 51.0, 7.0, NAN), tallies, 2.0, 0.001, 0)
    assert shown(observed.snapshot(tallies, 2.0, 1.0)) == {DISK_A: 51.0, DISK_B: 7.0, LOAD: 1.0}


def test_the_spool_refuses_only_while_sweeps_are_lost(tallies: dict[str, Tally]) -> None:
    observed = Observed(0.0)
    told = []
    for lost in (0, 1, 2, 2):
        observed.swept(sweep(BOTH, 1.0, 2.0), tallies, 1.0, 0.001, lost)
        told.append(observed.spool_refuses)
    assert told == [False, True, True, False]


def test_a_minute_is_remembered_and_no_more(tallies: dict[str, Tally]) -> None:
    observed = Observed(0.0)
    for tenth in range(1000):
        observed.swept(sweep(BOTH, tenth, 1.0), tallies, tenth / 10, 0.001, 0)
    history = list(observed.history(frozenset({"load1"})))
    assert len(history) == REMEMBERED_SWEEPS
    (newest, seen), (oldest, _) = history[-1], history[0]
    assert [(column, round(value)) for column, value in seen] == [(LOAD, round(10 * newest))]
    assert newest >= 99
    assert newest - oldest == pytest.approx(REMEMBERED_SWEEPS - 1, rel=0.15)


@given(st.lists(st.floats(0, 5)))
def test_a_histogram_counts_everything_once(values: list[float]) -> None:
    bounds = (0.1, 1.0, 2.5)
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    *below, total = histogram.cumulative()
    assert total == len(values)
    assert below == [sum(bisect_left(bounds, value) <= place for value in values) for place in range(len(bounds))]
    assert below == [sum(value <= bound for value in values) for bound in bounds]
    assert histogram.sum == pytest.approx(sum(values))
