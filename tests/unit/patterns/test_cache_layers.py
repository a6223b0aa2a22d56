"""A cache as a layer of a policy and as a decorator: signatures stay, keys tell calls apart, or nothing is kept."""

import asyncio
import functools
import inspect
import subprocess
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from collectors_dagster import patterns
from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.errors import ServiceFailedError
from collectors_dagster.patterns import (
    BreakerPolicy,
    Bulkhead,
    BulkheadPolicy,
    CircuitBreaker,
    Policy,
    RatePolicy,
    Retry,
    RetryPolicy,
    Timeout,
    failed_if_transient,
    local_rate_limiter,
)
from collectors_dagster.patterns.cache import Cache
from collectors_dagster.patterns.cache_keys import argument_key
from collectors_dagster.patterns.memory_store import MemoryStore
from tests.support.caches import json_cache
from tests.support.crowds import ROOT
from tests.support.environment import clean_environment

CALLS: list[Any] = []


def artist(artist_id: str, market: str = "SE", *, fields: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an artist."""
    CALLS.append((artist_id, market))
    return {"id": artist_id, "market": market, "fields": list(fields)}


async def aartist(artist_id: str, market: str = "SE") -> dict[str, Any]:
    """Await an artist."""
    CALLS.append((artist_id, market))
    await asyncio.sleep(0)
    return {"id": artist_id, "market": market}


@pytest.fixture
def cache() -> Cache[Any]:
    CALLS.clear()
    return json_cache(MemoryStore(SystemClock()))


def all_layers(clock: SystemClock) -> Policy:
    timeout = Timeout(30.0, clock=clock)
    retry = Retry(
        RetryPolicy(attempts=3, base_seconds=0.001, cap_seconds=0.002, deadline_seconds=10.0),
        retry_on=lambda error: isinstance(error, ServiceFailedError),
        clock=clock,
        random=lambda: 0.5,
    )
    breaker = CircuitBreaker("b", BreakerPolicy(5, 30.0), classify=failed_if_transient, clock=clock)
    limiter = local_rate_limiter("l", RatePolicy(1e6, 1_000_000), clock=clock)
    return timeout | retry | breaker | limiter | Bulkhead("h", BulkheadPolicy(10))


def test_it_composes_with_the_others_for_functions_and_coroutines(cache: Cache[Any]) -> None:
    policy = all_layers(SystemClock()) | cache
    fetched, afetched = policy(artist), policy(aartist)
    assert [fetched("a"), fetched("a"), fetched(artist_id="a", market="SE"), fetched("a", "DE")] == [
        artist("a"),
        artist("a"),
        artist("a"),
        artist("a", "DE"),
    ]

    async def story() -> list[Any]:
        return [await afetched("a"), await afetched("a"), await policy.acall(aartist, "b")]

    CALLS.clear()
    assert [each["id"] for each in asyncio.run(story())] == ["a", "a", "b"]
    assert CALLS == [("a", "SE"), ("b", "SE")]
    assert policy.call(artist, "a", "DE") == {"id": "a", "market": "DE", "fields": []}
    assert len(CALLS) == 2, "the key is the same whether decorated or called"


def test_before_the_others_it_saves_them_the_call(cache: Cache[Any]) -> None:
    tried: list[int] = []

    def shaky() -> str:
        tried.append(1)
        if len(tried) < 3:
            raise ServiceFailedError("no", service="s", operation="o")
        return "value"

    policy = cache.at("k") | all_layers(SystemClock())
    assert [policy.call(shaky) for _ in range(3)] == ["value"] * 3
    assert len(tried) == 3, "the repetitions are a part of the load"


def test_a_policy_within_a_policy_still_knows_what_is_called(cache: Cache[Any]) -> None:
    inner = Policy(Bulkhead("inner", BulkheadPolicy(2)), cache)
    fetched = Policy(Bulkhead("outer", BulkheadPolicy(2)), inner)(artist)
    fetched("a")
    fetched("a")
    fetched("b")
    assert CALLS == [("a", "SE"), ("b", "SE")]


def test_signatures_stay(cache: Cache[Any]) -> None:
    for decorated, function in ((cache(artist), artist), (cache.keyed(lambda artist_id: artist_id)(artist), artist)):
        assert inspect.signature(decorated) == inspect.signature(function)
        assert (decorated.__name__, decorated.__doc__) == (function.__name__, function.__doc__)
        assert not inspect.iscoroutinefunction(decorated)
    assert inspect.iscoroutinefunction(cache(aartist))
    assert inspect.iscoroutinefunction(cache.at("k")(aartist))


def test_arguments_tell_calls_apart(cache: Cache[Any]) -> None:
    kept = cache(artist)
    calls: list[Callable[[], Any]] = [
        lambda: kept("a"),
        lambda: kept("b"),
        lambda: kept("a", "DE"),
        lambda: kept("a", fields=("name",)),
        lambda: kept('a", "SE'),
    ]
    for call in calls * 2:
        call()
    assert len(CALLS) == len(calls)


def test_keys_and_tags_of_ones_own(cache: Cache[Any]) -> None:
    known = object()

    @cache.keyed(lambda _known, artist_id: artist_id, tags=lambda _known, artist_id: (f"artist:{artist_id}",))
    def fetched(_known: object, artist_id: str) -> str:
        CALLS.append(artist_id)
        return artist_id

    assert [fetched(known, "a"), fetched(object(), "a"), fetched(known, "b")] == ["a", "a", "b"]
    assert CALLS == ["a", "b"]
    cache.invalidate_tag("artist:a")
    fetched(known, "a")
    fetched(known, "b")
    assert CALLS == ["a", "b", "a"]


def test_what_does_not_say_all_that_it_loads_gets_no_key_of_ours(cache: Cache[Any]) -> None:
    user = "ada"

    def of_the_user() -> str:
        return user

    class Client:
        def artist(self) -> str:
            return "a"

    for function in (of_the_user, lambda: 1, Client().artist, functools.partial(artist, "a")):
        with pytest.raises(TypeError, match=r"cache\.keyed"):
            cache(function)
        with pytest.raises(TypeError, match=r"cache\.keyed"):
            (Policy() | cache).call(function)


def test_an_argument_of_which_no_key_can_be_made_is_named() -> None:
    key = argument_key(artist)
    with pytest.raises(TypeError, match=r"'market' is a object.*cache\.keyed"):
        key("a", object())
    with pytest.raises(TypeError, match="'artist_id' is a float"):
        key(1.5)
    with pytest.raises(TypeError, match="missing"):
        key()


def test_a_generator_is_refused(cache: Cache[Any]) -> None:
    def pages() -> Any:
        yield 1

    async def apages() -> Any:
        yield 1

    for generator in (pages, apages, contextmanager(pages), asynccontextmanager(apages)):
        with pytest.raises(TypeError, match="list"):
            cache.at("k")(generator)


def test_who_names_other_patterns_does_not_load_what_caches_need() -> None:
    code = (
        "import sys, collectors_dagster.patterns as p; p.Retry; assert 'cachetools' not in sys.modules; p.Cache, p.JSON"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_environment(), check=True)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = patterns.Nothing
    assert all(hasattr(patterns, name) for name in patterns.__all__)


def test_layers_of_one_key(manual_clock: ManualClock) -> None:
    cache = json_cache(MemoryStore(manual_clock), manual_clock)
    charts = cache.at("charts", tags=("daily",))
    values = iter(range(10))
    assert [charts.call(lambda: next(values)) for _ in range(3)] == [0, 0, 0]
    cache.invalidate_tag("daily")

    async def awaited() -> Any:
        async def load() -> int:
            return next(values)

        return await charts.acall(load)

    assert asyncio.run(awaited()) == 1
