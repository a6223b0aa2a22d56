"""What a person says about an incident is heeded: for the like of it, and for nothing else."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.monitoring.feedback import LearntNormal, precision, said_of, training_windows
from collectors_dagster.records import (
    Contribution,
    Feedback,
    Incident,
    ModelState,
    ScoredMinute,
    Severity,
    Verdict,
    Window,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def cpu(value: float, deviation: float = 10.0, low: float = 0.05, high: float = 0.2) -> Contribution:
    return Contribution("cpu_utilization_ratio", value, low, high, deviation)


def traffic(value: float, deviation: float) -> Contribution:
    return Contribution("network_receive_bytes_per_second", value, 0.0, 1e6, deviation)


def verdict(*parts: Contribution, said: Verdict = Verdict.NORMAL, after: int = 0, host: str = "web-1") -> Feedback:
    return Feedback(
        host=host,
        opened_at=NOON,
        ended_at=NOON + timedelta(minutes=5),
        verdict=said,
        reason="the backup",
        said_by="ann",
        said_at=NOON + timedelta(hours=1, minutes=after),
        title="CPU utilization 60 %",
        contributions=parts,
        model_version="3",
    )


def minute(*parts: Contribution, hours: float = 24.0, host: str = "web-1") -> ScoredMinute:
    return ScoredMinute(host, NOON + timedelta(hours=hours), 0.97, ModelState.READY, "3", parts)


@pytest.mark.parametrize(
    ("seen", "covered"),
    [
        (minute(cpu(0.60)), True),
        (minute(cpu(0.30)), True),
        (minute(cpu(0.63)), True),  # a tenth of the way beyond
        (minute(cpu(0.70)), False),
        (minute(cpu(0.01)), False),  # it fell: that is something else
        (minute(cpu(0.60), host="web-2"), False),
        (minute(), False),
        (minute(cpu(0.60, 10), traffic(9e7, 9)), False),  # another signal as loud
        (minute(cpu(0.60, 10), traffic(2e6, 2)), True),  # one that hardly counts
        (minute(traffic(9e7, 9)), False),
        (minute(cpu(0.60), hours=0.05), False),  # the incident itself stays on record
        (minute(cpu(math.nan)), False),
    ],
)
def test_only_the_like_of_it_is_covered(seen: ScoredMinute, *, covered: bool) -> None:
    assert LearntNormal([verdict(cpu(0.60))]).covers(seen) is covered


def test_a_fall_that_is_normal_covers_falls() -> None:
    learnt = LearntNormal([verdict(cpu(0.01, low=0.4, high=0.6))])
    assert learnt.covers(minute(cpu(0.02, low=0.4, high=0.6)))
    assert not learnt.covers(minute(cpu(0.9, low=0.4, high=0.6)))


def test_of_several_verdicts_the_newest_decides() -> None:
    normal, real = verdict(cpu(0.6)), verdict(cpu(0.6), said=Verdict.REAL, after=5)
    assert not LearntNormal([normal, real]).covers(minute(cpu(0.5)))
    assert LearntNormal([replace(normal, said_at=NOON + timedelta(hours=9)), real]).covers(minute(cpu(0.5)))


@given(st.floats(0, 1), st.floats(0, 1))
def test_what_is_covered_is_never_much_worse_than_what_was_judged(judged: float, seen: float) -> None:
    covered = LearntNormal([verdict(cpu(judged))]).covers(minute(cpu(seen)))
    assert not covered or seen <= max(judged, 0.2) + 0.1
    assert covered or not 0.2 <= seen <= judged


def test_minutes_are_heeded_and_keep_everything_but_their_alarm() -> None:
    loud, other = minute(cpu(0.5)), minute(cpu(0.9))
    heeded = LearntNormal([verdict(cpu(0.6))]).heeded([loud, other])
    assert heeded == [replace(loud, score=0.0), other]


def incident(start: int, end: int | None) -> Incident:
    at = NOON + timedelta(minutes=start)
    return Incident(
        id=1,
        tenant_id="aurora",
        host="web-1",
        opened_at=at,
        updated_at=at,
        resolved_at=None if end is None else NOON + timedelta(minutes=end),
        severity=Severity.WARNING,
        peak_score=0.97,
        title="CPU utilization 60 %",
        contributions=(cpu(0.6),),
        model_version="3",
    )


def span(start: int, end: int) -> Window:
    return Window(NOON + timedelta(minutes=start), NOON + timedelta(minutes=end))


def test_a_training_learns_what_is_normal_and_never_what_was_real() -> None:
    incidents = [incident(-10, 20), incident(2, 4), incident(60, None)]
    windows = training_windows(incidents, [verdict(cpu(0.6))], NOON + timedelta(minutes=90))
    assert windows.masked == {"web-1": [span(-10, 0), span(5, 20), span(60, 90)]}
    assert (windows.normal, windows.real) == ({"web-1": [span(0, 5)]}, {})
    windows = training_windows([], [verdict(cpu(0.6), said=Verdict.REAL)], NOON)
    assert (windows.masked, windows.normal, windows.real) == ({}, {}, {"web-1": [span(0, 5)]})


CUTS = st.lists(st.tuples(st.integers(-20, 120), st.integers(0, 60)), max_size=6)


@given(CUTS)
def test_what_is_left_of_a_window_is_what_no_cut_holds(cuts: list[tuple[int, int]]) -> None:
    spans = [span(start, start + length) for start, length in cuts]
    left = span(0, 100).without(spans)
    for minute_ in range(100):
        at = NOON + timedelta(minutes=minute_, seconds=30)
        cut = any(one.start <= at < one.end for one in spans)
        assert any(one.start <= at < one.end for one in left) is not cut
    assert all(one.end > one.start for one in left)


def test_what_people_said_is_found_beside_stream_and_history() -> None:
    verdicts = [verdict(cpu(0.6)), verdict(cpu(0.6), said=Verdict.REAL, after=9)]
    assert said_of(incident(0, 5), verdicts[:1]) == "normal (ann: the backup)"
    assert said_of(incident(-3, 2), verdicts) == "real (ann: the backup)"
    assert said_of(incident(10, 12), verdicts) == ""


def test_precision_counts_what_people_said() -> None:
    verdicts = [verdict(said=Verdict.REAL), verdict(said=Verdict.REAL), verdict()]
    assert precision(verdicts) == {
        "feedback_real": 2.0,
        "feedback_normal": 1.0,
        "feedback_precision": pytest.approx(2 / 3),
    }
