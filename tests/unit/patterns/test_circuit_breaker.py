"""One process's side of a circuit, over a store in memory or one that is away."""

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.errors import (
    CircuitOpenError,
    DeadlineExceededError,
    RequestRejectedError,
    ServiceFailedError,
    SharedStateUnavailableError,
)
from collectors_dagster.patterns.circuit_breaker import (
    BreakerPolicy,
    CircuitBreaker,
    Outcome,
    Phase,
    failed_if_transient,
)
from collectors_dagster.patterns.deadline import deadline
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.shared_state import Argument, Reply, Step

POLICY = BreakerPolicy(failure_threshold=3, recovery_seconds=30.0, window_calls=5)


def failing() -> None:
    raise ServiceFailedError("502", service="hook", operation="post")


def rejected() -> None:
    raise RequestRejectedError("404", service="hook", operation="post")


def breaker(clock: ManualClock, policy: BreakerPolicy = POLICY) -> CircuitBreaker:
    return CircuitBreaker("hook", policy, classify=failed_if_transient, clock=clock)


def phase(circuit: CircuitBreaker) -> Phase:
    return circuit.phase  # asked through a call: mypy would take a property for unchanged


def is_alone(circuit: CircuitBreaker) -> bool:
    return circuit.alone  # as above


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


class Counting:
    """A store that counts round trips, and can go away."""

    def __init__(self, clock: ManualClock | SystemClock) -> None:
        self.inner = MemoryStore(clock)
        self.asked: Counter[str] = Counter()
        self.away = False

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        self.asked[str(arguments[0])] += 1
        if self.away:
            raise SharedStateUnavailableError("away")
        return self.inner.run(step, key, arguments)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        await asyncio.sleep(0)
        reply = self.run(step, key, arguments)
        await asyncio.sleep(0)
        return reply


def shared(
    store: Counting,
    clock: ManualClock | SystemClock,
    policy: BreakerPolicy = POLICY,
    judge: Callable[[object], Outcome] | None = None,
) -> CircuitBreaker:
    return CircuitBreaker("hook", policy, classify=failed_if_transient, clock=clock, store=store, judge=judge)


def opened(store: Counting, clock: ManualClock | SystemClock, policy: BreakerPolicy = POLICY) -> CircuitBreaker:
    circuit = shared(store, clock, policy)
    provoke(circuit, failing, policy.failure_threshold)
    return circuit


def test_a_late_result_from_before_the_opening_changes_nothing(manual_clock: ManualClock) -> None:
    circuit = breaker(manual_clock)
    ticket = circuit.begin()
    provoke(circuit, failing, 3)
    manual_clock.move(30)
    probe = circuit.begin()
    circuit.failed(ticket, ServiceFailedError("late", service="hook", operation="post"))
    assert phase(circuit) is Phase.HALF_OPEN
    circuit.finish(probe)
    assert phase(circuit) is Phase.CLOSED


def test_a_lost_probe_frees_its_place_when_its_lease_ends(manual_clock: ManualClock) -> None:
    circuit = breaker(manual_clock, BreakerPolicy(1, recovery_seconds=10.0, lease_seconds=60.0))
    provoke(circuit, failing, 1)
    manual_clock.move(10)
    lost = circuit.begin()
    manual_clock.move(59)
    with pytest.raises(CircuitOpenError) as refused:
        circuit.begin()
    assert refused.value.retry_after_seconds == 1.0
    manual_clock.move(1)
    second = circuit.begin()
    circuit.failed(lost, ServiceFailedError("late", service="hook", operation="post"))
    assert phase(circuit) is Phase.HALF_OPEN
    circuit.finish(second)
    assert phase(circuit) is Phase.CLOSED


def test_a_closed_circuit_costs_less_than_a_tenth_of_a_round_trip_per_call(manual_clock: ManualClock) -> None:
    store = Counting(manual_clock)
    circuit = shared(store, manual_clock)
    for _ in range(2000):
        circuit.call(lambda: manual_clock.move(0.002))
    assert sum(store.asked.values()) <= 0.1 * 2000


def test_what_one_process_sees_fail_the_next_knows_before_its_first_call(manual_clock: ManualClock) -> None:
    store = Counting(manual_clock)
    opened(store, manual_clock)
    with pytest.raises(CircuitOpenError):
        shared(store, manual_clock).call(lambda: None)


def test_successes_not_told_yet_stand_before_the_failure_in_the_window(manual_clock: ManualClock) -> None:
    policy = BreakerPolicy(0, 30.0, failure_ratio=0.5, minimum_calls=4)
    circuit = shared(Counting(manual_clock), manual_clock, policy)
    for _ in range(3):
        circuit.call(lambda: None)
    provoke(circuit, failing, 2)
    assert phase(circuit) is Phase.CLOSED
    provoke(circuit, failing, 1)
    assert phase(circuit) is Phase.OPEN


def test_slow_calls_open_and_a_slow_probe_opens_again(manual_clock: ManualClock) -> None:
    policy = BreakerPolicy(0, 30.0, slow_ratio=0.5, slow_seconds=1.0, minimum_calls=4)
    circuit = breaker(manual_clock, policy)
    for seconds in (0.5, 0.5, 1.5, 1.5):
        circuit.call(lambda seconds=seconds: manual_clock.move(seconds))  # type: ignore[misc]  # bound early
    assert phase(circuit) is Phase.OPEN
    manual_clock.move(30)
    circuit.call(lambda: manual_clock.move(2.0))
    assert phase(circuit) is Phase.OPEN


def test_a_result_can_be_a_failure(manual_clock: ManualClock) -> None:
    circuit = shared(
        Counting(manual_clock),
        manual_clock,
        judge=lambda status: Outcome.FAILURE if status == 503 else Outcome.SUCCESS,
    )
    assert [circuit.call(lambda: 503) for _ in range(3)] == [503] * 3
    assert phase(circuit) is Phase.OPEN


def test_without_shared_state_a_window_of_its_own_decides_and_nothing_of_it_is_written_later(
    manual_clock: ManualClock,
) -> None:
    store = Counting(manual_clock)
    circuit = shared(store, manual_clock)
    circuit.call(lambda: None)
    store.away = True
    provoke(circuit, failing, 3)
    assert phase(circuit) is Phase.OPEN
    assert is_alone(circuit)
    store.away = False
    manual_clock.move(29.9)
    with pytest.raises(CircuitOpenError):  # its own end counts
        circuit.call(lambda: None)
    assert shared(store, manual_clock).call(lambda: "others go on") == "others go on"
    manual_clock.move(0.1)
    assert circuit.call(lambda: "back") == "back"
    assert not is_alone(circuit)
    report = circuit.report()
    assert (report.phase, report.failures) == (Phase.CLOSED, 0)


def test_alone_while_closed_it_looks_for_shared_state_again(manual_clock: ManualClock) -> None:
    store = Counting(manual_clock)
    circuit = shared(store, manual_clock)
    store.away = True
    circuit.call(lambda: None)
    provoke(circuit, failing, 2)
    store.away = False
    manual_clock.move(0.3)
    circuit.call(lambda: None)
    assert not circuit.alone
    assert circuit.report().failures == 0


def test_orders_by_hand_hold_for_all_and_are_in_the_history(manual_clock: ManualClock) -> None:
    store = Counting(manual_clock)
    one, other = shared(store, manual_clock), shared(store, manual_clock)
    one.call(lambda: None)
    other.force(Phase.FORCED_OPEN)
    manual_clock.move(0.3)
    with pytest.raises(CircuitOpenError, match="by hand"):
        one.call(lambda: None)
    other.force(Phase.METRICS_ONLY)
    manual_clock.move(1.1)
    provoke(one, failing, 9)
    assert other.report()[:5] == (Phase.METRICS_ONLY, 0.0, 5, 5, 0)
    other.force(Phase.DISABLED)
    manual_clock.move(0.3)
    provoke(one, failing, 9)
    other.force(Phase.CLOSED)
    manual_clock.move(0.3)
    assert one.call(lambda: "well") == "well"
    report = one.report()
    assert [line.after for line in report.history] == ["forced_open", "metrics_only", "disabled", "closed"]
    assert {line.reason for line in report.history} == {"by hand"}
    with pytest.raises(ValueError, match="by itself"):
        one.force(Phase.OPEN)


def test_decorators_keep_signatures_and_guard_functions_coroutines_generators_and_contexts(
    manual_clock: ManualClock,
) -> None:
    circuit = breaker(manual_clock, BreakerPolicy(100, 30.0))

    @circuit
    def added(a: int, *, b: int = 2) -> int:
        """Add."""
        return a + b

    @circuit
    async def doubled(a: int) -> int:
        return 2 * a

    @circuit
    def echoing() -> Iterator[str]:
        yield "first"
        yield "second"
        raise ServiceFailedError("502", service="hook", operation="post")

    @circuit
    async def answering() -> AsyncGenerator[str, str]:
        told = yield "ask"
        yield told
        raise ServiceFailedError("502", service="hook", operation="post")

    @contextmanager
    @circuit
    def session() -> Iterator[int]:
        yield 1

    @asynccontextmanager
    @circuit
    async def asession() -> AsyncIterator[int]:
        yield 1

    async def asynchronous() -> None:
        assert await doubled(4) == 8
        talk = answering()
        assert await anext(talk) == "ask"
        assert await talk.asend("told") == "told"
        with pytest.raises(ServiceFailedError):
            await anext(talk)
        async with asession() as number:
            assert number == 1
        with pytest.raises(ServiceFailedError):
            async with asession():
                failing()

    assert added(1, b=4) == 5
    assert str(inspect.signature(added)) == "(a: int, *, b: int = 2) -> int"
    assert added.__doc__ == "Add."
    assert inspect.iscoroutinefunction(doubled)
    found: list[str] = []
    with pytest.raises(ServiceFailedError):
        found.extend(echoing())
    with pytest.raises(ServiceFailedError), session():
        failing()
    asyncio.run(asynchronous())
    circuit.flush()
    report = circuit.report()
    assert (report.calls, report.failures) == (7, 4)


def test_above_a_context_manager_it_guards_the_block(manual_clock: ManualClock) -> None:
    circuit = breaker(manual_clock, BreakerPolicy(100, 30.0))

    @circuit
    @contextmanager
    def session(number: int) -> Iterator[int]:
        yield number

    @circuit
    @asynccontextmanager
    async def asession(number: int) -> AsyncIterator[int]:
        yield number

    async def asynchronous() -> None:
        async with asession(2) as number:
            assert number == 2
        with pytest.raises(ServiceFailedError):
            async with asession(1):
                failing()

    with session(3) as given:
        assert given == 3
    with pytest.raises(ServiceFailedError), session(1):
        failing()
    asyncio.run(asynchronous())
    circuit.flush()
    report = circuit.report()
    assert (report.calls, report.failures) == (4, 2)
    assert list(inspect.signature(session).parameters) == list(inspect.signature(asession).parameters) == ["number"]


def test_a_generator_that_is_left_early_means_nothing(manual_clock: ManualClock) -> None:
    circuit = breaker(manual_clock)

    @circuit
    def endless() -> Iterator[int]:
        while True:
            yield 1

    for _ in range(9):
        generator = endless()
        next(generator)
        generator.close()  # type: ignore[attr-defined]  # it is a generator
    circuit.flush()
    assert circuit.report().calls == 0


def test_whoever_has_no_time_left_is_not_let_through_but_may_report(manual_clock: ManualClock) -> None:
    circuit = breaker(manual_clock, BreakerPolicy(1, 30.0))
    with deadline(5.0, clock=manual_clock):
        ticket = circuit.begin()
        manual_clock.move(6.0)
        circuit.failed(ticket, ServiceFailedError("slow", service="hook", operation="post"))
        assert phase(circuit) is Phase.OPEN
        manual_clock.move(30)
        with pytest.raises(DeadlineExceededError):
            circuit.begin()


def test_ten_thousand_cancellations_lose_no_permit_and_count_as_nothing() -> None:
    clock = SystemClock()
    store = Counting(clock)
    policy = BreakerPolicy(1, recovery_seconds=0.001, probes=3, lease_seconds=600.0)
    circuit = opened(store, clock, policy)
    clock.sleep(0.002)

    async def hanging() -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    async def cancelled() -> None:
        for number in range(10_000):
            task = asyncio.ensure_future(circuit.acall(hanging))
            for _ in range(number % 9):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.gather(*circuit._under_way)
        await asyncio.gather(*circuit._under_way)  # what the first ones sent off when they were done

    asyncio.run(cancelled())
    report = circuit.report()
    assert (report.phase, report.probes, report.failures) == (Phase.HALF_OPEN, 0, 0)
    for _ in range(3):
        circuit.call(lambda: None)
    assert phase(circuit) is Phase.CLOSED


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"failure_threshold": -1}, "failure_threshold -1 is negative"),
        ({"failure_threshold": 0}, "never open"),
        ({"window_calls": 4}, "window_calls 4 is less than failure_threshold"),
        ({"recovery_seconds": 0.0}, "recovery_seconds 0.0"),
        ({"probes": 0}, "probes 0"),
        ({"successes": 2}, "never close"),
        ({"failure_ratio": 1.5}, "failure_ratio 1.5"),
        ({"slow_ratio": 0.5}, "slow_seconds"),
        ({"window_seconds": 0.001}, "shorter than ten steps"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_with_key_and_reason(wrong: dict[str, float], reason: str) -> None:
    terms = {"failure_threshold": 5, "recovery_seconds": 1.0} | wrong
    with pytest.raises(ValueError, match=reason):
        BreakerPolicy(**terms)  # type: ignore[arg-type]  # floats stand for integers on purpose


def test_a_circuit_of_this_process_alone_knows_its_calls_in_order_however_many_and_however_long_ago(
    manual_clock: ManualClock,
) -> None:
    circuit = breaker(manual_clock)  # three failures of the last five calls

    @circuit
    def call(error: Exception | None = None) -> None:
        if error is not None:
            raise error

    broken = ServiceFailedError("502", service="hook", operation="post")
    for _ in range(3):
        for _ in range(10_000):
            call()
        for _ in range(2):
            with pytest.raises(ServiceFailedError):
                call(broken)
    manual_clock.move(7 * 86_400)
    report = circuit.report()
    assert (report.phase, report.calls, report.failures) == (Phase.CLOSED, 5, 2)
    call()
    with pytest.raises(ServiceFailedError):
        call(error=broken)
    assert phase(circuit) is Phase.OPEN
    manual_clock.move(30)
    for _ in range(2):
        call()
    assert phase(circuit) is Phase.CLOSED


@pytest.mark.parametrize("policy", [POLICY, replace(POLICY, slow_seconds=1.0)], ids=["plain", "timed"])
@pytest.mark.parametrize("where", ["own", "shared"])
def test_no_decorated_call_begins_after_the_deadline(
    manual_clock: ManualClock, policy: BreakerPolicy, where: str
) -> None:
    store = MemoryStore(manual_clock) if where == "shared" else None
    circuit = CircuitBreaker("hook", policy, classify=failed_if_transient, clock=manual_clock, store=store)
    called: list[str] = []

    @circuit
    def call() -> None:
        called.append("call")

    @circuit
    async def acall() -> None:
        called.append("acall")

    call()
    with deadline(0.01, clock=manual_clock):
        call()
        asyncio.run(acall())
        manual_clock.move(0.01)
        with pytest.raises(DeadlineExceededError):
            call()
        with pytest.raises(DeadlineExceededError):
            asyncio.run(acall())
    assert called == ["call", "call", "acall"]


@pytest.mark.parametrize("policy", [POLICY, replace(POLICY, slow_seconds=1.0)], ids=["plain", "timed"])
def test_decorated_coroutines_open_the_circuit_and_pass_on_what_they_are_given(
    manual_clock: ManualClock, policy: BreakerPolicy
) -> None:
    circuit = breaker(manual_clock, policy)

    @circuit
    async def call(word: str, *, fails: bool = False) -> str:
        if fails:
            raise ServiceFailedError("502", service="hook", operation="post")
        return word

    async def all_calls() -> None:
        assert [await call("a"), await call(word="b"), await call("c", fails=False)] == ["a", "b", "c"]
        for _ in range(3):
            with pytest.raises(ServiceFailedError):
                await call("d", fails=True)
        with pytest.raises(CircuitOpenError):
            await call("e")

    asyncio.run(all_calls())


def test_a_decorated_coroutine_that_is_slow_counts_as_slow(manual_clock: ManualClock) -> None:
    policy = BreakerPolicy(0, 30.0, slow_ratio=0.5, slow_seconds=1.0, minimum_calls=2)
    circuit = breaker(manual_clock, policy)

    @circuit
    async def call(seconds: float) -> None:
        manual_clock.move(seconds)

    async def both() -> None:
        await call(0.5)
        await call(1.5)

    asyncio.run(both())
    assert phase(circuit) is Phase.OPEN
