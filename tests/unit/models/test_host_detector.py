"""What people may rely on: load is noticed within a minute in every state, trifles are not, and scores are causal."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import SignalFrame
from collectors_dagster.models.evaluation import episodes
from collectors_dagster.models.host_detector import HostDetector
from collectors_dagster.records import ModelState, ScoredMinute, Window
from tests.support.histories import (
    CPU,
    MEMORY,
    SWAP,
    bursty_host,
    cut,
    instant,
    quiet_host,
    under_stress,
    with_values,
)

DAY = 1440
THRESHOLD = 0.9
STATES = {ModelState.LEARNING: 30, ModelState.PROVISIONAL: 150, ModelState.READY: 4 * DAY}


def fitted(minutes: int, *, hourly_job: bool = False) -> tuple[HostDetector, SignalFrame]:
    history = quiet_host(minutes, hourly_job=hourly_job)
    return HostDetector.fit([history], seed=0), history


def scores(minutes: list[ScoredMinute]) -> list[float]:
    return [one.score for one in minutes]


def saturated(frame: SignalFrame, signal: str, level: float) -> SignalFrame:
    values = frame.values.copy()
    values[:, SIGNALS.index(signal)] = level
    return with_values(frame, values)


@pytest.mark.parametrize("state", list(STATES))
def test_state_says_how_much_was_seen(state: ModelState) -> None:
    detector, _ = fitted(STATES[state])
    assert detector.state is state


@pytest.mark.parametrize("state", list(STATES))
@pytest.mark.parametrize("elapsed", [45, 50, 60])
def test_fully_loaded_processors_alert_before_the_minute_is_over(state: ModelState, elapsed: int) -> None:
    detector, history = fitted(STATES[state], hourly_job=True)
    [minute] = detector.score(under_stress(history, elapsed), history)
    assert minute.score >= THRESHOLD
    assert minute.contributions[0].signal == "cpu_utilization_ratio"
    assert {one.signal for one in minute.contributions[:3]} <= {
        "cpu_utilization_ratio",
        "pressure_cpu_ratio",
        "load_per_cpu",
    }


def test_a_day_after_start_load_alerts_although_starting_loaded_the_machine_too() -> None:
    """Setting the platform up is itself a few busy minutes: they must not become the normal."""
    history = quiet_host(200)
    values = history.values.copy()
    values[2:5, CPU] = 0.97
    history = with_values(history, values)
    detector = HostDetector.fit([history], seed=0)
    assert detector.score(under_stress(history, 50), history)[0].score >= THRESHOLD


@pytest.mark.parametrize("minutes", [150, DAY, 4 * DAY, 9 * DAY])
def test_an_hourly_job_of_fifteen_seconds_does_not_alert(minutes: int) -> None:
    detector, history = fitted(minutes, hourly_job=True)
    tomorrow = quiet_host(DAY, first=minutes, seed=1, hourly_job=True)
    assert max(scores(detector.score(tomorrow, history))) < THRESHOLD


def test_a_job_never_seen_before_that_takes_a_quarter_of_a_minute_does_not_alert() -> None:
    detector, history = fitted(4 * DAY)
    tomorrow = quiet_host(DAY, first=4 * DAY, seed=1, hourly_job=True)
    assert max(scores(detector.score(tomorrow, history))) < THRESHOLD


@pytest.mark.parametrize("minutes", [30, 150, 4 * DAY])
def test_quiet_minutes_score_low_and_explain_nothing(minutes: int) -> None:
    detector, history = fitted(minutes)
    scored = detector.score(quiet_host(600, first=minutes, seed=3), history)
    assert np.median(scores(scored)) < 0.3
    assert all(one.contributions == () for one in scored if one.score < 0.5)


@pytest.mark.parametrize(
    ("signal", "level"),
    [
        ("cpu_utilization_ratio", 0.86),
        ("memory_used_ratio", 0.975),
        ("filesystem_used_ratio", 0.99),
        ("swap_used_ratio", 0.95),
    ],
)
def test_physical_limits_speak_without_any_history(signal: str, level: float) -> None:
    detector = HostDetector.untrained("new")
    row = saturated(quiet_host(1), signal, level)
    [minute] = detector.score(row, None)
    assert minute.score >= THRESHOLD
    assert minute.state is ModelState.LEARNING
    assert minute.contributions[0].signal == signal
    assert minute.contributions[0].expected_high <= level


def test_a_host_that_always_computes_is_not_reported_for_it() -> None:
    history = saturated(quiet_host(4 * DAY), "cpu_utilization_ratio", 0.95)
    detector = HostDetector.fit([history], seed=0)
    tomorrow = saturated(quiet_host(60, first=4 * DAY, seed=2), "cpu_utilization_ratio", 0.95)
    assert max(scores(detector.score(tomorrow, history))) < THRESHOLD


def test_a_nightly_backup_is_normal_at_night_and_not_at_noon() -> None:
    history = quiet_host(8 * DAY)
    values = history.values.copy()
    at = np.arange(8 * DAY) % DAY
    backup = (at >= 120) & (at < 150)
    values[backup, CPU] = 0.8 + np.random.default_rng(0).normal(0, 0.02, backup.sum())
    history = with_values(history, values)
    detector = HostDetector.fit([cut(history, 0, 7 * DAY)], seed=0)
    night = detector.score(cut(history, 7 * DAY + 100, 7 * DAY + 160), None)
    assert max(scores(night)) < THRESHOLD
    noon = quiet_host(5, first=7 * DAY + 720, seed=4)
    assert max(scores(detector.score(saturated(noon, "cpu_utilization_ratio", 0.8), None))) >= THRESHOLD


def test_a_leak_is_noticed_before_memory_is_full() -> None:
    detector, history = fitted(4 * DAY)
    leak = quiet_host(120, first=4 * DAY, seed=5)
    values = leak.values.copy()
    values[:, MEMORY] += np.linspace(0, 0.5, 120)
    scored = detector.score(with_values(leak, values), history)
    first = next(one for one in scored if one.score >= THRESHOLD)
    assert first.contributions[0].signal == "memory_used_ratio"
    assert first.contributions[0].value < 0.75
    assert first.contributions[0].expected_high < 0.45


def test_scores_of_a_batch_equal_scores_row_by_row() -> None:
    detector, history = fitted(4 * DAY, hourly_job=True)
    current = quiet_host(90, first=4 * DAY, seed=6, hourly_job=True)
    values = current.values.copy()
    values[40:43, CPU] = 0.93
    values[41, :5] = np.nan
    current = with_values(current, values)
    together = detector.score(current, history)
    one_by_one = [
        minute
        for row in range(len(current.ts))
        for minute in detector.score(
            cut(current, row, row + 1),
            SignalFrame(
                "quiet-1",
                np.concatenate([history.ts, current.ts[:row]]),
                SIGNALS,
                np.vstack([history.values, current.values[:row]]),
            ),
        )
    ]
    assert one_by_one == together


@pytest.mark.parametrize("state", list(STATES))
def test_what_comes_later_changes_no_score(state: ModelState) -> None:
    detector, history = fitted(STATES[state])
    current = quiet_host(200, first=STATES[state], seed=7, hourly_job=True)
    whole = detector.score(current, history)
    for length in (1, 30, 140):
        assert detector.score(cut(current, 0, length), history) == whole[:length]


def test_the_same_data_and_seed_give_the_same_detector() -> None:
    current = quiet_host(DAY, first=3 * DAY, seed=8, hourly_job=True)
    first, again = (fitted(3 * DAY)[0].score(current, None) for _ in range(2))
    assert first == again


def test_a_saved_detector_scores_the_same(tmp_path: Path) -> None:
    for state, minutes in STATES.items():
        detector, history = fitted(minutes, hourly_job=True)
        detector.save(tmp_path / state.value)
        again = HostDetector.load(tmp_path / state.value, "7")
        current = saturated(quiet_host(30, first=minutes, seed=9), "cpu_utilization_ratio", 0.9)
        before, after = detector.score(current, history), again.score(current, history)
        assert scores(before) == scores(after)
        assert [one.contributions for one in before] == [one.contributions for one in after]
        assert {one.model_version for one in after} == {"7"}
        assert again.state is state


def test_minutes_without_any_value_are_not_scored() -> None:
    detector, history = fitted(150)
    current = quiet_host(5, first=150)
    values = current.values.copy()
    values[1:3] = np.nan
    scored = detector.score(with_values(current, values), history)
    assert [one.ts for one in scored] == [instant(current, row) for row in (0, 3, 4)]


def test_no_rows_give_no_scores() -> None:
    assert HostDetector.untrained("new").score(cut(quiet_host(1), 1), None) == []


@pytest.mark.parametrize("kept", [("cpu_utilization_ratio",), ("memory_used_ratio", "load_per_cpu")])
def test_a_tenant_with_few_sources_is_served_too(kept: tuple[str, ...]) -> None:
    whole = quiet_host(4 * DAY)
    values = np.full(whole.values.shape, np.nan)
    for name in kept:
        values[:, SIGNALS.index(name)] = whole.values[:, SIGNALS.index(name)]
    detector = HostDetector.fit([with_values(whole, values)], seed=0)
    current = saturated(with_values(cut(whole, 0, 20), values[:20]), kept[0], 0.99)
    current = SignalFrame("quiet-1", current.ts + np.timedelta64(4 * DAY * 60, "s"), SIGNALS, current.values)
    scored = detector.score(current, None)
    assert max(scores(scored)) >= THRESHOLD
    assert {one.signal for minute in scored for one in minute.contributions} <= set(kept)


def test_a_constant_host_is_not_anomalous_until_it_moves() -> None:
    constant = with_values(quiet_host(3 * DAY), np.full((3 * DAY, len(SIGNALS)), 0.25))
    detector = HostDetector.fit([constant], seed=0)
    same = SignalFrame("quiet-1", constant.ts[:10] + np.timedelta64(3 * DAY * 60, "s"), SIGNALS, constant.values[:10])
    assert max(scores(detector.score(same, None))) < 0.5
    assert max(scores(detector.score(saturated(same, "cpu_utilization_ratio", 0.75), None))) >= THRESHOLD


def test_incident_minutes_are_not_learned() -> None:
    history = quiet_host(4 * DAY)
    values = history.values.copy()
    busy = slice(3 * DAY, 3 * DAY + 120)
    values[busy, CPU] = 0.62 + np.random.default_rng(1).normal(0, 0.02, 120)
    history = with_values(history, values)
    incident = Window(instant(history, 3 * DAY) - timedelta(minutes=1), instant(history, 3 * DAY + 119))
    again = saturated(quiet_host(10, first=4 * DAY + 600, seed=2), "cpu_utilization_ratio", 0.62)
    masked = HostDetector.fit([history], seed=0, mask=[incident])
    assert min(scores(masked.score(again, None))) >= THRESHOLD


def test_what_a_person_called_normal_is_learned_whatever_else_is_said_of_it() -> None:
    history = quiet_host(4 * DAY)
    busy = slice(3 * DAY + 400, 3 * DAY + 430)
    history.values[busy, CPU] = 0.62 + np.random.default_rng(1).normal(0, 0.02, 30)
    window = Window(instant(history, busy.start) - timedelta(minutes=1), instant(history, busy.stop - 1))
    again = saturated(quiet_host(10, first=4 * DAY + 400, seed=2), "cpu_utilization_ratio", 0.62)
    told = HostDetector.fit([history], seed=0, mask=[window], normal=[window])
    found = HostDetector.fit([history], seed=0)
    assert max(scores(told.score(again, None))) < THRESHOLD <= max(scores(found.score(again, None)))


def test_a_detector_that_learned_more_is_the_one_that_learned_it_all() -> None:
    history = quiet_host(4 * DAY, hourly_job=True)
    updated = HostDetector.fit([cut(history, 0, 3 * DAY)], seed=0).update([cut(history, 3 * DAY)], seed=0)
    current = quiet_host(60, first=4 * DAY, seed=5, hourly_job=True)
    assert updated.score(current, None) == HostDetector.fit([history], seed=0).score(current, None)


@pytest.mark.parametrize("minutes", [150, 600, 7 * DAY])
def test_a_machine_that_people_work_on_alerts_rarely(minutes: int) -> None:
    """Bursts of all heights come every half hour; only what is rare among them may be told."""
    told = 0
    for seed in range(3):
        history = bursty_host(minutes, seed=seed)
        detector = HostDetector.fit([history], seed=0)
        six_hours = bursty_host(360, first=minutes, seed=seed + 50)
        told += episodes(np.array(scores(detector.score(six_hours, history))), THRESHOLD)
        assert detector.score(under_stress(history, 55), history)[0].score >= THRESHOLD
    assert told <= 9  # in 18 hours


def test_incidents_hidden_in_the_history_are_found_afterwards() -> None:
    """The first training knows of no incident, and must not take those of its own history for normal."""
    history = quiet_host(7 * DAY)
    flood = SIGNALS.index("network_receive_bytes_per_second")
    planted = [(3 * DAY + 500, CPU, 0.62), (5 * DAY + 900, MEMORY, 0.75), (6 * DAY + 100, flood, 3e7)]
    for start, signal, level in planted:
        history.values[start : start + 25, signal] = level
    again = HostDetector.fit([history], seed=0).score(history, None)
    alerting = {row for row, one in enumerate(again) if one.score >= THRESHOLD}
    assert alerting == {row for start, _, _ in planted for row in range(start, start + 25)}


def test_a_learning_host_never_says_critical() -> None:
    row = saturated(quiet_host(1), "cpu_utilization_ratio", 1.0)
    assert HostDetector.untrained("new").score(row, None)[0].score < 0.99


def test_a_time_of_day_nobody_knows_is_scored_as_provisional() -> None:
    detector, _ = fitted(4 * DAY)
    scored = detector.score(quiet_host(3, first=40 * DAY), None)
    assert {one.state for one in scored} == {ModelState.PROVISIONAL}
    assert detector.state is ModelState.READY


def test_swap_that_is_always_used_is_normal() -> None:
    values = quiet_host(4 * DAY).values.copy()
    values[:, SWAP] = 0.93
    history = with_values(quiet_host(4 * DAY), values)
    detector = HostDetector.fit([history], seed=0)
    tomorrow = saturated(quiet_host(30, first=4 * DAY), "swap_used_ratio", 0.93)
    assert max(scores(detector.score(tomorrow, None))) < THRESHOLD
