from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.monitoring.incidents import HISTORY, IncidentTracker, group_incidents
from collectors_dagster.records import (
    Contribution,
    Incident,
    IncidentEventKind,
    ModelState,
    ScoredMinute,
    Severity,
)

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
OPENED, UPDATED, RESOLVED = IncidentEventKind.OPENED, IncidentEventKind.UPDATED, IncidentEventKind.RESOLVED


def part(signal: str = "cpu_utilization_ratio", deviation: float = 8.0) -> Contribution:
    return Contribution(signal, 0.62, 0.02, 0.31, deviation)


def saturated(value: float = 0.97) -> Contribution:
    return Contribution("cpu_utilization_ratio", value, 0.02, 0.31, 8.0)


def minute(
    seconds: float,
    score: float,
    *parts: Contribution,
    state: ModelState = ModelState.READY,
    host: str = "web-1",
) -> ScoredMinute:
    found = parts or ((part(),) if score >= 0.9 else ())
    return ScoredMinute(host, START + timedelta(seconds=seconds), score, state, "v1", found)


class Ledger:
    """The store's part: gives ids, remembers what is open and what was said."""

    def __init__(self) -> None:
        self.events: list[tuple[IncidentEventKind, Incident]] = []
        self.incidents: dict[int, Incident] = {}

    def apply(self, changes: tuple[tuple[IncidentEventKind, Incident], ...]) -> list[Incident]:
        saved = []
        for kind, incident in changes:
            stored = replace(incident, id=incident.id or len(self.incidents) + 1)
            assert stored.id is not None
            self.incidents[stored.id] = stored
            self.events.append((kind, stored))
            saved.append(stored)
        return saved

    def open(self) -> list[Incident]:
        return [one for one in self.incidents.values() if one.resolved_at is None]

    @property
    def kinds(self) -> list[IncidentEventKind]:
        return [kind for kind, _ in self.events]


def feed(tracker: IncidentTracker, ledger: Ledger, *minutes: ScoredMinute, threshold: float = 0.9) -> None:
    for one in minutes:
        plan = tracker.plan([one], threshold=threshold)
        tracker.commit(plan, ledger.apply(plan.changes))


def test_one_anomalous_evaluation_alone_opens_nothing() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, minute(0, 0.1), minute(10, 0.95), minute(20, 0.1), minute(30, 0.1), minute(40, 0.95))
    assert ledger.events == []


def test_two_of_three_open_and_name_when_and_what() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, minute(0, 0.95), minute(10, 0.2), minute(20, 0.96, part("load_per_cpu", 3.0), part()))
    ((kind, incident),) = ledger.events
    assert kind is OPENED
    assert incident.opened_at == START
    assert incident.peak_score == 0.96
    assert [one.signal for one in incident.contributions] == ["cpu_utilization_ratio", "load_per_cpu"]
    assert incident.title == "CPU utilization 62 % (expected 2.0 % to 31 %) and 1 more signal"


def test_physical_limit_opens_at_once() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, minute(0, 0.93, saturated(), state=ModelState.LEARNING))
    assert ledger.kinds == [OPENED]
    assert ledger.events[0][1].severity is Severity.WARNING  # whatever the score says


def test_physical_limit_that_is_normal_here_opens_nothing() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, *(minute(10 * i, 0.5, saturated()) for i in range(9)))
    assert ledger.events == []


def test_same_evaluation_again_is_not_a_second_one() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, minute(0, 0.95), minute(0, 0.95), minute(0, 0.95))
    assert ledger.events == []


def test_hits_from_before_a_long_gap_do_not_count() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, minute(0, 0.95), minute(3600, 0.95))
    assert ledger.events == []


@pytest.mark.parametrize(
    ("score", "state", "severity"),
    [
        (0.92, ModelState.READY, Severity.NOTICE),
        (0.97, ModelState.READY, Severity.WARNING),
        (0.995, ModelState.READY, Severity.CRITICAL),
        (0.995, ModelState.PROVISIONAL, Severity.WARNING),
        (0.995, ModelState.LEARNING, Severity.WARNING),
    ],
)
def test_severity_follows_score_and_what_the_model_has_seen(
    score: float, state: ModelState, severity: Severity
) -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, minute(0, score, state=state), minute(10, score, state=state))
    assert ledger.events[0][1].severity is severity


def test_resolves_after_ninety_calm_seconds_and_says_when_calm_began() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, minute(0, 0.95), minute(10, 0.95), *(minute(20 + 10 * i, 0.1) for i in range(9)))
    assert ledger.kinds == [OPENED]
    feed(tracker, ledger, minute(110, 0.1))
    assert ledger.kinds == [OPENED, RESOLVED]
    assert ledger.events[1][1].resolved_at == START + timedelta(seconds=20)
    assert ledger.events[1][1].id == ledger.events[0][1].id
    assert tracker.open == ()


def test_one_anomalous_evaluation_restarts_the_calm() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    calm = [minute(20 + 10 * i, 0.1) for i in range(8)]
    feed(tracker, ledger, minute(0, 0.95), minute(10, 0.95), *calm, minute(100, 0.95), minute(110, 0.1))
    assert ledger.kinds == [OPENED]


def test_updates_only_for_more_severity_or_a_new_lead_and_never_without_end() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, minute(0, 0.92), minute(10, 0.92))
    feed(tracker, ledger, *(minute(20 + 10 * i, 0.93) for i in range(30)))
    assert ledger.kinds == [OPENED]
    feed(tracker, ledger, minute(330, 0.97))
    assert ledger.kinds == [OPENED, UPDATED]
    assert ledger.events[1][1].severity is Severity.WARNING
    feed(tracker, ledger, *(minute(400 + 60 * i, 0.95, part(f"signal_{i}")) for i in range(30)))
    assert ledger.kinds == [OPENED, UPDATED, UPDATED, UPDATED]


def test_a_rise_within_the_spacing_is_said_when_the_spacing_is_over() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, minute(0, 0.92), minute(10, 0.92), minute(20, 0.97), minute(30, 0.97))
    assert ledger.kinds == [OPENED]
    feed(tracker, ledger, minute(70, 0.97))
    assert ledger.kinds == [OPENED, UPDATED]


def episode(start: float, score: float = 0.95, why: Contribution | None = None) -> list[ScoredMinute]:
    hits = [minute(start + 10 * i, score, why or part()) for i in range(3)]
    return hits + [minute(start + 30 + 10 * i, 0.1) for i in range(11)]


def test_flapping_within_the_refractory_time_is_one_incident() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, *episode(0), *episode(200))
    assert ledger.kinds == [OPENED, RESOLVED]
    assert tracker.held_back == 1


@pytest.mark.parametrize(("score", "why"), [(0.98, part()), (0.95, part("disk_busy_ratio")), (0.95, saturated())])
def test_something_worse_or_other_or_physical_opens_within_the_refractory_time(score: float, why: Contribution) -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, *episode(0), *episode(200, score, why))
    assert ledger.kinds == [OPENED, RESOLVED, OPENED, RESOLVED]


def test_physical_limits_have_a_larger_budget_but_not_an_endless_one() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    for number in range(8):
        feed(tracker, ledger, *episode(300 * number, 0.95, saturated()))
    assert ledger.kinds.count(OPENED) == 4


def test_budget_holds_back_what_is_not_worse_and_says_so() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, *episode(0), *episode(900), *episode(1800))
    assert ledger.kinds.count(OPENED) == 2
    assert "budget of 2 used up: until 11:00 UTC" in ledger.events[2][1].title
    assert tracker.held_back == 1
    feed(tracker, ledger, *episode(2700, 0.98))
    assert ledger.kinds.count(OPENED) == 3
    feed(tracker, ledger, *episode(3700 + 900))
    assert ledger.kinds.count(OPENED) == 4


def test_budget_and_open_incident_survive_a_restart() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, *episode(0), minute(900, 0.95), minute(910, 0.95))
    reborn = IncidentTracker("aurora", open_incidents=ledger.open(), past_incidents=list(ledger.incidents.values()))
    feed(reborn, ledger, minute(920, 0.95), *(minute(930 + 10 * i, 0.1) for i in range(11)))
    assert ledger.kinds == [OPENED, RESOLVED, OPENED, RESOLVED]
    assert len(ledger.incidents) == 2
    feed(reborn, ledger, *episode(1800))
    assert ledger.kinds.count(OPENED) == 2


def test_plan_that_was_not_stored_changes_nothing() -> None:
    tracker = IncidentTracker("aurora")
    tracker.commit(plan := tracker.plan([minute(0, 0.95)], threshold=0.9), [])
    assert plan.changes == ()
    first = tracker.plan([minute(10, 0.95)], threshold=0.9)
    again = tracker.plan([minute(10, 0.95)], threshold=0.9)
    assert first.changes == again.changes
    assert first.changes[0][0] is OPENED
    assert tracker.open == ()


def test_silent_host_does_not_keep_its_incident_forever() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    feed(tracker, ledger, minute(0, 0.95), minute(10, 0.95))
    assert tracker.plan_silent(START + timedelta(seconds=900)).changes == ()
    plan = tracker.plan_silent(START + timedelta(seconds=910))
    tracker.commit(plan, ledger.apply(plan.changes))
    assert ledger.kinds == [OPENED, RESOLVED]
    assert ledger.events[1][1].title.endswith("delivered nothing since 2026-11-22 10:00 UTC")
    assert tracker.plan_silent(START + timedelta(days=1)).changes == ()


def test_hosts_are_judged_apart() -> None:
    tracker, ledger = IncidentTracker("aurora"), Ledger()
    for seconds in (0, 10):
        plan = tracker.plan([minute(seconds, 0.95), minute(seconds, 0.2, host="web-2")], threshold=0.9)
        tracker.commit(plan, ledger.apply(plan.changes))
    assert [incident.host for incident in tracker.open] == ["web-1"]


def test_two_evaluations_of_a_host_in_one_plan_are_refused() -> None:
    with pytest.raises(ValueError, match="more than one"):
        IncidentTracker("aurora").plan([minute(0, 0.1), minute(10, 0.1)], threshold=0.9)


def test_history_is_grouped_into_closed_episodes_per_host() -> None:
    history = [
        minute(60 * i, 0.95 if 10 <= i < 20 or 22 <= i < 25 or 50 <= i < 60 else 0.1, host=host)
        for i in range(60)
        for host in ("web-1", "web-2")
    ]
    found = group_incidents(history, 0.9, tenant_id="aurora")
    spans = [(one.host, one.opened_at - START, (one.resolved_at or START) - START) for one in found]
    assert spans == [
        ("web-1", timedelta(minutes=10), timedelta(minutes=25)),
        ("web-1", timedelta(minutes=50), timedelta(minutes=59)),
        ("web-2", timedelta(minutes=10), timedelta(minutes=25)),
        ("web-2", timedelta(minutes=50), timedelta(minutes=59)),
    ]
    assert {one.source for one in found} == {"batch"}


scores = st.sampled_from([0.0, 0.5, 0.91, 0.97, 0.992])
signals = st.sampled_from(["cpu_utilization_ratio", "disk_busy_ratio", "load_per_cpu"])
streams = st.lists(st.tuples(st.sampled_from([5, 10, 60, 700]), scores, signals, st.booleans()), max_size=120)


@given(streams)
def test_every_stream_of_scores_keeps_the_promises(stream: list[tuple[int, float, str, bool]]) -> None:
    tracker, ledger, now = IncidentTracker("aurora"), Ledger(), 0.0
    for seconds, score, signal, restart in stream:
        now += seconds
        if restart:
            tracker = IncidentTracker(
                "aurora", open_incidents=ledger.open(), past_incidents=list(ledger.incidents.values())
            )
        feed(tracker, ledger, minute(now, score, part(signal)))
        assert len(ledger.open()) <= 1
        assert [one.id for one in tracker.open] == [one.id for one in ledger.open()]
    for incident in ledger.incidents.values():
        said = [kind for kind, event in ledger.events if event.id == incident.id]
        assert said[0] is OPENED
        assert said.count(OPENED) == 1
        assert said.count(RESOLVED) == (incident.resolved_at is not None)
        assert RESOLVED not in said[:-1]
        if incident.resolved_at is not None:
            assert incident.opened_at < incident.resolved_at <= incident.updated_at


@given(streams)
def test_beyond_the_budget_only_worse_incidents_open(stream: list[tuple[int, float, str, bool]]) -> None:
    tracker, ledger, now = IncidentTracker("aurora"), Ledger(), 0.0
    for seconds, score, signal, _ in stream:
        now += seconds
        feed(tracker, ledger, minute(now, score, part(signal)))
    opened = [incident for kind, incident in ledger.events if kind is OPENED]
    rank = [Severity.NOTICE, Severity.WARNING, Severity.CRITICAL].index
    for index, incident in enumerate(opened):
        horizon = incident.updated_at - timedelta(hours=1)
        before = [one for one in opened[:index] if one.updated_at > horizon]
        if len(before) >= 2:
            assert rank(incident.severity) > max(rank(one.severity) for one in before)


@given(streams)
def test_history_and_stream_agree_when_nothing_is_held_back(
    stream: list[tuple[int, float, str, bool]],
) -> None:
    tracker, ledger, now, minutes = IncidentTracker("aurora", HISTORY, source="batch"), Ledger(), 0.0, []
    for seconds, score, signal, _ in stream:
        now += seconds
        minutes.append(minute(now, score, part(signal)))
    feed(tracker, ledger, *minutes)
    batch = group_incidents(minutes, 0.9, tenant_id="aurora")
    streamed = [replace(incident, id=None) for kind, incident in ledger.events if kind is RESOLVED]
    assert batch[: len(streamed)] == streamed
    assert len(batch) - len(streamed) == len(tracker.open)
