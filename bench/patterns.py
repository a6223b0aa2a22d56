"""What shared state costs while Redis is closed, hangs or loses a master, and how soon it is shared again.

Real servers of its own on loopback, our time-outs as they come; beside it a redis-py client as it comes, and peers that
keep their state in Redis, each in a process of its own. A cluster needs the system's ``redis-server``. Single decisions
of the patterns are measured in ``bench.patterns_*``.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from typing import Any

from bench import peers
from bench.peer_scenarios import first_decision_ms
from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.integrations.redis.check import STORE_CHECK
from collectors_dagster.integrations.redis.slots import slot_of
from collectors_dagster.patterns.guarded_store import GuardedStore
from tests.support.postgres import free_port
from tests.support.redis import RedisProcess, answers, redis_process
from tests.support.redis_cluster import NODE_TIMEOUT_MS, RedisCluster, running_cluster
from tests.support.waiting import wait_until

CLOCK = SystemClock()
CALLS = 1000
ROUNDS = 5
STEP_SECONDS = 0.005
PATIENCE_SECONDS = 60.0


CLOSED, HUNG = "closed: ms of the first decision", "hung: ms of the worst of 1,000 calls"


def measure() -> Report:
    """Break servers, and look at the clock."""
    closed, closed_async = _closed(), asyncio.run(_aclosed())
    hung, hung_async = _hung(), asyncio.run(_ahung())
    back = [_back(6.0 + number / ROUNDS * 2.5) for number in range(ROUNDS)]
    goals = [
        Goal(CLOSED, closed["first_ms"], 100),
        Goal("closed: ms of the first decision, async", closed_async["first_ms"], 100),
        Goal(HUNG, hung["worst_ms"], 150),
        Goal("hung: ms of the worst of 1,000 calls, async", hung_async["worst_ms"], 150),
        Goal("hung: s of 1,000 calls in all", hung["all_s"], 1.0),
        Goal("hung: s of 1,000 calls in all, async", hung_async["all_s"], 1.0),
        Goal(f"s until shared again, worst of {ROUNDS}", max(back), 3.0),
    ]
    detail: dict[str, Any] = {"closed": closed, "hung": hung, "back_s": back, "peers": _peers()}
    if shutil.which("redis-server"):
        lost = _lost_master()
        detail["lost master"] = lost
        goals += [
            Goal("master killed: ms of the worst call on a healthy shard", lost["healthy_worst_ms"], 150),
            Goal("master killed: s until its names are shared again", lost["back_s"], NODE_TIMEOUT_MS / 1000 + 6),
            Goal("master killed: calls on healthy shards that decided alone", lost["healthy_alone"], 0),
            Goal("master killed: undocumented exceptions", lost["undocumented"], 0),
        ]
    return Report("patterns", tuple(goals), detail)


def _closed() -> dict[str, float]:
    began = CLOCK.monotonic()
    _decide(_closed_guard(), "bench:closed")
    return {"first_ms": (CLOCK.monotonic() - began) * 1000}


async def _aclosed() -> dict[str, float]:
    began = CLOCK.monotonic()
    await _adecide(_closed_guard(), "bench:closed")
    return {"first_ms": (CLOCK.monotonic() - began) * 1000}


def _closed_guard() -> GuardedStore:
    return _guarded(RedisStore(parse_address(f"redis://127.0.0.1:{free_port()}")))


def _hung() -> dict[str, float]:
    with _server() as server:
        guard = _guarded(RedisStore(parse_address(server.url)))
        _decide(guard, "bench:hung")  # a connection that is open when it begins
        server.pause()
        return _summed([_timed(lambda: _decide(guard, "bench:hung")) for _ in range(CALLS)])


async def _ahung() -> dict[str, float]:
    with _server() as server:
        guard = _guarded(RedisStore(parse_address(server.url)))
        await _adecide(guard, "bench:hung")
        server.pause()
        seconds = []
        for _ in range(CALLS):
            began = CLOCK.monotonic()
            await _adecide(guard, "bench:hung")
            seconds.append(CLOCK.monotonic() - began)
        return _summed(seconds)


def _summed(seconds: list[float]) -> dict[str, float]:
    return {"worst_ms": max(seconds) * 1000, "all_s": sum(seconds)}


def _back(outage_seconds: float) -> float:
    """Return the seconds from the end of an outage, at whatever moment of a pause, to shared state."""
    with _server() as server:
        guard = _guarded(RedisStore(parse_address(server.url)))
        _decide(guard, "bench:back")
        server.pause()
        end = CLOCK.monotonic() + outage_seconds
        while CLOCK.monotonic() < end:
            _decide(guard, "bench:back")
            CLOCK.sleep(STEP_SECONDS)
        server.go_on()
        return _seconds_until(lambda: _decide(guard, "bench:back"))


def _lost_master() -> dict[str, Any]:
    with running_cluster() as cluster:
        store = RedisStore(parse_address(cluster.url))
        guard = _guarded(store, store)
        lost, names = _names_by_master(cluster)
        wait_until(lambda: all(_decide(guard, name) for name in names.values()), seconds=PATIENCE_SECONDS)
        healthy = [name for port, name in names.items() if port != lost]
        cluster.kill(lost)
        return _while_it_is_lost(guard, names[lost], healthy)


def _while_it_is_lost(guard: GuardedStore, lost: str, healthy: list[str]) -> dict[str, Any]:
    began, worst, worst_lost, alone, undocumented, calls = CLOCK.monotonic(), 0.0, 0.0, 0, 0, 0
    while CLOCK.monotonic() - began < PATIENCE_SECONDS:
        for name in (*healthy, lost):
            started = CLOCK.monotonic()
            try:
                shared = _decide(guard, name)
            except Exception:  # noqa: BLE001 - the figure
                shared, undocumented = False, undocumented + 1
            seconds = CLOCK.monotonic() - started
            calls += 1
            if name == lost:
                worst_lost = max(worst_lost, seconds)
                if shared:
                    return {
                        "back_s": CLOCK.monotonic() - began,
                        "healthy_worst_ms": worst * 1000,
                        "lost_worst_ms": worst_lost * 1000,
                        "healthy_alone": alone,
                        "undocumented": undocumented,
                        "calls": calls,
                    }
            else:
                worst, alone = max(worst, seconds), alone + (not shared)
        CLOCK.sleep(STEP_SECONDS)
    raise AssertionError(f"the names of the lost master were not shared again within {PATIENCE_SECONDS} s")


def _names_by_master(cluster: RedisCluster) -> tuple[int, dict[int, str]]:
    found: dict[int, str] = {}
    number = 0
    while len(found) < 3:
        name = f"bench:cluster:{number}"
        found.setdefault(cluster.master_of(slot_of(name)), name)
        number += 1
    return next(iter(found)), found


def _peers() -> dict[str, dict[str, Any]]:
    """Return what a first decision costs with others, with a client that was made without a thought among them."""
    names = [*peers.SHARED_BREAKERS, *(name for name in peers.LIMITERS if name != "aiolimiter"), "redis-py"]
    closed = f"redis://127.0.0.1:{free_port()}"
    with _server() as server, ThreadPoolExecutor(len(names)) as pool:
        server.pause()
        of_closed = {name: pool.submit(peers.attempt, first_decision_ms, name, closed) for name in names}
        of_hung = {name: pool.submit(peers.attempt, first_decision_ms, name, server.url) for name in names}
        return {
            CLOSED: {name: each.result() for name, each in of_closed.items()},
            HUNG: {name: _of_one_call(each.result()) for name, each in of_hung.items()},
        }


def _of_one_call(figure: float | str) -> str:
    return figure if isinstance(figure, str) else f"{figure:,.0f} for one call"


def _guarded(store: RedisStore, parted: RedisStore | None = None) -> GuardedStore:
    domain_of = parted.fault_domain if parted else None
    return GuardedStore(store, clock=CLOCK, random=Random(1).random, domain_of=domain_of)


def _decide(guard: GuardedStore, name: str) -> bool:
    """Ask shared state; return whether the answer was shared, or must be found alone."""
    try:
        guard.run(STORE_CHECK, name)
    except SharedStateUnavailableError:
        return False
    return True


async def _adecide(guard: GuardedStore, name: str) -> bool:
    try:
        await guard.arun(STORE_CHECK, name)
    except SharedStateUnavailableError:
        return False
    return True


def _timed(call: Callable[[], object]) -> float:
    began = CLOCK.monotonic()
    call()
    return CLOCK.monotonic() - began


def _seconds_until(condition: Callable[[], bool]) -> float:
    began = CLOCK.monotonic()
    while not condition():
        assert CLOCK.monotonic() - began < PATIENCE_SECONDS, "state is not shared again"
        CLOCK.sleep(STEP_SECONDS)
    return CLOCK.monotonic() - began


@contextmanager
def _server() -> Iterator[RedisProcess]:
    with redis_process() as server:
        wait_until(lambda: answers(server.port), seconds=20)
        yield server


if __name__ == "__main__":
    main(measure, __doc__)
