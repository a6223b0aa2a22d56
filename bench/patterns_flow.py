"""Limits shared by processes: how much of the bound is granted, how fairly, at how many questions; and lost permits.

Fresh processes with wrong clocks take from one limit in a real Redis. The floor is the bound itself: the burst and the
rate times the time. Peers (limits, pyrate-limiter, throttled-py over the same Redis; aiolimiter in memory) are measured
in turn with ours, in processor time of one granted call; those that are not installed are named in the detail.
"""

import asyncio
import importlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

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


def measure() -> Report:
    with running_redis() as url:
        shared = [_shared(url, rate, burst) for rate, burst in CASES]
        peers, missing = _peers(url)
    lost, cancelled = asyncio.run(_cancelled())
    goals = [goal for each in shared for goal in _goals(each)]
    goals += [
        Goal(f"permits lost over {cancelled} cancellations", lost, 0),
        *(Goal(f"shared grant, CPU / {name}", peers["ours"] / peers[name], 1.0) for name in _SHARED if name in peers),
    ]
    detail = {"shared": shared, "cpu_us_per_grant": peers, "not_installed": missing, "cancelled": cancelled}
    return Report("patterns_flow", tuple(goals), detail)


def _shared(url: str, rate: float, burst: int) -> dict[str, float]:
    """Let four processes take what they get."""
    prefix = f"bench-{uuid4().hex[:8]}:"
    common = {"prefix": prefix, "rate": rate, "burst": burst, "seconds": SECONDS}
    told = crowd(url, [{**common, "skew": skew} for skew in SKEWS])
    granted = [each["granted"] for each in told]
    mean = sum(granted) / len(granted)
    # They begin and end a moment apart: the bound is that of the time between the first and the last grant.
    span = max(each["last"] for each in told) - min(each["first"] for each in told)
    return {
        "rate": rate,
        "granted": sum(granted),
        "bound": burst + rate * span,
        "least_of_mean": min(granted) / mean,
        "questions_per_grant": sum(each["asked"] for each in told) / sum(granted),
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


# --- peers -----------------------------------------------------------------------------------------------------------


def _limits(url: str) -> Callable[[], object]:
    limits = importlib.import_module("limits")
    storage = importlib.import_module("limits.storage").RedisStorage(url)
    limiter = importlib.import_module("limits.strategies").FixedWindowRateLimiter(storage)
    item = limits.RateLimitItemPerSecond(1_000_000)
    return lambda: limiter.hit(item, "bench")


def _pyrate(url: str) -> Callable[[], object]:
    pyrate = importlib.import_module("pyrate_limiter")
    redis = importlib.import_module("redis")
    bucket = pyrate.RedisBucket.init([pyrate.Rate(1_000_000, 1000)], redis.Redis.from_url(url), "bench-pyrate")
    limiter = pyrate.Limiter(bucket)
    return lambda: limiter.try_acquire("bench")


def _throttled(url: str) -> Callable[[], object]:
    throttled = importlib.import_module("throttled")
    quota = throttled.rate_limiter.per_sec(1_000_000, burst=1_000_000)
    store = throttled.store.RedisStore(server=url)
    limiter = throttled.Throttled(key="bench", using="gcra", quota=quota, store=store)
    return lambda: limiter.limit("bench")


def _aiolimiter(_url: str) -> Callable[[], Awaitable[object]]:
    limiter = importlib.import_module("aiolimiter").AsyncLimiter(1_000_000, 1.0)
    acquire: Callable[[], Awaitable[object]] = limiter.acquire
    return acquire


_SHARED: dict[str, Callable[[str], Callable[[], object]]] = {
    "limits": _limits,
    "pyrate-limiter": _pyrate,
    "throttled-py": _throttled,
}
_LOCAL = {"aiolimiter": _aiolimiter}


def _peers(url: str) -> tuple[dict[str, float], dict[str, str]]:
    """Return the processor microseconds of one granted call, least of the rounds, and what could not be measured."""
    blocking: dict[str, Callable[[], object]] = {}
    awaiting: dict[str, Callable[[], Awaitable[object]]] = {}
    missing: dict[str, str] = {}
    for name, make in (*_SHARED.items(), *_LOCAL.items()):
        try:
            made: Any = make(url)
        except Exception as error:  # noqa: BLE001 - a peer that is not there, or has changed, spoils no measurement
            missing[name] = f"{type(error).__name__}: {error}"
        else:
            (awaiting if name in _LOCAL else blocking)[name] = made
    clock = SystemClock()
    with RedisStore(parse_address(url), prefix="bench:") as store:
        limiter = RateLimiter("bench", PLENTY, store=store, clock=clock)
        local = local_rate_limiter("bench", PLENTY, clock=clock)
        blocking["ours"] = lambda: limiter.acquire(timeout_seconds=5.0)
        awaiting["ours, local"] = lambda: local.aacquire(timeout_seconds=5.0)
        figures: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, call in blocking.items():
                figures.setdefault(name, []).append(_microseconds(call))
            for name, acall in awaiting.items():
                figures.setdefault(name, []).append(asyncio.run(_amicroseconds(acall)))
    return {name: min(each) for name, each in figures.items()}, missing


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
