"""What a cached answer costs beside a dict and beside cachetools, and how often one hot key is loaded by many.

Hits in this process are measured in turn with a bare dict lookup, with cachetools' LRU cache under a lock, which ours
wraps, and with its decorator; the median of the rounds' ratios counts, in processor time. Loads of one expiring hot key
are counted in one process of many threads and in eight processes over a real Redis; a loader is killed while it loads;
and calls are cancelled at random moments.
"""

import asyncio
import gc
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import uuid4

import cachetools

from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.patterns import BYTES, JSON, Cache, CacheLimits, CachePolicy
from collectors_dagster.patterns.memory_store import MemoryStore
from tests.support.caches import Counted, Source, json_cache, no_local
from tests.support.crowds import crowd
from tests.support.redis import running_redis
from tests.support.shared_stores import PATIENT

CLOCK = SystemClock()
ROUNDS, CALLS = 15, 5000
CANCELLATIONS = 10_000
PROCESSES, EXPIRIES = 8, 3
LEASE_SECONDS = 1.0
VALUE = b"x" * 500


def measure() -> Report:
    """Measure all of it."""
    hits = _hits()
    lost, cancelled = asyncio.run(_cancelled())
    one = _one_process()
    with running_redis() as url:
        fleet = [_fleet(url, stale) for stale in (0.0, 1.0)]
        killed = _killed(url)
        trips = _round_trips(url)
    goals = (
        Goal("hit in the process / dict lookup", _ratio(hits, "dict"), 40.0),
        Goal("hit in the process / cachetools with a lock", _ratio(hits, "cachetools, lock"), 3.0),
        Goal("hit in the process / @cachetools.cached with a lock", _ratio(hits, "cachetools.cached"), 2.0),
        Goal("one process, 20 threads: most loads per expiry of a hot key", one["loads"], 1.0),
        Goal(f"{PROCESSES} processes: most loads per expiry of a hot key", max(each["worst"] for each in fleet), 2.0),
        Goal(f"flights lost over {CANCELLATIONS} cancellations", lost, 0.0),
        Goal("loader killed: s until another one loads", killed, LEASE_SECONDS + 0.5),
        Goal("shared: round trips per call of a hot key", trips, 0.1),
    )
    medians = {name: statistics.median(each[name] for each in hits) for name in hits[0]}
    detail = {
        "nanoseconds": medians,
        "fleet": fleet,
        "one_process": one,
        "cancelled": cancelled,
        "python": sys.version,
        "cachetools": cachetools.__version__,
    }
    return Report("patterns_cache", goals, detail)


# --- hits ------------------------------------------------------------------------------------------------------------


def _hits() -> list[dict[str, float]]:
    store = MemoryStore(CLOCK)
    policy = CachePolicy(limits=CacheLimits(local_seconds=3600.0))
    ours = Cache("b", policy, codec=BYTES, store=store, clock=CLOCK, random=random.random)
    as_json = Cache("j", policy, codec=JSON, store=store, clock=CLOCK, random=random.random)
    plain = {f"key-{number}": VALUE for number in range(1000)}
    lru: cachetools.LRUCache[str, bytes] = cachetools.LRUCache(10_000, getsizeof=None)
    lock = threading.Lock()
    lru.update(plain)

    @cachetools.cached(cachetools.LRUCache(10_000), lock=lock)
    def decorated(_key: str) -> bytes:
        return VALUE

    def locked() -> bytes:
        with lock:
            return lru["key-7"]

    def load() -> bytes:
        return VALUE

    contestants: dict[str, Callable[[], object]] = {
        "dict": lambda: plain["key-7"],
        "cachetools, lock": locked,
        "cachetools.cached": lambda: decorated("key-7"),
        "ours": lambda: ours.get("key-7", load),
        "ours, JSON of 500 bytes": lambda: as_json.get("key-7", lambda: {"name": "x" * 490}),
    }
    for call in contestants.values():
        call()
    gc.disable()
    rounds = [{name: _nanoseconds(call) for name, call in contestants.items()} for _ in range(ROUNDS)]
    gc.enable()
    return rounds


def _ratio(rounds: list[dict[str, float]], peer: str) -> float:
    return statistics.median(each["ours"] / each[peer] for each in rounds)


def _nanoseconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - began) / CALLS * 1e9


# --- loads -----------------------------------------------------------------------------------------------------------


def _one_process() -> dict[str, float]:
    """Let a key expire under twenty threads; return loads per expiry."""
    policy = CachePolicy(
        hot_seconds=0.5, warm_seconds=0.5, cold_seconds=0.5, stale_while_revalidate_seconds=0.0, early_refresh_beta=0.0
    )
    cache = json_cache(MemoryStore(CLOCK), CLOCK, policy)
    loads: list[float] = []
    asked = [0] * 20
    end = CLOCK.monotonic() + 3.0

    def load() -> str:
        loads.append(CLOCK.monotonic())
        CLOCK.sleep(0.1)
        return "value"

    def work(number: int) -> None:
        while CLOCK.monotonic() < end:
            cache.get("hot", load)
            asked[number] += 1
            CLOCK.sleep(0.001)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Between the ends of two loads lie at least the time of the value, jitter off, and the load.
    gaps = [later - earlier for earlier, later in pairwise(loads)]
    together = 1 + sum(gap < 0.45 for gap in gaps)
    return {"loads": float(together), "asked": float(sum(asked)), "all": float(len(loads))}


def _fleet(url: str, stale: float) -> dict[str, float]:
    """Let a hot key be asked for by processes for some of its lives; return the loads of the worst life."""
    prefix = f"bench-{uuid4().hex[:8]}:"
    ttl = 1.5
    common: dict[str, object] = {"prefix": prefix, "ttl": ttl, "load": 0.3, "threads": 4, "local": 0.05, "stale": stale}
    told: list[dict[str, Any]] = list(crowd(url, [{**common, "seconds": ttl * EXPIRIES}] * PROCESSES, "cache_client"))
    times = sorted(at for each in told for at in each["at"])
    lives = [1]
    for earlier, later in pairwise(times):
        if later - earlier < ttl * 0.8:
            lives[-1] += 1
        else:
            lives.append(1)
    asked = sum(each["asked"] for each in told)
    return {"worst": float(max(lives)), "loads": float(len(times)), "lives": float(len(lives)), "asked": float(asked)}


def _killed(url: str) -> float:
    """Kill a process that loads; return the seconds until another one's answer is there."""
    prefix = f"bench-{uuid4().hex[:8]}:"
    options = {
        "url": url,
        "prefix": prefix,
        "ttl": 60.0,
        "load": 600.0,
        "seconds": 1.0,
        "lease": LEASE_SECONDS,
        "say": 1,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.cache_client", json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.write("go\n")
        process.stdin.flush()
        process.stdout.readline()
        policy = CachePolicy(limits=CacheLimits(lease_seconds=LEASE_SECONDS))
        with RedisStore(parse_address(url), prefix=prefix, options=PATIENT) as store:
            cache = json_cache(store, CLOCK, policy, tenant="acme")
            CLOCK.sleep(LEASE_SECONDS * 1.5)
            process.kill()
            began = CLOCK.monotonic()
            assert cache.get("hot", Source("successor")) == "successor"
            return CLOCK.monotonic() - began


def _round_trips(url: str) -> float:
    """Return questions to Redis per call, for a key that is asked for 5,000 times within a second or so."""
    asked = 0
    with RedisStore(parse_address(url), prefix=f"bench-{uuid4().hex[:8]}:", options=PATIENT) as store:

        class Asked:
            def run(self, *told: Any) -> Any:
                nonlocal asked
                asked += 1
                return store.run(*told)

            async def arun(self, *told: Any) -> Any:
                return await store.arun(*told)

        metrics = Counted()
        cache = json_cache(Asked(), CLOCK, metrics=metrics)
        source = Source()
        for _ in range(5000):
            cache.get("hot", source)
    return asked / 5000


# --- cancellations ---------------------------------------------------------------------------------------------------


async def _cancelled() -> tuple[int, int]:
    """Cancel calls at random moments; return flights without a leader and keys without a loader, and how many."""
    cache = json_cache(MemoryStore(CLOCK), CLOCK, CachePolicy(limits=no_local()))
    chance = random.Random(11)

    async def load() -> int:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        return 1

    cancelled = lost = 0
    while cancelled < CANCELLATIONS:
        keys = [f"{cancelled}-{number}" for number in range(5)]
        calls = [asyncio.ensure_future(cache.aget(chance.choice(keys), load)) for _ in range(200)]
        while not all(each.done() for each in calls):
            for each in chance.sample(calls, 20):
                each.cancel()
            await asyncio.sleep(0)
        ended = await asyncio.gather(*calls, return_exceptions=True)
        cancelled += sum(isinstance(each, asyncio.CancelledError) for each in ended)
        lost += len(cache._flights)  # noqa: SLF001 - what is counted
        async with asyncio.timeout(5):
            lost += sum([await cache.aget(key, load) != 1 for key in keys])
    return lost, cancelled


if __name__ == "__main__":
    main(measure, __doc__)
