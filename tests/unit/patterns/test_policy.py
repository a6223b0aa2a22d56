"""Layers are carried out in the order in which they are written, and one deadline holds for all of them."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import pytest

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.errors import CircuitOpenError, DeadlineExceededError, ServiceFailedError
from collectors_dagster.patterns import (
    BreakerPolicy,
    CircuitBreaker,
    Policy,
    Retry,
    RetryPolicy,
    Timeout,
    deadline,
    failed_if_transient,
)
from collectors_dagster.patterns.deadline import remaining_seconds
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.plans import Pause, Plan, perform

T = TypeVar("T")


class Named:
    """A layer that tells when it is entered."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name, self.told = name, told

    def call(self, operation: Callable[[], T], /) -> T:
        self.told.append(self.name)
        return operation()

    async def acall(self, operation: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        self.told.append(self.name)
        return await operation()


def failing() -> None:
    raise ServiceFailedError("503", service="hook", operation="post")


def layers(clock: ManualClock) -> tuple[Timeout, Retry, CircuitBreaker]:
    again = Retry(RetryPolicy(5, 1.0, 1.0, 60.0), retry_on=lambda _: True, clock=clock, random=lambda: 0.5)
    breaker = CircuitBreaker("hook", BreakerPolicy(3, 30.0), classify=failed_if_transient, clock=clock)
    return Timeout(20.0, clock=clock), again, breaker


def test_layers_are_entered_in_the_order_in_which_they_are_written(manual_clock: ManualClock) -> None:
    told: list[str] = []
    timeout, again, breaker = layers(manual_clock)
    policy = timeout | Named("a", told) | again | Named("b", told) | breaker | (Policy() | Named("c", told))

    @policy
    def added(a: int, b: int = 1) -> int:
        return a + b

    @policy
    async def doubled(a: int) -> int:
        return 2 * a

    assert added(1, b=2) == 3
    assert asyncio.run(doubled(4)) == 8
    assert told == ["a", "b", "c"] * 2
    assert str(inspect.signature(added)) == "(a: int, b: int = 1) -> int"


def test_retry_breaker_and_timeout_respect_each_other(manual_clock: ManualClock) -> None:
    timeout, again, breaker = layers(manual_clock)
    calls: list[float] = []

    def attempt() -> None:
        calls.append(manual_clock.monotonic())
        failing()

    with pytest.raises(CircuitOpenError):  # its pause of 30 s does not fit into the 20 s
        (timeout | again | breaker).call(attempt)
    assert calls == [0.0, 0.5, 1.0]
    assert manual_clock.monotonic() == 1.5


def test_a_coroutine_is_cancelled_when_its_time_is_over() -> None:
    async def hanging() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceededError, match=r"within 0\.01 s"):
        asyncio.run(Timeout(0.01, clock=SystemClock()).acall(hanging))


def test_an_inner_deadline_never_lengthens_an_outer_one(manual_clock: ManualClock) -> None:
    with deadline(5.0, clock=manual_clock):
        manual_clock.move(2.0)
        with deadline(60.0, clock=manual_clock):
            assert remaining_seconds() == 3.0
        with deadline(1.0, clock=manual_clock):
            assert remaining_seconds() == 1.0
        manual_clock.move(9.0)
        assert remaining_seconds() == 0.0
    assert remaining_seconds() == float("inf")


def test_a_plan_does_not_begin_a_wait_that_ends_after_the_deadline(manual_clock: ManualClock) -> None:
    def napping() -> Plan[None]:
        yield Pause(1.0)
        yield Pause(5.0)

    with deadline(5.0, clock=manual_clock), pytest.raises(DeadlineExceededError):
        perform(napping(), MemoryStore(manual_clock), manual_clock)
    assert manual_clock.monotonic() == 1.0


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
def test_a_time_limit_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Timeout(wrong, clock=SystemClock())
    with pytest.raises(ValueError, match="above 0"), deadline(wrong):
        pass


def test_what_does_its_work_after_the_call_is_refused() -> None:
    def pages() -> Iterator[int]:
        yield 1

    async def apages() -> AsyncIterator[int]:
        yield 1

    for later in (pages, apages, contextmanager(pages), asynccontextmanager(apages)):
        with pytest.raises(TypeError, match="breaker alone"):
            Policy()(later)
