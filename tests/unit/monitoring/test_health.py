"""Health says how well a host is, why not better, and nothing where nothing is known."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import SignalFrame
from collectors_dagster.monitoring.health import SATURATION, group_of, judge
from collectors_dagster.records import Contribution, ForecastPoint, HealthReport, ModelState, ScoredMinute
from tests.support.histories import quiet_host, with_values

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = 1440


def with_signal(frame: SignalFrame, signal: str, level: float | np.ndarray) -> SignalFrame:
    values = frame.values.copy()
    values[:, SIGNALS.index(signal)] = level
    return with_values(frame, values)


def judged(
    frame: SignalFrame,
    scores: Sequence[ScoredMinute] = (),
    forecast: Sequence[ForecastPoint] = (),
    age: float | None = 10.0,
) -> HealthReport:
    return judge("quiet-1", NOW, frame, scores, forecast, last_sample_age_seconds=age)


def anomalous(minutes_ago: int, signal: str, score: float = 0.97, state: ModelState = ModelState.READY) -> ScoredMinute:
    cause = Contribution(signal, 0.9, 0.0, 0.2, 20.0)
    return ScoredMinute("quiet-1", NOW - timedelta(minutes=minutes_ago), score, state, "1", (cause,))


def expected(signal: str, hours: float, mean: float, low80: float) -> ForecastPoint:
    at = NOW + timedelta(hours=hours)
    return ForecastPoint("quiet-1", signal, NOW, at, mean, low80, mean, low80, mean)


def test_a_quiet_host_is_wholly_healthy() -> None:
    report = judged(quiet_host(30))
    assert (report.score, report.reasons) == (100, ())


def test_without_data_health_is_unknown_and_says_why() -> None:
    nothing = with_values(quiet_host(5), np.full((5, len(SIGNALS)), np.nan))
    for report in (judged(nothing), judged(quiet_host(5), age=None), judged(quiet_host(5), age=3600.0)):
        assert report.score is None
        assert "unknown" in report.reasons[0].text
        assert report.recommendations == ()


def test_stale_data_cost_health_before_they_make_it_unknown() -> None:
    fresh, late, later = (judged(quiet_host(5), age=age).score for age in (60.0, 300.0, 1500.0))
    assert fresh == 100
    assert late is not None
    assert later is not None
    assert 100 > late > later > 0


@pytest.mark.parametrize("signal", list(SATURATION))
def test_every_saturated_signal_is_named(signal: str) -> None:
    rule = SATURATION[signal]
    report = judged(with_signal(quiet_host(30), signal, rule.full))
    assert report.score == round(100 * (1 - rule.most))
    assert report.reasons[0].group == rule.group
    assert report.reasons[0].text.startswith(rule.words)


@given(st.sampled_from(list(SATURATION)), st.floats(0, 1), st.floats(0, 1))
def test_more_load_is_never_healthier(signal: str, one: float, other: float) -> None:
    low, high = sorted([one, other])
    frame = quiet_host(20)
    better, worse = (judged(with_signal(frame, signal, level)).score for level in (low, high))
    assert better is not None
    assert worse is not None
    assert better >= worse


def test_only_the_last_quarter_of_an_hour_counts() -> None:
    level = np.zeros(60)
    level[:40] = 1.0
    assert judged(with_signal(quiet_host(60), "cpu_utilization_ratio", level)).score == 100


def test_the_three_worst_groups_are_shown_worst_first() -> None:
    frame = quiet_host(30)
    for signal, level in (
        ("cpu_utilization_ratio", 0.9),
        ("memory_used_ratio", 0.98),
        ("filesystem_used_ratio", 0.99),
    ):
        frame = with_signal(frame, signal, level)
    report = judged(frame, [anomalous(1, "network_receive_bytes_per_second")])
    assert [reason.group for reason in report.reasons] == ["disk", "memory", "cpu"]
    assert sorted((reason.penalty for reason in report.reasons), reverse=True) == [
        reason.penalty for reason in report.reasons
    ]


def test_anomalies_cost_health_in_the_group_that_caused_them_and_fade() -> None:
    new = judged(quiet_host(30), [anomalous(ago, "network_receive_bytes_per_second") for ago in (0, 1, 2)])
    old = judged(quiet_host(30), [anomalous(ago, "network_receive_bytes_per_second") for ago in (12, 13, 14)])
    gone = judged(quiet_host(30), [anomalous(16, "network_receive_bytes_per_second")])
    assert new.reasons[0].group == "network"
    assert "3 anomalous minutes" in new.reasons[0].text
    assert new.score is not None
    assert old.score is not None
    assert new.score < old.score < 100
    assert gone.score == 100


def test_scores_that_would_not_alert_cost_nothing() -> None:
    assert judged(quiet_host(30), [anomalous(1, "load_per_cpu", score=0.89)]).score == 100


def test_a_young_model_is_said_to_be_young() -> None:
    report = judged(quiet_host(30), [anomalous(1, "load_per_cpu", state=ModelState.LEARNING)])
    assert "learning" in report.reasons[0].text


def test_what_is_expected_soon_costs_half_and_what_is_far_nothing() -> None:
    near = judged(quiet_host(30), forecast=[expected("memory_used_ratio", 2, 0.98, 0.9)])
    far = judged(quiet_host(30), forecast=[expected("memory_used_ratio", 9, 0.98, 0.9)])
    assert near.score == 70
    assert "expected in 2 h" in near.reasons[0].text
    assert far.score == 100


def test_an_older_forecast_is_not_believed_any_more() -> None:
    old = replace(expected("memory_used_ratio", 2, 0.98, 0.9), issued_at=NOW - timedelta(hours=6))
    assert judged(quiet_host(30), forecast=[old, expected("memory_used_ratio", 2, 0.4, 0.3)]).score == 100


def kinds(report: HealthReport) -> set[str]:
    return {one.kind for one in report.recommendations}


def test_nothing_is_advised_from_less_than_a_day() -> None:
    assert kinds(judged(quiet_host(DAY - 1))) == set()


def test_an_idle_host_may_be_smaller_and_the_evidence_is_shown() -> None:
    [advice] = judged(quiet_host(2 * DAY)).recommendations
    assert advice.kind == "downsize"
    assert "95 % of 2880 minutes" in advice.evidence
    assert 0.0 < advice.confidence < 0.5
    [surer] = judged(quiet_host(14 * DAY)).recommendations
    assert surer.confidence > advice.confidence


def test_tight_memory_is_told() -> None:
    assert "memory" in kinds(judged(with_signal(quiet_host(2 * DAY), "memory_used_ratio", 0.95)))


def test_a_filling_disk_is_told_with_the_day_it_is_full() -> None:
    growth = 0.70 + 0.02 * np.arange(3 * DAY) / DAY  # two percent a day from 70 %
    report = judged(with_signal(quiet_host(3 * DAY), "filesystem_used_ratio", growth))
    [advice] = [one for one in report.recommendations if one.kind == "disk-full"]
    assert "in about 12 days" in advice.text
    assert "2.0% a day" in advice.evidence


@pytest.mark.parametrize("per_day", [0.0, -0.02, 0.0001])
def test_a_disk_that_does_not_fill_is_not_told(per_day: float) -> None:
    level = 0.70 + per_day * np.arange(3 * DAY) / DAY
    assert "disk-full" not in kinds(judged(with_signal(quiet_host(3 * DAY), "filesystem_used_ratio", level)))


def test_a_peak_is_told_only_if_even_its_low_end_hurts() -> None:
    sure, unsure = (expected("cpu_utilization_ratio", 5, 0.9, low) for low in (0.85, 0.6))
    busy = with_signal(quiet_host(DAY), "cpu_utilization_ratio", 0.5)
    assert kinds(judged(busy, forecast=[sure])) == {"peak"}
    assert kinds(judged(busy, forecast=[unsure])) == set()


def test_every_signal_belongs_to_a_group() -> None:
    assert {group_of(signal) for signal in SIGNALS} == {"cpu", "memory", "disk", "network"}
