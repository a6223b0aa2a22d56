"""Permits, leadership and shares of real processes in a real Redis: what a killed one held is free again in time."""

import asyncio
import json
import random
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from threading import Event
from uuid import uuid4

import pytest

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.errors import BulkheadFullError
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.patterns.bulkhead import BulkheadPolicy, SharedBulkhead
from collectors_dagster.patterns.bulkhead_rules import LEAVE
from tests.support.crowds import ROOT
from tests.support.environment import clean_environment
from tests.support.killed import killed_at_last
from tests.support.patience import patient
from tests.support.shared_stores import PATIENT, SharedPlace
from tests.support.waiting import wait_until

LEASE = 1.5


def holder(url: str, **options: object) -> AbstractContextManager["subprocess.Popen[str]"]:
    """Run a process that holds something; its lines say what."""
    words = json.dumps({"url": url, "lease": LEASE, **options})
    return killed_at_last(
        [sys.executable, "-m", "tests.support.lease_client", words], cwd=ROOT, env=clean_environment()
    )


def line_of(process: "subprocess.Popen[str]") -> dict[str, object]:
    assert process.stdout is not None
    told: dict[str, object] = json.loads(process.stdout.readline())
    return told


def bulkhead_at(store: RedisStore, limit: int, **options: float) -> SharedBulkhead:
    policy = BulkheadPolicy(limit, lease_seconds=LEASE, **options)  # type: ignore[arg-type]  # floats only here
    return SharedBulkhead("b", policy, store=store, clock=SystemClock(), random=random.Random(1).random)


def test_a_killed_process_gives_its_permits_back_when_its_lease_ends(redis_url: str) -> None:
    prefix = f"test-{uuid4().hex[:8]}:"
    with (
        RedisStore(parse_address(redis_url), prefix=prefix, options=PATIENT) as store,
        holder(redis_url, what="permit", prefix=prefix, limit=2) as one,
        holder(redis_url, what="permit", prefix=prefix, limit=2) as other,
    ):
        assert line_of(one) == line_of(other) == {"in_use": 1}
        Event().wait(2 * LEASE)  # renewed meanwhile: both still have theirs
        with pytest.raises(BulkheadFullError), bulkhead_at(store, 2, max_wait_seconds=0.0).protect():
            pass
        one.kill()
        killed = time.monotonic()
        with bulkhead_at(store, 2, max_wait_seconds=10.0).protect():
            assert time.monotonic() - killed <= LEASE + patient(1.0)
        assert other.stdin is not None
        other.stdin.close()  # it ends as it should, and leaves at once
        assert other.wait(timeout=120) == 0
        with bulkhead_at(store, 1, max_wait_seconds=0.0).protect():
            pass


def test_cancelled_calls_lose_no_shared_permit(shared_place: SharedPlace) -> None:
    policy = BulkheadPolicy(4, queue_limit=1000, max_wait_seconds=30.0, lease_seconds=60.0)
    bulkhead = SharedBulkhead(
        "b", policy, store=shared_place.store, clock=SystemClock(), random=random.Random(1).random
    )
    chance = random.Random(7)

    async def call() -> None:
        async with bulkhead.aprotect():
            await asyncio.sleep(chance.random() * 0.001)

    async def story() -> None:
        for _ in range(10):
            calls = [asyncio.ensure_future(call()) for _ in range(50)]
            while not all(each.done() for each in calls):
                for each in chance.sample(calls, 5):
                    each.cancel()
                await asyncio.sleep(0.0005)
            await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(story())
    out = [0]

    def none_is_out() -> bool:
        out[:] = [item for item in shared_place.store.run(LEAVE, "all:bulkhead:b") if isinstance(item, int)]
        return out == [0]

    wait_until(none_is_out, seconds=5)


def test_a_killed_leader_is_followed_by_another_with_a_greater_token(redis_url: str) -> None:
    prefix = f"test-{uuid4().hex[:8]}:"
    tenants = [f"t{number}" for number in range(12)]
    options: dict[str, object] = {"what": "lead", "prefix": prefix, "shares": tenants}
    with holder(redis_url, name="a", **options) as a, holder(redis_url, name="b", **options) as b:
        first = _leader(a, b)
        _shared_out(a, b, tenants)
        survivor = b if first[0] is a else a
        first[0].kill()
        killed = time.monotonic()
        while not (told := line_of(survivor))["leads"]:
            assert time.monotonic() - killed <= LEASE + patient(2.0)
        assert _int(told["leads"]) > first[1]
        while len(_shares(told)) < len(tenants):
            assert time.monotonic() - killed <= 3 * LEASE + patient(2.0)
            told = line_of(survivor)


def _leader(a: "subprocess.Popen[str]", b: "subprocess.Popen[str]") -> "tuple[subprocess.Popen[str], int]":
    told = line_of(a), line_of(b)
    leaders = [(process, _int(each["leads"])) for process, each in zip((a, b), told, strict=True) if each["leads"]]
    assert len(leaders) == 1
    return leaders[0]


def _shared_out(a: "subprocess.Popen[str]", b: "subprocess.Popen[str]", tenants: list[str]) -> None:
    for _ in range(40):
        one, other = _shares(line_of(a)), _shares(line_of(b))
        if one and other and sorted([*one, *other]) == sorted(tenants):
            return
    pytest.fail(f"shares were not divided: {one} and {other}")


def _shares(told: dict[str, object]) -> dict[str, object]:
    shares = told["shares"]
    assert isinstance(shares, dict)
    return shares


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
