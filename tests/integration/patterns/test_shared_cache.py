"""Caches of several processes over every place of shared state, and what they do with poison and with the dead."""

import asyncio
import json
import random
import sys
import time
import zlib
from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.errors import DeadlineExceededError, ServiceFailedError
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.patterns.byte_cache import ByteCache
from collectors_dagster.patterns.cache import Cache
from collectors_dagster.patterns.cache_policy import CacheLimits, CachePolicy
from collectors_dagster.patterns.cache_rules import ENTRY_BYTES, SHELVES
from collectors_dagster.patterns.deadline import deadline
from collectors_dagster.patterns.guarded_store import GuardedStore
from tests.support.caches import Source, json_cache, never, no_local
from tests.support.crowds import ROOT, crowd
from tests.support.effort import times
from tests.support.environment import clean_environment
from tests.support.killed import killed_at_last
from tests.support.patience import patient
from tests.support.redis import redis_process
from tests.support.shared_stores import PATIENT, SharedPlace, redis_store

KEYS = [f"key-{number}" for number in range(6)]
TAGS = {key: ("even" if int(key[-1]) % 2 == 0 else "odd",) for key in KEYS}
numbers = count()


def machine_for(  # noqa: C901 - many small rules
    place: SharedPlace,
) -> type[RuleBasedStateMachine]:
    """Return a machine of two processes' caches, a source that changes and fails, and a dict that says what is kept."""

    class Fleet(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            tenant = f"t{next(numbers)}"
            policy = CachePolicy(early_refresh_beta=0.0, jitter=0.0, staleness=0.0, limits=no_local())
            self.caches = [
                json_cache(place.store, SystemClock(), policy, tenant=tenant, random=never) for _ in range(2)
            ]
            self.truth: dict[str, Any] = dict.fromkeys(KEYS, 0)
            self.kept: dict[str, Any] = {}
            self.broken = False
            self.loads = 0

        def load(self, key: str) -> Any:
            self.loads += 1
            if self.broken:
                raise ServiceFailedError("no", service="s", operation="o")
            return self.truth[key]

        def expect(self, key: str) -> tuple[Any, int]:
            """Return what a caller must get, an error's type perhaps, and how many loads that takes."""
            if key in self.kept:
                return self.kept[key], 0
            if self.broken:
                return ServiceFailedError, 1
            self.kept[key] = self.truth[key]
            return self.kept[key], 1

        def check(self, key: str, ask: Callable[[], Any]) -> None:
            before = self.loads
            expected, loads = self.expect(key)
            try:
                got = ask()
            except ServiceFailedError as error:
                got = type(error)
            assert got == expected
            assert self.loads - before == loads

        @rule(key=st.sampled_from(KEYS), which=st.integers(0, 1))
        def get(self, key: str, which: int) -> None:
            self.check(key, lambda: self.caches[which].get(key, lambda: self.load(key), tags=TAGS[key]))

        @rule(key=st.sampled_from(KEYS), which=st.integers(0, 1))
        def aget(self, key: str, which: int) -> None:
            async def load() -> Any:
                return self.load(key)

            self.check(key, lambda: asyncio.run(self.caches[which].aget(key, load, tags=TAGS[key])))

        @rule(key=st.sampled_from(KEYS), value=st.one_of(st.none(), st.integers(), st.text(max_size=2_000)))
        def change(self, key: str, value: Any) -> None:
            self.truth[key] = value

        @rule(broken=st.booleans())
        def break_or_mend(self, *, broken: bool) -> None:
            self.broken = broken

        @rule(key=st.sampled_from(KEYS), which=st.integers(0, 1))
        def invalidate(self, key: str, which: int) -> None:
            assert self.caches[which].invalidate(key)
            self.kept.pop(key, None)

        @rule(tag=st.sampled_from(["even", "odd", "none"]), which=st.integers(0, 1))
        def invalidate_tag(self, tag: str, which: int) -> None:
            assert asyncio.run(self.caches[which].ainvalidate_tag(tag))
            self.kept = {key: value for key, value in self.kept.items() if tag not in TAGS[key]}

        @precondition(lambda self: len(self.kept) > 2)
        @rule(which=st.integers(0, 1))
        def invalidate_all(self, which: int) -> None:
            assert self.caches[which].invalidate_all()
            self.kept.clear()

    return Fleet


def test_two_processes_are_as_good_as_a_dict(shared_place: SharedPlace) -> None:
    examples = settings(
        max_examples=times(8), stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine_for(shared_place), settings=examples)


def test_a_tenants_bytes_are_bounded_and_what_is_used_stays(shared_place: SharedPlace) -> None:
    limits = CacheLimits(tenant_bytes=SHELVES * 4_000, value_bytes=4_000, local_seconds=0.0)
    replies = [
        ByteCache("replies", store=shared_place.store, clock=SystemClock(), tenant=tenant, limits=limits)
        for tenant in ("acme", "beta")
    ]
    noise = random.Random(1)
    replies[1].keep("theirs", b"v", 60.0)
    replies[0].keep("used", b"v", 60.0)
    for number in range(300):
        replies[0].keep(str(number), noise.randbytes(1_000), 60.0)
        assert replies[0].find("used") is not None
    kept = sum(replies[0].find(str(number)) is not None for number in range(300))
    assert kept <= SHELVES * 4_000 // (1_000 + ENTRY_BYTES)
    assert kept >= SHELVES
    assert replies[1].find("theirs") is not None, "another tenant's are another's"


def test_bytes_are_kept_past_their_time_to_be_checked(shared_place: SharedPlace) -> None:
    async def story() -> None:
        replies = ByteCache("replies", store=shared_place.store, clock=SystemClock(), tenant="acme", limits=no_local())
        await replies.put("/v1/me", b'{"etag":"a"}', 0.01, keep_seconds=60.0, tags=("user:1",))
        shared_place.pass_time(0.02)
        found = await replies.get("/v1/me")
        assert found is not None
        assert found.value == b'{"etag":"a"}'
        assert found.fresh_seconds <= 0
        assert found.age_seconds >= 0.02
        await replies.put("/v1/me", found.value, 30.0)
        found = await replies.get("/v1/me")
        assert found is not None
        assert 29.0 < found.fresh_seconds <= 30.0
        await replies.put("/v1/you", b"", 30.0, tags=("user:1",))
        assert await replies.drop_tag("user:1")
        assert await replies.get("/v1/you") is None
        assert await replies.drop("/v1/me")
        assert await replies.get("/v1/me") is None
        await replies.put("/v1/me", b"x", 30.0)
        assert await replies.clear()
        assert await replies.get("/v1/me") is None
        with pytest.raises(ValueError, match="ttl_seconds"):
            await replies.put("/v1/me", b"x", -1.0)

    asyncio.run(story())


def test_blocking_and_awaiting_callers_of_a_byte_cache_see_the_same(shared_place: SharedPlace) -> None:
    replies = ByteCache("replies", store=shared_place.store, clock=SystemClock(), limits=no_local())
    replies.keep("a", b"1", 30.0, tags=("t",))
    found = asyncio.run(replies.get("a"))
    assert found is not None
    assert found.value == b"1"
    assert replies.forget("a")
    assert replies.find("a") is None
    replies.keep("a", b"1", 30.0, tags=("t",))
    assert replies.forget_tag("t")
    assert replies.find("a") is None
    replies.keep("a", b"1", 30.0)
    assert replies.forget_all()
    assert replies.find("a") is None


# --- poison --------------------------------------------------------------------------------------------------------


def _set_type(client: Any, key: bytes) -> None:
    client.delete(key)
    client.set(key, "not what should lie here")


def _set_list(client: Any, key: bytes) -> None:
    client.delete(key)
    client.rpush(key, "a", "b")


def _garbage(text: bytes) -> Callable[[Any, bytes], None]:
    """Return what replaces whatever a key of a shelf holds, in the shape of that key."""

    def poison(client: Any, key: bytes) -> None:
        if client.type(key) == b"hash":
            for name in client.hkeys(key):
                client.hset(key, name, text)
        else:
            for name in client.zrange(key, 0, -1):
                client.zadd(key, {name + text: 1.0})

    return poison


def _scores(score: str) -> Callable[[Any, bytes], None]:
    def poison(client: Any, key: bytes) -> None:
        if client.type(key) == b"zset":
            for name in client.zrange(key, 0, -1):
                client.execute_command("ZADD", key, score, name)

    return poison


HEAD = b"\x01\x00\x01" + bytes(24)
POISONS = {
    "a string": _set_type,
    "a list": _set_list,
    "nothing": lambda client, key: client.delete(key),
    "empty": _garbage(b""),
    "text": _garbage(b"hello"),
    "binary": _garbage(bytes(range(256))),
    "a pickle": _garbage(b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01a\x94."),
    "another version": _garbage(b"\x09" + HEAD[1:] + b"\x00{}"),
    "no json": _garbage(HEAD + b"\x00{"),
    "nan": _garbage(HEAD + b"\x00NaN"),
    "unknown codec": _garbage(HEAD + b"\x77abc"),
    "damaged zstd": _garbage(HEAD + b"\x03\x28\xb5\x2f\xfd"),
    "a zip bomb": _garbage(HEAD + zlib.compress(b" " * 50_000_000)),
    "a huge number": _garbage(b"9" * 400 + b" 1 1 "),
    "inf": _garbage(b"inf"),
    "scores inf": _scores("inf"),
    "scores -inf": _scores("-inf"),
    "scores far ahead": _scores("1e300"),
}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
def test_whatever_lies_in_redis_leads_to_a_load_not_to_an_error(
    redis_url: str, poison: Callable[[Any, bytes], None]
) -> None:
    policy = CachePolicy(early_refresh_beta=0.0, max_wait_seconds=0.5, limits=no_local())
    with redis_store(redis_url) as store, redis.Redis.from_url(redis_url) as client:
        cache = json_cache(store, policy=policy)
        cache.get("k", Source("old"), tags=("t",))
        keys = client.keys()
        assert len(keys) == 5
        for key in keys:
            client.flushall()
            cache.get("k", Source("old"), tags=("t",))
            poison(client, key)
            fresh = json_cache(store, policy=policy)  # a process that has no copy of its own
            assert fresh.get("k", Source("new"), tags=("t",)) in {"new", "old"}
            assert asyncio.run(_asked(fresh)) in {"new", "old", "newer"}
            fresh.invalidate_tag("t")
            fresh.invalidate("k")
            source = Source("newest")
            assert fresh.get("k", source) == "newest"
            again = json_cache(store, policy=policy)
            assert again.get("k", Source("not asked")) == "newest", "what is stored afterwards is found again"


async def _asked(cache: Cache[Any]) -> Any:
    async def load() -> str:
        return "newer"

    return await cache.aget("k", load)


# --- processes -----------------------------------------------------------------------------------------------------


def test_eight_processes_load_an_expiring_hot_key_twice_at_most(redis_url: str) -> None:
    prefix = f"test-{uuid4().hex[:8]}:"
    short = CachePolicy(hot_seconds=0.01, warm_seconds=0.01, cold_seconds=0.01)
    with RedisStore(parse_address(redis_url), prefix=prefix, options=PATIENT) as store:
        json_cache(store, policy=short, tenant="acme").get("hot", Source("value"))  # over when they begin
    options: dict[str, object] = {
        "prefix": prefix,
        "ttl": 60.0,
        "load": 0.2,
        "seconds": 2.0,
        "threads": 4,
        "local": 0.1,
    }
    told = crowd(redis_url, [options] * 8, client="cache_client")
    assert sum(each["loads"] for each in told) <= 2
    assert max(each["loads"] for each in told) <= 1
    assert min(each["asked"] for each in told) > 4


def test_a_killed_loader_is_replaced_within_its_lease(redis_url: str) -> None:
    prefix, lease = f"test-{uuid4().hex[:8]}:", 3.0  # renewed each second: a busy machine may be late by two
    options = {"url": redis_url, "prefix": prefix, "ttl": 60.0, "load": 600.0, "seconds": 1.0, "lease": lease, "say": 1}
    with killed_at_last(
        [sys.executable, "-m", "tests.support.cache_client", json.dumps(options)], cwd=ROOT, env=clean_environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "loading\n"
        policy = CachePolicy(limits=CacheLimits(lease_seconds=lease))
        with RedisStore(parse_address(redis_url), prefix=prefix, options=PATIENT) as store:
            cache = json_cache(store, policy=policy, tenant="acme")
            with deadline(2.5 * lease), pytest.raises(DeadlineExceededError):
                cache.get("hot", Source("too early"))  # its lease is renewed all the time: it lives
            process.kill()
            killed = time.monotonic()
            assert cache.get("hot", Source("successor")) == "successor"
            assert time.monotonic() - killed <= lease + patient(1.0)


def test_a_hung_redis_costs_a_moment_and_then_nothing() -> None:
    with redis_process() as server:
        bare = RedisStore(parse_address(server.url))
        guard = GuardedStore(bare, clock=SystemClock(), random=lambda: 0.5)
        cache = json_cache(guard)
        source = Source("known")
        cache.get("known", source)
        server.pause()
        cache._entries.mine.get(("artists", "known")).believed_until = 0.0  # type: ignore[union-attr]  # it is there
        assert [cache.get("known", source) for _ in range(100)] == ["known"] * 100
        assert cache.get("unknown", Source("unknown")) == "unknown"
        assert source.loads == 1
        assert not cache.invalidate("known")
        server.go_on()
        bare.close()
