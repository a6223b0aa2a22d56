import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import (
    CollectorsError,
    RateLimitedError,
    RequestRejectedError,
    ServiceFailedError,
)
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.deadline import deadline
from collectors_dagster.patterns.retry import Backoff, Growth, Jitter, Retry, RetryPolicy, next_delay
from collectors_dagster.patterns.retry_budget import RetryBudget

POLICY = RetryPolicy(attempts=4, base_seconds=1.0, cap_seconds=3.0, deadline_seconds=60.0)


class Scripted:
    """An operation that fails as told, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def failed() -> ServiceFailedError:
    return ServiceFailedError("503", service="hook", operation="post")


def run(operation: Callable[[], str], clock: ManualClock, policy: RetryPolicy = POLICY) -> str:
    return made(clock, policy).call(operation)


def made(clock: ManualClock, policy: RetryPolicy = POLICY, budget: RetryBudget | None = None) -> Retry:
    return Retry(
        policy,
        retry_on=lambda error: isinstance(error, CollectorsError) and error.transient,
        clock=clock,
        random=lambda: 0.5,
        budget=budget,
    )


def test_transient_failures_are_repeated_with_growing_pauses() -> None:
    clock, operation = ManualClock(), Scripted(failed(), failed(), failed())
    assert run(operation, clock) == "done"
    assert operation.calls == 4
    assert clock.monotonic() == 0.5 + 1.0 + 1.5


def test_last_error_is_raised_when_attempts_are_used_up() -> None:
    clock, operation = ManualClock(), Scripted(*(failed() for _ in range(9)))
    with pytest.raises(ServiceFailedError):
        run(operation, clock)
    assert operation.calls == 4


def test_rejected_request_is_never_repeated() -> None:
    operation = Scripted(RequestRejectedError("404", service="hook", operation="post"))
    with pytest.raises(RequestRejectedError):
        run(operation, ManualClock())
    assert operation.calls == 1


def test_retry_after_is_a_lower_bound_of_the_pause() -> None:
    clock = ManualClock()
    busy = RateLimitedError("429", service="hook", operation="post", retry_after_seconds=12.0)
    run(Scripted(busy), clock)
    assert clock.monotonic() == 12.0


def test_no_pause_is_begun_that_would_end_after_the_deadline() -> None:
    clock = ManualClock()
    busy = RateLimitedError("429", service="hook", operation="post", retry_after_seconds=61.0)
    with pytest.raises(RateLimitedError):
        run(Scripted(busy), clock)
    assert clock.monotonic() == 0.0


def test_interrupts_are_not_repeated() -> None:
    calls: list[int] = []

    def interrupted() -> str:
        calls.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted, ManualClock())
    assert calls == [1]


@given(
    failures=st.integers(1, 3),
    elapsed=st.floats(0, 59),
    retry_after=st.none() | st.floats(0, 100),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_a_pause_keeps_every_bound(failures: int, elapsed: float, retry_after: float | None, draw: float) -> None:
    delay = next_delay(POLICY, failures=failures, elapsed=elapsed, retry_after=retry_after, draw=draw)
    if delay is None:
        assert elapsed + max(POLICY.cap_seconds, retry_after or 0.0) > POLICY.deadline_seconds
    else:
        assert elapsed + delay <= POLICY.deadline_seconds
        assert delay >= (retry_after or 0.0)
        assert delay <= max(min(POLICY.cap_seconds, 2.0 ** (failures - 1)), retry_after or 0.0)


@given(st.integers(1, 5000))
def test_backoff_stays_below_its_cap_through_a_night_of_failures(failures: int) -> None:
    backoff = Backoff(base_seconds=0.5, cap_seconds=30.0, random=lambda: 0.999)
    backoff.failures = failures
    assert 0 < backoff.failed() < 30.0


@pytest.mark.parametrize("wrong", [(0, 1.0, 1.0), (1, 0.0, 1.0), (1, 2.0, 1.0)])
def test_a_policy_that_cannot_work_is_refused(wrong: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="retry policy"):
        RetryPolicy(*wrong, deadline_seconds=1.0)


@pytest.mark.parametrize(
    ("growth", "pauses"),
    [
        (Growth.FIXED, [1, 1, 1, 1, 1]),
        (Growth.LINEAR, [1, 2, 3, 4, 5]),
        (Growth.EXPONENTIAL, [1, 2, 4, 6, 6]),
        (Growth.FIBONACCI, [1, 1, 2, 3, 5]),
    ],
)
def test_pauses_grow_as_told_up_to_the_cap(growth: Growth, pauses: list[int]) -> None:
    clock = ManualClock()
    policy = RetryPolicy(6, 1.0, 6.0, 60.0, growth, Jitter.NONE)
    run(Scripted(*(failed() for _ in range(5))), clock, policy)
    assert clock.monotonic() == sum(pauses)
    assert [policy.pause(failures, 0.9, 0.0) for failures in range(1, 6)] == pauses


@given(
    growth=st.sampled_from(Growth),
    jitter=st.sampled_from(Jitter),
    failures=st.integers(1, 3000),
    draw=st.floats(0, 1, exclude_max=True),
    previous=st.floats(0, 30),
)
def test_jitter_stays_between_its_bounds(
    growth: Growth, jitter: Jitter, failures: int, draw: float, previous: float
) -> None:
    bare = RetryPolicy(9, 0.5, 30.0, 60.0, growth, Jitter.NONE).pause(failures, draw, previous)
    pause = RetryPolicy(9, 0.5, 30.0, 60.0, growth, jitter).pause(failures, draw, previous)
    lowest = {Jitter.NONE: bare, Jitter.FULL: 0.0, Jitter.EQUAL: bare / 2, Jitter.DECORRELATED: 0.5}[jitter]
    highest = min(30.0, 3 * max(previous, 0.5)) if jitter is Jitter.DECORRELATED else bare
    assert lowest - 1e-9 <= pause <= highest + 1e-9


def test_coroutines_are_repeated_by_the_same_rule() -> None:
    clock, operation = ManualClock(), Scripted(failed(), failed(), failed())
    again = made(clock)

    @again
    async def answering(word: str) -> str:
        return word + operation()

    assert asyncio.run(answering("all ")) == "all done"
    assert clock.monotonic() == 0.5 + 1.0 + 1.5


def test_a_generator_is_not_repeated() -> None:
    def counting() -> Iterator[int]:
        yield 1

    for generator in (counting, contextmanager(counting)):
        with pytest.raises(TypeError, match="cannot be begun anew"):
            made(ManualClock())(generator)


def test_the_last_error_passes_through_unchanged() -> None:
    errors = [failed() for _ in range(4)]
    with pytest.raises(ServiceFailedError) as last:
        run(Scripted(*errors), ManualClock())
    assert last.value is errors[-1]
    assert last.value.__cause__ is None


def test_repetitions_stay_within_a_fifth_of_the_calls_and_the_reserve() -> None:
    clock = ManualClock()
    again = made(clock, RetryPolicy(5, 0.0001, 0.0001, 60.0), RetryBudget(share=0.2, reserve_per_second=1.0))
    calls = 0
    for _ in range(500):
        operation = Scripted(*(failed() for _ in range(9)))
        with pytest.raises(ServiceFailedError):
            again.call(operation)
        calls += operation.calls
    assert 500 + 100 <= calls <= 500 + 100 + 10
    clock.move(11)
    operation = Scripted(failed())
    again.call(operation)
    assert operation.calls == 2


def test_an_open_circuit_is_not_asked_again_before_its_end() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker("hook", BreakerPolicy(1, 5.0), classify=failed_if_transient, clock=clock)
    operation = Scripted(failed())
    assert run(lambda: breaker.call(operation), clock) == "done"
    assert operation.calls == 2
    assert clock.monotonic() >= 5.0
    assert clock.monotonic() < 6.0


def test_no_pause_is_begun_that_would_end_after_the_callers_deadline() -> None:
    clock, operation = ManualClock(), Scripted(*(failed() for _ in range(9)))
    with deadline(1.2, clock=clock), pytest.raises(ServiceFailedError):
        run(operation, clock)
    assert operation.calls == 2
    assert clock.monotonic() == 0.5
