"""Limits shared by processes: how much of the bound is granted, how fairly, at how many questions; and lost permits.

Fresh processes with wrong clocks take from one limit in a real Redis. The floor is the bound itself: the burst and the
rate times the time. Peers (limits, pyrate-limiter, throttled-py over the same Redis; aiolimiter in memory) do the same,
and are measured in turn with ours, in processor time of one granted call; one that cannot is reported as failing.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from bench import peers
from bench.peer_scenarios import granted
from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.patterns.bulkhead import Bulkhead, BulkheadPolicy
from collectors_dagster.patterns.rate_limiter import RateLimiter, local_rate_limiter
from collectors_dagster.patterns.rate_policy import RatePolicy
from tests.support.crowds import crowd
from tests.support.redis import running_redis

SECONDS = 3.0
SKEWS = (0.0, 5.0, -3600.0, 86_400.0)
CASES = ((1000.0, 100), (20_000.0, 2000))
PLENTY = RatePolicy(1e6, 1_000_000)
ROUNDS, CALLS = 7, 300
CANCELLATIONS = 10_000


SHARED_PEERS = ("limits", "pyrate-limiter", "throttled-py")


def measure() -> Report:
    """Measure ours, and each peer where it does the same."""
    with running_redis() as url:
        shared = [_shared(url, rate, burst) for rate, burst in CASES]
        beside = {name: peers.attempt(_peers_shared, name, url) for name in peers.LIMITERS}
        microseconds, failed = _microseconds_per_grant(url)
    lost, cancelled = asyncio.run(_cancelled())
    goals = [goal for each in shared for goal in _goals(each)]
    goals += [
        Goal(f"permits lost over {cancelled} cancellations", lost, 0),
        *(
            Goal(f"shared grant, CPU / {name}", microseconds["ours"] / microseconds[name], 1.0)
            for name in SHARED_PEERS
            if name in microseconds
        ),
    ]
    detail = {
        "shared": shared,
        "cpu_us_per_grant": {**microseconds, **failed},
        "cancelled": cancelled,
        "peers": _by_goal(beside),
        "versions": peers.versions(),
    }
    return Report("patterns_flow", tuple(goals), detail)


def _peers_shared(name: str, url: str) -> dict[str, float]:
    rate, burst = CASES[0]
    return granted(name, url, SKEWS, rate=int(rate), burst=burst, seconds=SECONDS)


def _by_goal(beside: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the peers' figures under the names of our goals."""
    case = f"{CASES[0][0]:.0f}/s, 4 processes"
    figures: dict[str, Callable[[dict[str, float]], float]] = {
        f"{case}: granted / bound": lambda each: each["granted"] / each["bound"],
        f"{case}: least served / mean": lambda each: each["least_of_mean"],
        f"{case}: questions per grant": lambda each: each["questions_per_grant"],
    }
    return {
        goal: {name: each if isinstance(each, str) else figure(each) for name, each in beside.items()}
        for goal, figure in figures.items()
    }


def _shared(url: str, rate: float, burst: int) -> dict[str, float]:
    """Let four processes take what they get."""
    prefix = f"bench-{uuid4().hex[:8]}:"
    common = {"prefix": prefix, "rate": rate, "burst": burst, "seconds": SECONDS}
    told = crowd(url, [{**common, "skew": skew} for skew in SKEWS])
    counts = [each["granted"] for each in told]
    mean = sum(counts) / len(counts)
    # They begin and end a moment apart: the bound is that of the time between the first and the last grant.
    span = max(each["last"] for each in told) - min(each["first"] for each in told)
    return {
        "rate": rate,
        "granted": sum(counts),
        "bound": burst + rate * span,
        "least_of_mean": min(counts) / mean,
        "questions_per_grant": sum(each["asked"] for each in told) / sum(counts),
    }


def _goals(case: dict[str, float]) -> list[Goal]:
    name = f"{case['rate']:.0f}/s, 4 processes"
    return [
        Goal(f"{name}: granted / bound", case["granted"] / case["bound"], 0.95, "higher"),
        Goal(f"{name}: granted / bound, at most", case["granted"] / case["bound"], 1.01),
        Goal(f"{name}: least served / mean", case["least_of_mean"], 0.7, "higher"),
        Goal(f"{name}: questions per grant", case["questions_per_grant"], 0.2),
    ]


# --- cancellations ---------------------------------------------------------------------------------------------------


async def _cancelled() -> tuple[int, int]:
    """Cancel calls at random moments; return permits and places in the queue that nobody gave back, and how many."""
    bulkhead = Bulkhead("bench", BulkheadPolicy(limit=5, queue_limit=10_000, max_wait_seconds=60.0))
    chance = random.Random(11)

    async def call() -> None:
        async with bulkhead.aprotect():
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)

    cancelled = lost = 0
    while cancelled < CANCELLATIONS:
        calls = [asyncio.ensure_future(call()) for _ in range(200)]
        while not all(each.done() for each in calls):
            for each in chance.sample(calls, 20):
                each.cancel()
            await asyncio.sleep(0)
        ended = await asyncio.gather(*calls, return_exceptions=True)
        cancelled += sum(isinstance(each, asyncio.CancelledError) for each in ended)
        lost += bulkhead.in_use + bulkhead.waiting
    return lost, cancelled


# --- what a grant costs ----------------------------------------------------------------------------------------------


def _microseconds_per_grant(url: str) -> tuple[dict[str, float], dict[str, str]]:
    """Return the processor microseconds of one granted call, least of the rounds, and what could not be measured."""
    clock = SystemClock()
    made = {name: peers.attempt(_plentiful, name, url) for name in SHARED_PEERS}
    with RedisStore(parse_address(url), prefix="bench:") as store:
        limiter = RateLimiter("bench", PLENTY, store=store, clock=clock)
        local = local_rate_limiter("bench", PLENTY, clock=clock)
        blocking: dict[str, Callable[[], object]] = {name: call for name, call in made.items() if callable(call)}
        blocking["ours"] = lambda: limiter.acquire(timeout_seconds=5.0)
        awaiting: dict[str, Callable[[], Awaitable[object]]] = {
            "aiolimiter": peers.local_acquire(),
            "ours, local": lambda: local.aacquire(timeout_seconds=5.0),
        }
        figures: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, call in blocking.items():
                figures.setdefault(name, []).append(_microseconds(call))
            for name, acall in awaiting.items():
                figures.setdefault(name, []).append(asyncio.run(_amicroseconds(acall)))
    failed = {name: why for name, why in made.items() if isinstance(why, str)}
    return {name: min(each) for name, each in figures.items()}, failed


def _plentiful(name: str, url: str) -> Callable[[], bool]:
    return peers.shared_limiter(name, url, rate=1_000_000, burst=1_000_000)


def _microseconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - began) / CALLS * 1e6


async def _amicroseconds(call: Callable[[], Awaitable[object]]) -> float:
    began = time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - began) / CALLS * 1e6


if __name__ == "__main__":
    main(measure, __doc__)
