"""Several fresh processes share a limit in a real Redis, whatever their own clocks say."""

import asyncio
from collections.abc import Sequence
from threading import Event
from uuid import uuid4

import pytest

from collectors_dagster.clock import SystemClock
from collectors_dagster.errors import RateLimitExceededError
from collectors_dagster.patterns.rate_limiter import PLACE_SECONDS, RateLimiter
from collectors_dagster.patterns.rate_policy import Algorithm, RatePolicy
from tests.support.crowds import crowd
from tests.support.shared_stores import SharedPlace

SKEWS = (0.0, 5.0, -3600.0, 86_400.0)


def shared_by_four(url: str, **options: object) -> list[dict[str, float]]:
    """Let four processes with four clocks take what they can for 2 s."""
    prefix = f"test-{uuid4().hex[:8]}:"
    return crowd(url, [{"prefix": prefix, "seconds": 2.0, "skew": skew, **options} for skew in SKEWS])


@pytest.mark.parametrize(
    ("algorithm", "rate", "bound"),
    [
        (Algorithm.TOKEN_BUCKET, 1000.0, 2100),
        (Algorithm.LEAKY_BUCKET, 1000.0, 2001),
        (Algorithm.SLIDING_WINDOW, 1000.0, 3000),
        (Algorithm.FIXED_WINDOW, 1000.0, 3000),
        (Algorithm.SLIDING_WINDOW, 20_000.0, 60_000),
    ],
)
def test_processes_together_get_the_limit_and_no_more(
    algorithm: Algorithm, rate: float, bound: int, redis_url: str
) -> None:
    told = shared_by_four(redis_url, algorithm=algorithm.value, rate=rate, burst=100)
    granted = sum(each["granted"] for each in told)
    assert 0.6 * bound <= granted <= 1.01 * bound  # how close to it on a quiet machine: bench.patterns_flow
    assert sum(each["asked"] for each in told) <= 0.3 * granted
    assert min(each["granted"] for each in told) >= 0.5 * granted / 4


def test_coroutines_of_several_processes_share_alike(redis_url: str) -> None:
    told = shared_by_four(redis_url, rate=1000.0, burst=100, awaiting=20)
    granted = sum(each["granted"] for each in told)
    assert 0.6 * 2100 <= granted <= 1.01 * 2100
    assert sum(each["asked"] for each in told) <= 0.5 * granted


def test_expensive_requests_take_their_cost(redis_url: str) -> None:
    told = shared_by_four(redis_url, rate=500.0, burst=50, cost=10)
    assert 0.6 * 1050 <= sum(each["granted"] for each in told) <= 1.01 * 1050


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_ban_stops_all_wherever_the_state_lies(algorithm: Algorithm, shared_place: SharedPlace) -> None:
    policy = RatePolicy(1000.0, 100, algorithm)
    sharers = [RateLimiter("api", policy, store=shared_place.store, clock=SystemClock()) for _ in range(4)]
    for each in sharers:
        each.acquire(timeout_seconds=5.0)
    sharers[0].pause(30.0)
    Event().wait(2 * PLACE_SECONDS)  # so long at most a place booked before the ban may still be taken
    later = RateLimiter("api", policy, store=shared_place.store, clock=SystemClock())
    for each in (*sharers, later):
        assert each.try_acquire() == pytest.approx(30.0, abs=2.0)
        with pytest.raises(RateLimitExceededError):
            asyncio.run(each.aacquire(timeout_seconds=1.0))


def test_a_ban_outlives_the_processes_that_saw_it(redis_url: str) -> None:
    options: dict[str, object] = {"prefix": f"test-{uuid4().hex[:8]}:", "rate": 1000.0, "burst": 100}
    assert _granted(redis_url, [{**options, "seconds": 0.2, "ban": 60.0}]) == 0
    assert _granted(redis_url, [{**options, "seconds": 0.2}] * 3) == 0


def _granted(url: str, options: Sequence[dict[str, object]]) -> float:
    return sum(each["granted"] for each in crowd(url, options))
