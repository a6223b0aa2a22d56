"""What a circuit breaker and a retry cost a call that goes well, and what they save when all goes wrong.

Peers are measured in turn with ours, so that a busy moment hits both; the median of the rounds' ratios to a bare call
counts, in processor time. Twenty fresh processes call a service that always fails, through one circuit in Redis; 32
callers in 8 processes ask at once for a place as a probe. Peers do the same where they say that they can; one that
cannot is reported as failing.
"""

import asyncio
import gc
import random
import statistics
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from typing import Any

import psutil

from bench import peers
from bench.peer_scenarios import doomed_calls, probes_begun
from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.patterns import BreakerPolicy, CircuitBreaker, Retry, RetryPolicy, failed_if_transient
from collectors_dagster.patterns.bulkhead import BulkheadPolicy, SharedBulkhead
from collectors_dagster.patterns.rate_limiter import RateLimiter
from collectors_dagster.patterns.rate_policy import RatePolicy
from collectors_dagster.patterns.shared_state import Argument, Reply, Step
from tests.integration.redis.test_circuit_breaker import askers, break_down, let_through, started
from tests.support.breaker_caller import PROBED
from tests.support.redis import running_redis

CLOCK = SystemClock()
ROUNDS = 15
CALLS = 3000
PEER_CALLS = 100_000
Sync = Callable[[], object]
Async = Callable[[], Awaitable[object]]


def bare() -> None:
    """Do nothing."""


async def abare() -> None:
    """Do nothing, asynchronously."""


def breaker(**options: Any) -> CircuitBreaker:
    policy = options.pop("policy", BreakerPolicy(5, 30.0))
    return CircuitBreaker("bench", policy, classify=failed_if_transient, clock=CLOCK, **options)


def again() -> Retry:
    policy = RetryPolicy(attempts=3, base_seconds=0.1, cap_seconds=1.0, deadline_seconds=10.0)
    return Retry(policy, retry_on=lambda _: True, clock=CLOCK, random=random.random)


def contestants() -> tuple[dict[str, Sync], dict[str, Async]]:
    """Return what is called, by name, ours first."""
    slow = BreakerPolicy(5, 30.0, slow_ratio=0.5, slow_seconds=1.0)
    sync: dict[str, Sync] = {
        "bare": bare,
        "breaker": breaker()(bare),
        "breaker with slow calls": breaker(policy=slow)(bare),
        "retry": again()(bare),
    }
    awaited: dict[str, Async] = {"bare": abare, "breaker": breaker()(abare), "retry": again()(abare)}
    for name in (*peers.BREAKERS, *peers.RETRIES):
        sync[name] = peers.guarded(name, bare)
        with suppress(LookupError):  # it has no asynchronous form
            awaited[name] = peers.guarded(name, abare)
    return sync, awaited


def nanoseconds(call: Sync) -> float:
    began = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - began) / CALLS * 1e9


async def ananoseconds(call: Async) -> float:
    began = time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - began) / CALLS * 1e9


def ratios(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return each contestant's median ratio to the bare call of the same round."""
    return {name: statistics.median(one[name] / one["bare"] for one in rounds) for name in rounds[0]}


async def _arounds(awaited: dict[str, Async]) -> list[dict[str, float]]:
    return [{name: await ananoseconds(call) for name, call in awaited.items()} for _ in range(ROUNDS)]


class Counted:
    """A store that counts round trips."""

    def __init__(self, store: RedisStore) -> None:
        self.store, self.asked = store, 0

    def run(self, step: Step, key: str, arguments: tuple[Argument, ...] = ()) -> Reply:
        """Count, and pass on."""
        self.asked += 1
        return self.store.run(step, key, arguments)

    async def arun(self, step: Step, key: str, arguments: tuple[Argument, ...] = ()) -> Reply:
        """Count, and pass on."""
        self.asked += 1
        return await self.store.arun(step, key, arguments)


def round_trips_per_call(url: str, calls: int = 20_000) -> float:
    """Call through a closed shared circuit, as fast as it goes."""
    store = Counted(RedisStore(parse_address(url)))
    call = breaker(store=store)(bare)
    for _ in range(calls):
        call()
    return store.asked / calls


def doomed(url: str) -> tuple[int, int]:
    """Return how many of 100 doomed calls ran in twenty processes, and how many of a further process."""
    ran = 0
    for _ in range(10):
        batch: list[subprocess.Popen[str]] = [started(url, "fail", "doomed") for _ in range(2)]
        ran += sum(int(process.communicate()[0]) for process in batch)
    return ran, int(started(url, "fail", "doomed").communicate()[0])


def rounds_with_exactly_the_probes(url: str) -> int:
    with askers(url) as processes:
        found = 0
        for number in range(20):
            break_down(url, f"round-{number}")
            found += sum(let_through(processes, f"round-{number}")) == PROBED.probes
        return found


def megabytes_per_million(call: Sync, calls: int = 1_000_000) -> float:
    """Return what a million calls add to the process: what is resident afterwards, not the peak before."""
    process = psutil.Process()
    for _ in range(calls // 10):
        call()
    before = process.memory_info().rss
    for _ in range(calls):
        call()
    return max(0, process.memory_info().rss - before) / 1e6 * (1_000_000 / calls)


def background_threads(url: str) -> int:
    """Return how many threads of ours run while a circuit, a limit and a bulkhead, all shared, are in use."""
    before = threading.active_count()
    with RedisStore(parse_address(url)) as store, ExitStack() as stack:
        limiter = RateLimiter("threads", RatePolicy(1e6, 1_000_000), store=store, clock=CLOCK)
        call = breaker(store=store)(bare)
        for number in range(3):
            policy = BulkheadPolicy(2)
            shared = SharedBulkhead(f"threads-{number}", policy, store=store, clock=CLOCK, random=random.random)
            stack.enter_context(shared.protect())
        for _ in range(1000):
            limiter.acquire(timeout_seconds=5.0)
            call()
        return threading.active_count() - before


def peers_alone(sync: dict[str, Sync]) -> dict[str, float]:
    return {name: megabytes_per_million(sync[name], PEER_CALLS) for name in (*peers.BREAKERS, *peers.RETRIES)}


def with_peers(one: dict[str, float], other: dict[str, float], url: str) -> dict[str, dict[str, Any]]:
    """Return the peers' figures by goal."""
    ended = {name: peers.attempt(doomed_calls, name, url) for name in peers.SHARED_BREAKERS}
    probes = {name: peers.attempt(probes_begun, name, url) for name in peers.SHARED_BREAKERS}
    no_form = "has no asyncio form"
    return {
        SYNC_BREAKER: {name: one[name] for name in peers.BREAKERS},
        ASYNC_BREAKER: {name: other.get(name, no_form) for name in peers.BREAKERS},
        SYNC_RETRY: {name: one[name] for name in peers.RETRIES},
        ASYNC_RETRY: {name: other.get(name, no_form) for name in peers.RETRIES},
        DOOMED: {name: each if isinstance(each, str) else each["ran"] for name, each in ended.items()},
        UNDER_OPEN: {
            name: each if isinstance(each, str) else each["under an open circuit"] for name, each in ended.items()
        },
        PROBES: {name: each if isinstance(each, str) else _probes_in_words(each) for name, each in probes.items()},
    }


def _probes_in_words(found: list[int]) -> str:
    return f"{min(found)} to {max(found)} of 32 ran in {len(found)} rounds; 1 is allowed"


SYNC_BREAKER, ASYNC_BREAKER = "breaker, closed / bare call", "breaker, closed / bare await"
SYNC_RETRY, ASYNC_RETRY = "retry, no failure / bare call", "retry, no failure / bare await"
DOOMED = "20 processes x 5 doomed calls, minimum 10: calls that ran"
UNDER_OPEN = "a new process under an open circuit: calls that ran"
PROBES = f"rounds of 20 in which exactly {PROBED.probes} of 32 callers were probes"
GROWTH = "growth per million calls, MB"


def measure() -> Report:
    """Measure all of it."""
    sync, awaited = contestants()
    growth = max(
        megabytes_per_million(sync[name]) for name in ("breaker", "retry")
    )  # first: what is freed hides growth
    grown = peers_alone(sync)
    gc.disable()
    one = ratios([{name: nanoseconds(call) for name, call in sync.items()} for _ in range(ROUNDS)])
    other = ratios(asyncio.run(_arounds(awaited)))
    gc.enable()
    with running_redis() as url:
        trips = round_trips_per_call(url)
        ran, after = doomed(url)
        exact = rounds_with_exactly_the_probes(url)
        threads = background_threads(url)
        beside = {**with_peers(one, other, url), GROWTH: grown}
    goals = (
        Goal(SYNC_BREAKER, one["breaker"], 10.0),
        Goal(ASYNC_BREAKER, other["breaker"], 4.0),
        Goal(SYNC_RETRY, one["retry"], 12.0),
        Goal(ASYNC_RETRY, other["retry"], 4.0),
        Goal("shared breaker, closed, round trips per call", trips, 0.1),
        Goal(DOOMED, ran, 12.0),
        Goal(UNDER_OPEN, after, 0.0),
        Goal(PROBES, exact, 20.0, "higher"),
        Goal(GROWTH, growth, 5.0),
        Goal("background threads", threads, 1),
    )
    detail = {"times_bare_call": one, "times_bare_await": other, "peers": beside, "versions": peers.versions()}
    return Report("patterns_breaker", goals, detail)


if __name__ == "__main__":
    main(measure, __doc__)
