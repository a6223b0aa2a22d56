"""Cache-aside in one process and between caches that share a store: nobody loads twice, hangs, or gets nonsense."""

import asyncio
import os
import random
import threading
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.errors import (
    DeadlineExceededError,
    RequestRejectedError,
    ServiceFailedError,
)
from collectors_dagster.patterns.cache_policy import CacheLimits, CachePolicy, Tier
from collectors_dagster.patterns.deadline import deadline
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.metrics import Metrics
from tests.support.caches import Counted, Doubtful, Source, json_cache, never, no_local
from tests.support.waiting import wait_until


def failed(*, rejected: bool = False) -> Exception:
    kind = RequestRejectedError if rejected else ServiceFailedError
    return kind("no", service="spotify", operation="artist")


def calm(**options: Any) -> CachePolicy:
    return CachePolicy(**{"jitter": 0.0, "early_refresh_beta": 0.0, **options})


def test_what_is_missing_is_loaded_once_and_kept(manual_clock: ManualClock) -> None:
    metrics = Counted()
    cache = json_cache(MemoryStore(manual_clock), manual_clock, metrics=metrics)
    source = Source({"name": "Radiohead", "genres": ["rock"]})
    answers = [cache.get("4Z8W", source) for _ in range(3)]
    assert answers == [source.value] * 3
    assert source.loads == 1
    assert metrics.requests() == {"miss": 1, "hit": 2}
    answers[1]["genres"].append("jazz")
    assert cache.get("4Z8W", source) == source.value, "nobody can change another one's value"


def test_another_process_finds_what_one_has_loaded(manual_clock: ManualClock) -> None:
    store = MemoryStore(manual_clock)
    one, other = json_cache(store, manual_clock), json_cache(store, manual_clock)
    source = Source()
    assert one.get("k", source) == other.get("k", source) == "value"
    assert source.loads == 1


def test_tenants_and_caches_do_not_meet(manual_clock: ManualClock) -> None:
    store = MemoryStore(manual_clock)
    options: list[dict[str, Any]] = [{"tenant": "acme"}, {"tenant": "beta"}, {"tenant": "acme", "name": "albums"}, {}]
    for number, each in enumerate(options):
        assert json_cache(store, manual_clock, **each).get("k", Source(number)) == number


def test_it_is_loaded_anew_when_its_time_is_over(manual_clock: ManualClock) -> None:
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm(stale_while_revalidate_seconds=0.0))
    source = Source("one")
    cache.get("k", source)
    source.value = "two"
    manual_clock.sleep(3599.0)
    assert cache.get("k", source) == "one"
    manual_clock.sleep(1.0)
    assert cache.get("k", source) == "two"


def test_times_are_shortened_at_random_by_a_tenth_at_most(manual_clock: ManualClock) -> None:
    ends = []
    for luck in (0.0, 0.5, 0.999):
        policy = CachePolicy(early_refresh_beta=0.0, stale_while_revalidate_seconds=0.0)
        cache = json_cache(MemoryStore(manual_clock), manual_clock, policy, random=lambda luck=luck: luck)
        source = Source()
        began = manual_clock.monotonic()
        while source.loads < 2:
            cache.get("k", source)
            manual_clock.sleep(10.0)
        ends.append(manual_clock.monotonic() - began)
    assert ends == [3610.0, 3430.0, 3260.0]


# --- single flight -----------------------------------------------------------------------------------------------


def test_threads_that_want_the_same_load_it_once() -> None:
    cache = json_cache(MemoryStore(SystemClock()))
    source = Source("shared")
    source.open.clear()
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(cache.get("k", source))) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(_waiting(cache)) == 19, seconds=20)
    source.open.set()
    for thread in threads:
        thread.join(20)
    assert answers == ["shared"] * 20
    assert source.loads == 1
    assert len(cache._flights) == 0


def test_coroutines_that_want_the_same_load_it_once() -> None:
    cache = json_cache(MemoryStore(SystemClock()))
    loads = []

    async def load() -> str:
        loads.append(1)
        await asyncio.sleep(0.01)
        return "shared"

    async def story() -> Any:
        return await asyncio.gather(*(cache.aget("k", load) for _ in range(200)))

    assert asyncio.run(story()) == ["shared"] * 200
    assert len(loads) == 1


def test_threads_and_coroutines_wait_for_each_other() -> None:
    cache = json_cache(MemoryStore(SystemClock()))
    source = Source("shared")
    source.open.clear()
    answers: list[Any] = []

    async def aload() -> str:
        raise AssertionError("a thread loads already")

    async def many() -> None:
        answers.extend(await asyncio.gather(*(cache.aget("k", aload) for _ in range(5))))

    leader = threading.Thread(target=lambda: answers.append(cache.get("k", source)))
    leader.start()
    wait_until(lambda: source.at_once == 1, seconds=20)
    loop = threading.Thread(target=lambda: asyncio.run(many()))
    loop.start()
    wait_until(lambda: len(_waiting(cache)) == 5, seconds=20)
    source.open.set()
    leader.join(20)
    loop.join(20)
    assert answers == ["shared"] * 6


def _waiting(cache: Any) -> list[Any]:
    return [seat for flight in cache._flights._under_way.values() for seat in flight.waiting if seat._wake]


def test_a_cancelled_leader_hands_over() -> None:
    store = MemoryStore(SystemClock())
    cache = json_cache(store)
    began = []

    async def load(name: str) -> str:
        began.append(name)
        await asyncio.sleep(0 if name != "first" else 60)
        return name

    async def story() -> Any:
        first = asyncio.ensure_future(cache.aget("k", lambda: load("first")))
        await asyncio.sleep(0.01)
        others = [asyncio.ensure_future(cache.aget("k", lambda: load("second"))) for _ in range(5)]
        await asyncio.sleep(0.01)
        first.cancel()
        return await asyncio.gather(first, *others, return_exceptions=True)

    answers = asyncio.run(story())
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == ["second"] * 5
    assert began == ["first", "second"]


def test_a_cancelled_leader_without_followers_gives_its_lease_back(manual_clock: ManualClock) -> None:
    store = MemoryStore(manual_clock)
    one, other = json_cache(store, manual_clock), json_cache(store, manual_clock)

    async def story() -> None:
        loading = asyncio.ensure_future(one.aget("k", lambda: asyncio.sleep(60)))
        await asyncio.sleep(0.01)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading

    asyncio.run(story())
    began = manual_clock.monotonic()
    assert other.get("k", Source()) == "value"
    assert manual_clock.monotonic() == began, "nobody had to be waited for"


def test_an_interrupted_leader_gives_its_lease_back(manual_clock: ManualClock) -> None:
    store = MemoryStore(manual_clock)
    one, other = json_cache(store, manual_clock), json_cache(store, manual_clock)

    def interrupted() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.get("k", interrupted)
    began = manual_clock.monotonic()
    assert other.get("k", Source()) == "value"
    assert manual_clock.monotonic() == began
    assert len(one._flights) == 0


def test_ten_thousand_cancellations_lose_no_flight() -> None:
    cache = json_cache(MemoryStore(SystemClock()), policy=calm(limits=no_local()))
    chance = random.Random(7)

    async def load() -> int:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        return 1

    async def story() -> None:
        cancelled = 0
        while cancelled < 10_000:
            keys = [f"{cancelled}-{number}" for number in range(5)]
            calls = [asyncio.ensure_future(cache.aget(chance.choice(keys), load)) for _ in range(200)]
            while not all(each.done() for each in calls):
                for each in chance.sample(calls, 20):
                    each.cancel()
                await asyncio.sleep(0)
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert all(each == 1 or isinstance(each, asyncio.CancelledError) for each in ended)
            cancelled += sum(isinstance(each, asyncio.CancelledError) for each in ended)
            assert len(cache._flights) == len(cache._refreshes) == 0
            assert [await cache.aget(key, load) for key in keys] == [1] * 5, "nobody's lease is in the way"

    asyncio.run(asyncio.wait_for(story(), 250))


def test_a_loop_that_was_closed_is_nobody_to_hand_over_to() -> None:
    cache = json_cache(MemoryStore(SystemClock()))
    source = Source()
    source.open.clear()
    leader = threading.Thread(target=lambda: cache.get("k", source))
    leader.start()
    wait_until(lambda: source.at_once == 1, seconds=20)
    loop = asyncio.new_event_loop()
    abandoned = loop.create_task(cache.aget("k", lambda: asyncio.sleep(0)))
    loop.run_until_complete(asyncio.sleep(0))
    abandoned._log_destroy_pending = False  # type: ignore[attr-defined]  # it is abandoned on purpose
    loop.close()
    source.error = KeyboardInterrupt()  # type: ignore[assignment]  # stopped while the only follower is gone
    hidden = threading.excepthook
    threading.excepthook = lambda _: None
    source.open.set()
    leader.join(20)
    threading.excepthook = hidden
    assert cache.get("k", Source("after")) == "after"


def test_those_who_wait_get_the_same_error_and_the_next_one_loads() -> None:
    cache = json_cache(MemoryStore(SystemClock()))
    loads = []

    async def load() -> None:
        loads.append(1)
        await asyncio.sleep(0.01)
        raise ValueError("no such artist")

    async def story() -> Any:
        return await asyncio.gather(*(cache.aget("k", load) for _ in range(10)), return_exceptions=True)

    assert [str(each) for each in asyncio.run(story())] == ["no such artist"] * 10
    assert len(loads) == 1
    assert cache.get("k", Source()) == "value"


def test_who_waits_does_so_to_its_deadline() -> None:
    cache = json_cache(MemoryStore(SystemClock()))
    source = Source()
    source.open.clear()
    leader = threading.Thread(target=lambda: cache.get("k", source))
    leader.start()
    wait_until(lambda: source.at_once == 1, seconds=20)
    with deadline(0.05), pytest.raises(DeadlineExceededError, match="artists"):
        cache.get("k", source)

    async def awaiting() -> None:
        with deadline(0.05):
            await cache.aget("k", lambda: asyncio.sleep(0))

    with pytest.raises(DeadlineExceededError):
        asyncio.run(awaiting())
    source.open.set()
    leader.join(20)


# --- the fleet ---------------------------------------------------------------------------------------------------


def test_another_processs_load_is_waited_for() -> None:
    store = MemoryStore(SystemClock())
    one, other = json_cache(store), json_cache(store)
    source = Source("theirs")
    source.open.clear()
    leader = threading.Thread(target=lambda: one.get("k", source))
    leader.start()
    wait_until(lambda: source.at_once == 1, seconds=20)
    follower_said: list[Any] = []
    follower = threading.Thread(target=lambda: follower_said.append(other.get("k", Source("ours"))))
    follower.start()
    source.open.set()
    leader.join(20)
    follower.join(20)
    assert follower_said == ["theirs"]


def test_who_has_waited_long_enough_loads_itself(manual_clock: ManualClock) -> None:
    store = MemoryStore(manual_clock)
    policy = calm(max_wait_seconds=3.0, limits=CacheLimits(lease_seconds=3000.0))
    one, other = json_cache(store, manual_clock, policy), json_cache(store, manual_clock, policy)
    inner: list[Any] = []

    def load() -> str:
        began = manual_clock.monotonic()
        inner.append(other.get("k", Source("ours")))  # as if it came while the first one hangs
        inner.append(manual_clock.monotonic() - began)
        return "late"

    assert one.get("k", load) == "late"
    assert inner[0] == "ours"
    assert 3.0 <= inner[1] < 3.5
    assert json_cache(store, manual_clock).get("k", Source("third")) == "ours", "what came late was not stored"


def test_a_dead_loader_is_replaced_when_its_lease_ends(manual_clock: ManualClock) -> None:
    store = Doubtful(MemoryStore(manual_clock))
    policy = calm(limits=CacheLimits(lease_seconds=10.0))
    one, other = json_cache(store, manual_clock, policy), json_cache(store, manual_clock, policy)

    def killed() -> Any:
        store.away = True  # nothing that it does from here on reaches the store
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.get("k", killed)
    store.away = False
    assert other.get("k", Source("theirs")) == "theirs"
    assert 10.0 <= manual_clock.monotonic() <= 10.3


# --- what is not good any more -------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["threads", "coroutines"])
def test_a_stale_answer_is_given_at_once_while_one_loads(manual_clock: ManualClock, colour: str) -> None:
    metrics = Counted()
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm(), metrics=metrics)
    cache.get("k", Source("old"))
    manual_clock.sleep(3600.0 + 59.0)
    if colour == "threads":
        source = Source("new")
        source.open.clear()
        assert [cache.get("k", source) for _ in range(5)] == ["old"] * 5
        wait_until(lambda: source.at_once == 1, seconds=20)
        source.open.set()
        wait_until(lambda: cache.get("k", source) == "new", seconds=20)
        assert source.loads == 1
    else:
        asyncio.run(_stale_for_coroutines(cache))
    assert metrics.requests()["stale"] >= 5


async def _stale_for_coroutines(cache: Any) -> None:
    may_go, loads = asyncio.Event(), []

    async def load() -> str:
        loads.append(1)
        await may_go.wait()
        return "new"

    assert [await cache.aget("k", load) for _ in range(5)] == ["old"] * 5
    may_go.set()
    await _until_new(cache, load)
    assert len(loads) == 1


async def _until_new(cache: Any, load: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    async with asyncio.timeout(20):
        while await cache.aget("k", load) != "new":  # noqa: ASYNC110 - the refresh tells nobody
            await asyncio.sleep(0)


def test_a_refresh_takes_one_thread_and_is_let_be_as_long_as_the_copy_answers(manual_clock: ManualClock) -> None:
    store, policy = MemoryStore(manual_clock), calm(stale_while_revalidate_seconds=600.0, limits=no_local())
    cache, other = (json_cache(store, manual_clock, policy) for _ in range(2))
    cache.get("k", Source("old"))
    manual_clock.sleep(3601.0)
    before, source, second = set(threading.enumerate()), Source("new"), Source("second")
    source.open.clear()
    assert cache.get("k", source) == "old"
    wait_until(lambda: source.at_once == 1, seconds=20)
    assert {thread.name for thread in set(threading.enumerate()) - before} <= {"background"}
    manual_clock.sleep(59.0)  # many leases; nobody renews this one
    assert other.get("k", second) == "old"
    manual_clock.sleep(2.0)  # for all that anybody knows, its process was killed
    assert other.get("k", second) == "old"
    source.open.set()  # the background does one job after the other
    wait_until(lambda: other.get("k", Source("third")) == "second", seconds=20)
    assert (source.loads, second.loads) == (1, 1)


def test_what_a_slow_load_in_the_background_brings_is_kept(manual_clock: ManualClock) -> None:
    store, policy = (
        MemoryStore(manual_clock),
        calm(stale_while_revalidate_seconds=600.0, limits=no_local(lease_seconds=95.0)),
    )
    cache, other = (json_cache(store, manual_clock, policy) for _ in range(2))

    def slow() -> str:
        manual_clock.sleep(90.0)
        return "old"

    cache.get("k", slow)
    manual_clock.sleep(3601.0)
    source, second = Source("new"), Source("second")
    source.open.clear()
    assert cache.get("k", source) == "old"
    wait_until(lambda: source.at_once == 1, seconds=20)
    manual_clock.sleep(100.0)  # longer than a lease, and about as long as the last one took
    assert other.get("k", second) == "old"
    source.open.set()
    wait_until(lambda: other.get("k", second) == "new", seconds=20)
    assert (source.loads, second.loads) == (1, 0)


def test_a_refresh_does_not_end_with_the_deadline_of_who_began_it(manual_clock: ManualClock) -> None:
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm())
    cache.get("k", Source("old"))
    manual_clock.sleep(3601.0)

    async def story() -> None:
        may_go = asyncio.Event()

        async def load() -> str:
            await may_go.wait()
            return "new"

        with deadline(1.0, clock=manual_clock):
            assert await cache.aget("k", load) == "old"
        manual_clock.sleep(2.0)
        may_go.set()
        await _until_new(cache, load)

    asyncio.run(story())


def test_a_refresh_that_ends_with_its_loop_gives_its_lease_back(manual_clock: ManualClock) -> None:
    store = MemoryStore(manual_clock)
    policy = calm(limits=CacheLimits(lease_seconds=3000.0))
    cache, other = json_cache(store, manual_clock, policy), json_cache(store, manual_clock, policy)
    cache.get("k", Source("old"))
    manual_clock.sleep(3601.0)

    async def story() -> Any:
        answer = await cache.aget("k", lambda: asyncio.sleep(60))
        await asyncio.sleep(0)
        return answer

    assert asyncio.run(story()) == "old"
    manual_clock.sleep(60.0)
    began = manual_clock.monotonic()
    assert other.get("k", Source("new")) == "new"
    assert manual_clock.monotonic() == began


def test_after_that_nobody_gets_it_while_loading_works(manual_clock: ManualClock) -> None:
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm())
    cache.get("k", Source("old"))
    manual_clock.sleep(3600.0 + 60.0)
    assert cache.get("k", Source("new")) == "new"


def test_a_stale_answer_is_given_if_loading_fails(manual_clock: ManualClock) -> None:
    metrics = Counted()
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm(), metrics=metrics)
    source = Source("old")
    cache.get("k", source)
    source.error = failed()
    manual_clock.sleep(3600.0 + 3599.0)
    assert cache.get("k", source) == "old"
    assert metrics.requests() == {"miss": 1, "stale": 1}
    manual_clock.sleep(1.0)
    with pytest.raises(ServiceFailedError):
        cache.get("k", source)
    assert metrics.requests()["error"] == 1


@pytest.mark.parametrize("error", [failed(rejected=True), KeyError("a mistake of ours")])
def test_an_error_that_is_no_outage_is_an_error(manual_clock: ManualClock, error: Exception) -> None:
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm(stale_while_revalidate_seconds=0.0))
    source = Source("old")
    cache.get("k", source)
    source.error = error
    manual_clock.sleep(3600.0)
    with pytest.raises(type(error)):
        cache.get("k", source)


def test_a_refresh_that_fails_lets_the_next_one_try(manual_clock: ManualClock) -> None:
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm())
    cache.get("k", Source("old"))
    manual_clock.sleep(3601.0)
    source = Source("new")
    source.error = failed()
    assert cache.get("k", source) == "old"
    wait_until(lambda: source.loads == 1 and len(cache._refreshes) == 0, seconds=20)
    source.error = None
    wait_until(lambda: cache.get("k", source) == "new", seconds=20)


def test_a_value_is_loaded_a_little_early_by_one(manual_clock: ManualClock) -> None:
    metrics = Counted()
    store = MemoryStore(manual_clock)
    luck = [0.0]
    policy = CachePolicy(jitter=0.0)
    caches = [json_cache(store, manual_clock, policy, random=lambda: luck[0], metrics=metrics) for _ in range(3)]

    def slow() -> str:
        manual_clock.sleep(2.0)
        return "old"

    caches[0].get("k", slow)
    manual_clock.sleep(3600.0 - 2.0)  # one load time before the end
    assert [cache.get("k", Source("new")) for cache in caches] == ["old"] * 3
    luck[0] = 0.9  # -ln(1 - 0.9) is 2.3 load times
    sources = [Source("new") for _ in caches]
    answers = [cache.get("k", source) for cache, source in zip(caches, sources, strict=True)]
    assert answers[0] == "old"
    wait_until(lambda: all(len(cache._refreshes) == 0 for cache in caches), seconds=20)
    assert sum(source.loads for source in sources) == 1
    assert caches[2].get("k", Source("newer")) in {"old", "new"}
    assert metrics.counts["collectors_cache_early_refresh_total",] == 1
    manual_clock.sleep(5.0)  # by now nobody believes an older copy
    luck[0] = 0.0
    assert [cache.get("k", Source("newer")) for cache in caches] == ["new"] * 3


def test_that_there_is_none_is_remembered_for_a_while(manual_clock: ManualClock) -> None:
    metrics = Counted()
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm(), metrics=metrics)
    source = Source(None)
    assert [cache.get("k", source) for _ in range(3)] == [None] * 3
    assert source.loads == 1
    assert metrics.requests() == {"miss": 1, "negative": 2}
    manual_clock.sleep(60.0)
    source.value = "there now"
    assert cache.get("k", source) == "there now"


def test_that_there_is_none_need_not_be_remembered(manual_clock: ManualClock) -> None:
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm(negative_seconds=0.0))
    source = Source(None)
    assert [cache.get("k", source) for _ in range(3)] == [None] * 3
    assert source.loads == 3


def test_times_follow_the_changes(manual_clock: ManualClock) -> None:
    policy = calm(tier=Tier.WARM, stale_while_revalidate_seconds=0.0)
    still, restless = Source("same"), Source(0)
    cache = json_cache(MemoryStore(manual_clock), manual_clock, policy)
    for _ in range(1_500):
        restless.value += 1
        cache.get("still", still)
        cache.get("restless", restless)
        manual_clock.sleep(600.0)
    assert still.loads < 30, "ten days of what never changes"
    assert restless.loads > 1_000, "loaded nearly each time that it is asked for"


# --- dropping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["key", "tag", "all"])
def test_what_is_dropped_is_loaded_anew(manual_clock: ManualClock, what: str) -> None:
    store = MemoryStore(manual_clock)
    policy = calm(limits=no_local())
    one, other = json_cache(store, manual_clock, policy), json_cache(store, manual_clock, policy)
    source, kept = Source("old"), Source("kept")
    one.get("k", source, tags=("artist:1", "charts"))
    one.get("other", kept, tags=("artist:2",))
    source.value = "new"
    assert _drop(other, what)
    assert one.get("k", source) == other.get("k", source) == "new"
    one.get("other", kept)
    assert kept.loads == (2 if what == "all" else 1)


def _drop(cache: Any, what: str) -> bool:
    if what == "key":
        return bool(cache.invalidate("k"))
    return bool(cache.invalidate_tag("charts") if what == "tag" else cache.invalidate_all())


async def _adrop(cache: Any, what: str) -> bool:
    if what == "key":
        return bool(await cache.ainvalidate("k"))
    return bool(await (cache.ainvalidate_tag("charts") if what == "tag" else cache.ainvalidate_all()))


@pytest.mark.parametrize("what", ["key", "tag", "all"])
@pytest.mark.parametrize("by", ["itself", "another"])
def test_what_was_being_loaded_when_it_was_dropped_is_not_kept(manual_clock: ManualClock, what: str, by: str) -> None:
    store = MemoryStore(manual_clock)
    policy = calm(limits=no_local())
    one, other = json_cache(store, manual_clock, policy), json_cache(store, manual_clock, policy)

    def load() -> str:
        assert asyncio.run(_adrop(one if by == "itself" else other, what))
        return "old"

    assert one.get("k", load, tags=("charts",)) == "old"
    assert one.get("k", Source("new")) == other.get("k", Source("newer")) == "new"


def test_who_comes_after_dropping_does_not_wait_for_a_load_from_before() -> None:
    cache = json_cache(MemoryStore(SystemClock()))
    source = Source("old")
    source.open.clear()
    leader = threading.Thread(target=lambda: cache.get("k", source))
    leader.start()
    wait_until(lambda: source.at_once == 1, seconds=20)
    cache.invalidate("k")
    assert cache.get("k", Source("new")) == "new"
    source.open.set()
    leader.join(20)
    assert cache.get("k", Source("newer")) == "new"


# --- without the store ---------------------------------------------------------------------------------------------


def test_without_the_store_copies_single_flight_and_the_load_go_on(manual_clock: ManualClock) -> None:
    store = Doubtful(MemoryStore(manual_clock))
    cache = json_cache(store, manual_clock, calm())
    known, unknown = Source("known"), Source("unknown")
    cache.get("known", known)
    store.away = True
    manual_clock.sleep(1800.0)
    assert cache.get("known", known) == "known"
    assert [cache.get("unknown", unknown) for _ in range(3)] == ["unknown"] * 3
    assert (known.loads, unknown.loads) == (1, 1)
    manual_clock.sleep(1800.0 + 60.0)
    known.value = "new"
    assert cache.get("known", known) == "new"
    known.error = failed()
    manual_clock.sleep(3600.0 + 60.0)
    assert cache.get("known", known) == "new", "stale, as loading fails"


def test_what_is_dropped_without_the_store_is_dropped_there_as_soon_as_it_is_back(manual_clock: ManualClock) -> None:
    store = Doubtful(MemoryStore(manual_clock))
    policy = calm(limits=no_local())
    cache, other = json_cache(store, manual_clock, policy), json_cache(store, manual_clock, policy)
    for key in ("a", "b", "c"):
        cache.get(key, Source("old"), tags=(f"tag-{key}",))
    store.away = True
    assert not cache.invalidate("a")
    assert not cache.invalidate_tag("tag-b")
    assert cache.get("a", Source("new")) == "new", "here at once"
    store.away = False
    assert [cache.get(key, Source("newer")) for key in ("a", "b", "c")] == ["newer", "newer", "old"]
    assert other.get("a", Source("newest")) == "newer"


def test_many_drops_without_the_store_take_bounded_memory(manual_clock: ManualClock) -> None:
    store = Doubtful(MemoryStore(manual_clock))
    cache = json_cache(store, manual_clock, calm(limits=no_local()))
    cache.get("kept?", Source("old"))
    store.away = True
    for number in range(10_000):
        cache.invalidate(str(number))
    assert sum(map(len, cache._entries._owed.values())) <= 16
    store.away = False
    assert cache.get("kept?", Source("new")) == "new", "all of it was dropped"


# --- sizes and kinds -----------------------------------------------------------------------------------------------


def test_a_value_that_is_too_large_is_used_but_not_kept(manual_clock: ManualClock) -> None:
    limits = CacheLimits(tenant_bytes=64 * 1024, value_bytes=1024)
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm(limits=limits))
    source = Source("x" * 2000)
    assert cache.get("k", source) == cache.get("k", source) == source.value
    assert source.loads == 2


def test_a_value_that_cannot_be_written_is_said_to_be_so(manual_clock: ManualClock) -> None:
    cache = json_cache(MemoryStore(manual_clock), manual_clock)
    for value in ({1: "a"}, object(), {"a": {1, 2}}):
        with pytest.raises(TypeError, match=r"JSON"):
            cache.get("k", Source(value))
    with pytest.raises(ValueError, match="JSON"):
        cache.get("k", Source(float("nan")))
    assert cache.get("k", Source([1.5, None, True, "ö"])) == [1.5, None, True, "ö"]


@pytest.mark.parametrize("key", ["", None, 7, b"k"])
def test_a_key_is_text(manual_clock: ManualClock, key: Any) -> None:
    with pytest.raises(TypeError, match="key"):
        json_cache(MemoryStore(manual_clock), manual_clock).get(key, Source())


@pytest.mark.parametrize("name", ["", "a{b", "a|b", "a\nb"])
def test_a_name_that_would_be_misread_is_refused(manual_clock: ManualClock, name: str) -> None:
    with pytest.raises(ValueError, match="cache"):
        json_cache(MemoryStore(manual_clock), manual_clock, name=name)


def test_bytes_are_counted_raw_and_as_they_are_stored(manual_clock: ManualClock) -> None:
    metrics = Counted()
    cache = json_cache(MemoryStore(manual_clock), manual_clock, metrics=metrics, random=never)
    cache.get("small", Source("x" * 100))
    cache.get("large", Source("x" * 10_000))
    stored = {key[1]: value for key, value in metrics.counts.items() if key[0] == "collectors_cache_stored_bytes_total"}
    assert metrics.counts["collectors_cache_raw_bytes_total",] == 102 + 10_002
    assert set(stored) == {"none", "zstd"}
    assert stored["zstd"] < 200
    assert len(metrics.observed["collectors_cache_load_seconds", "warm"]) == 2


def test_what_is_counted_is_declared(manual_clock: ManualClock) -> None:
    metrics = Metrics()
    cache = json_cache(MemoryStore(manual_clock), manual_clock, calm(), metrics=metrics)
    source = Source("x" * 10_000)
    cache.get("k", source)
    cache.get("k", source)
    cache.get("none", Source(None))
    source.error = failed()
    manual_clock.sleep(3600.0 + 60.0)
    cache.get("k", source)
    with pytest.raises(ServiceFailedError):
        cache.get("other", source)
    counted = {(each.family, *each.labels) for each in metrics.drain()}
    assert {("collectors_cache_requests_total", "warm", each) for each in ("hit", "miss", "stale", "error")} <= counted
    assert ("collectors_cache_stored_bytes_total", "zstd") in counted


def test_no_coroutine_is_left_unawaited() -> None:
    async def load() -> str:
        return "value"

    async def story() -> Any:
        calls: list[Coroutine[Any, Any, Any]] = [
            json_cache(MemoryStore(SystemClock())).aget("k", load) for _ in range(3)
        ]
        return await asyncio.gather(*calls)

    assert asyncio.run(story()) == ["value"] * 3


def test_a_forked_process_waits_for_no_thread_of_its_parent() -> None:
    cache = json_cache(MemoryStore(SystemClock()), policy=calm(max_wait_seconds=0.0))
    source = Source()
    source.open.clear()
    leader = threading.Thread(target=lambda: cache.get("k", source))
    leader.start()
    wait_until(lambda: source.at_once == 1, seconds=20)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of what is tested here
        child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os.write(writing, str(cache.get("k", lambda: "of the child")).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"of the child"
    os.close(reading)
    os.close(writing)
    source.open.set()
    leader.join(20)
