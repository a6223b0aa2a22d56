from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import CircuitOpenError, RequestRejectedError, ServiceFailedError
from collectors_dagster.patterns.circuit_breaker import (
    BreakerPolicy,
    BreakerState,
    CircuitBreaker,
    Outcome,
    Permit,
    Phase,
    admit,
    failed_if_transient,
    seconds_until_probe,
    settle,
)

POLICY = BreakerPolicy(failure_threshold=3, recovery_seconds=30.0, window_calls=5)


def failing() -> None:
    raise ServiceFailedError("502", service="hook", operation="post")


def rejected() -> None:
    raise RequestRejectedError("404", service="hook", operation="post")


def breaker(clock: ManualClock, policy: BreakerPolicy = POLICY) -> CircuitBreaker:
    return CircuitBreaker("hook", policy, classify=failed_if_transient, clock=clock)


def phase(circuit: CircuitBreaker) -> Phase:
    return circuit.phase  # asked through a call: mypy would take a property for unchanged


def provoke(circuit: CircuitBreaker, call: Callable[[], None], times: int) -> None:
    for _ in range(times):
        with pytest.raises((ServiceFailedError, RequestRejectedError)):
            circuit.call(call)


def test_open_breaker_refuses_without_calling() -> None:
    circuit = breaker(ManualClock())
    provoke(circuit, failing, 3)
    called: list[int] = []
    with pytest.raises(CircuitOpenError) as refused:
        circuit.call(lambda: called.append(1))
    assert called == []
    assert refused.value.retry_after_seconds == 30.0


def test_probe_that_succeeds_closes_and_probe_that_fails_opens_again() -> None:
    clock = ManualClock()
    circuit = breaker(clock)
    provoke(circuit, failing, 3)
    clock.move(30)
    provoke(circuit, failing, 1)
    assert phase(circuit) is Phase.OPEN
    clock.move(30)
    assert circuit.call(lambda: "answer") == "answer"
    assert phase(circuit) is Phase.CLOSED


def test_failures_spread_beyond_the_window_do_not_open() -> None:
    circuit = breaker(ManualClock())
    for _ in range(20):
        provoke(circuit, failing, 2)
        for _ in range(4):
            circuit.call(lambda: None)
    assert phase(circuit) is Phase.CLOSED


def test_answers_that_repeating_cannot_change_never_open() -> None:
    circuit = breaker(ManualClock())
    provoke(circuit, rejected, 50)
    assert phase(circuit) is Phase.CLOSED


def test_cancelled_probe_gives_its_place_back_without_a_verdict() -> None:
    clock = ManualClock()
    circuit = breaker(clock)
    provoke(circuit, failing, 3)
    clock.move(30)
    with pytest.raises(KeyboardInterrupt), circuit.protect():
        raise KeyboardInterrupt
    assert phase(circuit) is Phase.HALF_OPEN
    assert circuit.retry_after_seconds == 0.0
    circuit.call(lambda: None)
    assert phase(circuit) is Phase.CLOSED


def test_late_result_from_before_the_opening_changes_nothing() -> None:
    state, permit = admit(POLICY, BreakerState(), 0.0)
    assert permit is not None
    for _ in range(3):
        state = settle(POLICY, state, permit, Outcome.FAILURE, 0.0)
    assert settle(POLICY, state, permit, Outcome.SUCCESS, 1.0) == state
    assert state.phase is Phase.OPEN


def test_lost_probe_frees_its_place_when_its_lease_ends() -> None:
    policy = BreakerPolicy(1, recovery_seconds=10.0, lease_seconds=60.0)
    state = BreakerState(Phase.OPEN, 1, open_until=10.0)
    state, lost = admit(policy, state, 10.0)
    assert lost is not None
    assert admit(policy, state, 69.0)[1] is None
    state, next_probe = admit(policy, state, 70.0)
    assert next_probe is not None
    assert settle(policy, state, lost, Outcome.FAILURE, 71.0) == state
    assert settle(policy, state, next_probe, Outcome.SUCCESS, 71.0).phase is Phase.CLOSED


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_threshold": 0, "recovery_seconds": 1.0},
        {"failure_threshold": 5, "recovery_seconds": 1.0, "window_calls": 4},
        {"failure_threshold": 5, "recovery_seconds": 0.0},
        {"failure_threshold": 5, "recovery_seconds": 1.0, "probes": 0},
    ],
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="breaker"):
        BreakerPolicy(**wrong)  # type: ignore[arg-type]  # floats stand for integers on purpose


class BreakerMachine(RuleBasedStateMachine):
    """Many callers at once against the promises that hold whatever they do."""

    @initialize(
        threshold=st.integers(1, 4),
        extra=st.integers(0, 4),
        probes=st.integers(1, 3),
        lease=st.sampled_from([5.0, 50.0]),
    )
    def begin(self, threshold: int, extra: int, probes: int, lease: float) -> None:
        self.policy = BreakerPolicy(
            threshold,
            recovery_seconds=10.0,
            window_calls=threshold + extra,
            probes=probes,
            lease_seconds=lease,
        )
        self.state = BreakerState()
        self.now = 0.0
        self.permits: list[tuple[Permit, float]] = []
        self.opened_at: float | None = None

    @rule()
    def ask(self) -> None:
        before = self.state
        self.state, permit = admit(self.policy, before, self.now)
        if before.phase is Phase.CLOSED:
            assert permit is not None
        if before.phase is Phase.OPEN and self.opened_at is not None:
            assert (permit is None) == (self.now < self.opened_at + self.policy.recovery_seconds)
        if permit is not None:
            self.permits.append((permit, self.now))
        else:
            assert seconds_until_probe(self.state, self.now) >= 0.0

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def report(self, data: st.DataObject, outcome: Outcome) -> None:
        permit, _ = self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1)))
        before = self.state
        self.state = settle(self.policy, before, permit, outcome, self.now)
        if permit.generation != before.generation:
            assert self.state == before
        if self.state.phase is Phase.OPEN and before.phase is not Phase.OPEN:
            assert outcome is Outcome.FAILURE
            self.opened_at = self.now
        if self.state.phase is Phase.CLOSED and before.phase is Phase.HALF_OPEN:
            assert outcome is Outcome.SUCCESS
        if self.state.phase is not before.phase:
            assert self.state.generation > before.generation

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def never_more_probes_than_allowed(self) -> None:
        on_their_way = [
            permit
            for permit, since in self.permits
            if permit.probe is not None
            and permit.generation == self.state.generation
            and since + self.policy.lease_seconds > self.now
        ]
        assert len(on_their_way) + self.state.probes_succeeded <= self.policy.probes

    @invariant()
    def closed_means_fewer_failures_than_the_threshold(self) -> None:
        if self.state.phase is Phase.CLOSED:
            assert sum(self.state.failures) < self.policy.failure_threshold
            assert len(self.state.failures) <= self.policy.window

    @invariant()
    def never_stuck(self) -> None:
        far = self.now + self.policy.recovery_seconds + self.policy.lease_seconds
        assert admit(self.policy, self.state, far)[1] is not None


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.booleans(), max_size=60))
def test_closed_circuit_opens_exactly_when_the_window_holds_the_threshold(outcomes: list[bool]) -> None:
    state, window = BreakerState(), list[bool]()
    for failed in outcomes:
        window = [*window, failed][-POLICY.window :]
        state = settle(POLICY, state, Permit(0), Outcome.FAILURE if failed else Outcome.SUCCESS, 0.0)
        if sum(window) >= POLICY.failure_threshold:
            assert state.phase is Phase.OPEN
            return
        assert state.phase is Phase.CLOSED
