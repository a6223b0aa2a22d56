"""What a circuit breaker and a retry cost a call that goes well, and what they save when all goes wrong.

Peers are measured in turn with ours, so that a busy moment hits both; the median of the rounds' ratios to a bare call
counts, in processor time. A peer that is not installed is named in the detail. Twenty fresh processes call a service
that always fails, through one circuit in Redis; 32 callers in 8 processes ask at once for a place as a probe.
"""

import asyncio
import gc
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.patterns import BreakerPolicy, CircuitBreaker, Retry, RetryPolicy, failed_if_transient
from collectors_dagster.patterns.shared_state import Argument, Reply, Step
from tests.integration.redis.test_circuit_breaker import askers, break_down, let_through, started
from tests.support.breaker_caller import PROBED
from tests.support.redis import running_redis

CLOCK = SystemClock()
ROUNDS = 15
CALLS = 3000
PEERS = ("pybreaker", "purgatory", "tenacity", "stamina")
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
    for name in PEERS:
        if find_spec(name) is not None:
            _add_peer(name, import_module(name), sync, awaited)
    return sync, awaited


def _add_peer(name: str, module: Any, sync: dict[str, Sync], awaited: dict[str, Async]) -> None:
    if name == "pybreaker":
        sync[name] = module.CircuitBreaker(fail_max=5, reset_timeout=30)(bare)
    elif name == "purgatory":
        sync[name] = module.SyncCircuitBreakerFactory(default_threshold=5, default_ttl=30)("bench")(bare)
        awaited[name] = module.AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=30)("bench")(abare)
    elif name == "tenacity":
        wrapped = module.retry(stop=module.stop_after_attempt(3), wait=module.wait_random_exponential(0.1, 1))
        sync[name], awaited[name] = wrapped(bare), wrapped(abare)
    elif name == "stamina":
        wrapped = module.retry(on=ValueError, attempts=3)
        sync[name], awaited[name] = wrapped(bare), wrapped(abare)


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


def megabytes_per_million(call: Sync) -> float:
    for _ in range(100_000):
        call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1_000_000):
        call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def measure() -> Report:
    """Measure all of it."""
    sync, awaited = contestants()
    gc.disable()
    one = ratios([{name: nanoseconds(call) for name, call in sync.items()} for _ in range(ROUNDS)])
    other = ratios(asyncio.run(_arounds(awaited)))
    gc.enable()
    growth = max(megabytes_per_million(sync[name]) for name in ("breaker", "retry"))
    with running_redis() as url:
        trips = round_trips_per_call(url)
        ran, after = doomed(url)
        exact = rounds_with_exactly_the_probes(url)
    goals = (
        Goal("breaker, closed / bare call", one["breaker"], 10.0),
        Goal("breaker, closed / bare await", other["breaker"], 4.0),
        Goal("retry, no failure / bare call", one["retry"], 12.0),
        Goal("retry, no failure / bare await", other["retry"], 4.0),
        Goal("shared breaker, closed, round trips per call", trips, 0.1),
        Goal("20 processes x 5 doomed calls, minimum 10: calls that ran", ran, 12.0),
        Goal("a new process under an open circuit: calls that ran", after, 0.0),
        Goal(f"rounds of 20 in which exactly {PROBED.probes} of 32 callers were probes", exact, 20.0, "higher"),
        Goal("growth per million calls, MB", growth, 5.0),
    )
    absent = [name for name in PEERS if find_spec(name) is None]
    detail = {"times_bare_call": one, "times_bare_await": other, "peers_not_installed": absent, "python": sys.version}
    return Report("patterns_breaker", goals, detail)


if __name__ == "__main__":
    main(measure, __doc__)
