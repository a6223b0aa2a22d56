"""Limiter and bulkhead as layers of a policy, for functions and coroutines."""

import asyncio

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import BulkheadFullError, RateLimitedError, RateLimitExceededError
from collectors_dagster.patterns import Bulkhead, BulkheadPolicy, Policy, RatePolicy, deadline, local_rate_limiter


def layers(clock: ManualClock) -> tuple[Policy, Bulkhead]:
    bulkhead = Bulkhead("b", BulkheadPolicy(limit=1, queue_limit=0))
    limiter = local_rate_limiter("api", RatePolicy(1.0, 2), clock=clock)
    return limiter | bulkhead, bulkhead


def test_calls_wait_for_their_turn_and_hold_a_place(manual_clock: ManualClock) -> None:
    policy, bulkhead = layers(manual_clock)

    @policy
    def places() -> int:
        return bulkhead.in_use

    @policy
    async def aplaces() -> int:
        return bulkhead.in_use

    assert [places(), asyncio.run(aplaces()), places(), asyncio.run(aplaces())] == [1, 1, 1, 1]
    assert manual_clock.monotonic() == pytest.approx(2.0, abs=1e-4)
    assert bulkhead.in_use == 0


def test_a_deadline_bounds_the_wait(manual_clock: ManualClock) -> None:
    policy, _ = layers(manual_clock)
    policy.call(int)
    policy.call(int)
    with deadline(0.5, clock=manual_clock), pytest.raises(RateLimitExceededError):
        policy.call(int)
    assert manual_clock.monotonic() == 0.0


def test_a_retry_after_is_obeyed_by_the_calls_that_follow(manual_clock: ManualClock) -> None:
    policy, bulkhead = layers(manual_clock)

    def refused() -> None:
        raise RateLimitedError("slow down", service="api", operation="get", retry_after_seconds=60.0)

    async def arefused() -> None:
        refused()

    with pytest.raises(RateLimitedError):
        policy.call(refused)
    with pytest.raises(RateLimitExceededError):
        policy.call(int)
    manual_clock.move(60.0)
    with pytest.raises(RateLimitedError):
        asyncio.run(policy.acall(arefused))
    with pytest.raises(RateLimitExceededError):
        policy.call(int)
    assert bulkhead.in_use == 0


def test_a_full_bulkhead_refuses_without_calling(manual_clock: ManualClock) -> None:
    policy, bulkhead = layers(manual_clock)
    with bulkhead.protect(), pytest.raises(BulkheadFullError):
        policy.call(lambda: pytest.fail("it was called"))
