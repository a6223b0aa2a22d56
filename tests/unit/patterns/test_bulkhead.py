"""The bulkhead of one process: limits, queue, compartments, and not a permit lost."""

import asyncio
import random
import sys
import threading
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.errors import BulkheadFullError, SharedStateUnavailableError
from collectors_dagster.patterns.bulkhead import Bulkhead, BulkheadPolicy, SharedBulkhead
from collectors_dagster.patterns.bulkhead_rules import ENTER, may_enter
from collectors_dagster.patterns.lease_keeper import LeaseKeeper
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.observers import Unobserved
from collectors_dagster.patterns.shared_state import Argument, Reply, Step
from tests.support.waiting import wait_until


def test_no_more_than_the_limit_run_and_the_queue_is_bounded() -> None:
    bulkhead = Bulkhead("b", BulkheadPolicy(limit=2, queue_limit=3, max_wait_seconds=5.0))

    async def story() -> None:
        inside = 0
        most = 0
        go = asyncio.Event()

        async def call() -> None:
            nonlocal inside, most
            async with bulkhead.aprotect():
                inside += 1
                most = max(most, inside)
                await go.wait()
                inside -= 1

        calls = [asyncio.ensure_future(call()) for _ in range(6)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (bulkhead.in_use, bulkhead.waiting) == (2, 3)
        go.set()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in ended].count(BulkheadFullError) == 1
        assert most == 2

    asyncio.run(story())
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


@pytest.mark.parametrize("colour", ["threads", "coroutines"])
def test_a_wait_ends_with_an_error_and_without_a_trace(colour: str) -> None:
    bulkhead = Bulkhead("b", BulkheadPolicy(limit=1, queue_limit=1, max_wait_seconds=0.02))

    async def awaiting() -> None:
        async with bulkhead.aprotect():
            pass

    with bulkhead.protect():
        with pytest.raises(BulkheadFullError, match=r"waited 0\.02 s"):
            asyncio.run(awaiting()) if colour == "coroutines" else bulkhead.protect().__enter__()
        assert (bulkhead.in_use, bulkhead.waiting) == (1, 0)
    assert bulkhead.in_use == 0


def test_threads_and_coroutines_share_a_limit() -> None:
    bulkhead = Bulkhead("b", BulkheadPolicy(limit=3, queue_limit=1000, max_wait_seconds=30.0))
    inside: Counter[str] = Counter()
    lock = threading.Lock()
    most = 0

    def enter() -> None:
        nonlocal most
        with lock:
            inside["all"] += 1
            most = max(most, inside["all"])

    def leave() -> None:
        with lock:
            inside["all"] -= 1

    def blocking() -> None:
        for _ in range(100):
            with bulkhead.protect():
                enter()
                leave()

    async def awaiting() -> None:
        for _ in range(100):
            async with bulkhead.aprotect():
                enter()
                await asyncio.sleep(0)
                leave()

    async def many() -> None:
        await asyncio.gather(*(awaiting() for _ in range(5)))

    threads = [threading.Thread(target=blocking) for _ in range(5)]
    threads.append(threading.Thread(target=lambda: asyncio.run(many())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 3
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


def test_ten_thousand_cancellations_lose_no_permit() -> None:
    bulkhead = Bulkhead("b", BulkheadPolicy(limit=5, queue_limit=10_000, max_wait_seconds=30.0, guaranteed={"acme": 2}))
    chance = random.Random(7)

    async def call(compartment: str) -> None:
        async with bulkhead.aprotect(compartment):
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)

    async def story() -> None:
        cancelled = 0
        while cancelled < 10_000:
            calls = [asyncio.ensure_future(call(chance.choice(["acme", "other"]))) for _ in range(200)]
            while not all(each.done() for each in calls):
                for each in chance.sample(calls, 20):
                    each.cancel()
                await asyncio.sleep(0)
            ended = await asyncio.gather(*calls, return_exceptions=True)
            cancelled += sum(isinstance(each, asyncio.CancelledError) for each in ended)
            assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)

    asyncio.run(story())


def test_a_loop_that_was_closed_keeps_no_permit() -> None:
    bulkhead = Bulkhead("b", BulkheadPolicy(limit=1, queue_limit=5, max_wait_seconds=30.0))
    loop = asyncio.new_event_loop()

    async def call() -> None:
        async with bulkhead.aprotect():
            pass

    with bulkhead.protect():
        abandoned = loop.create_task(call())
        loop.run_until_complete(asyncio.sleep(0))
        assert bulkhead.waiting == 1
        abandoned._log_destroy_pending = False  # type: ignore[attr-defined]  # it is abandoned on purpose
        loop.close()
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


def test_a_tenant_has_its_guaranteed_part_whatever_the_others_do() -> None:
    policy = BulkheadPolicy(limit=3, queue_limit=0, guaranteed={"acme": 1, "beta": 1})
    bulkhead = Bulkhead("b", policy)
    with bulkhead.protect("greedy"):
        with pytest.raises(BulkheadFullError), bulkhead.protect("greedy"):
            pass
        with bulkhead.protect("acme"), bulkhead.protect("beta"):
            assert bulkhead.in_use == 3


@given(st.lists(st.sampled_from(["acme", "beta", "c", ""]), max_size=30), st.integers(3, 8))
def test_guaranteed_parts_can_always_be_had(arrivals: list[str], limit: int) -> None:
    guaranteed = {"acme": 2, "beta": 1}
    in_use: Counter[str] = Counter()
    for name in arrivals:
        if may_enter(in_use, guaranteed, limit, name):
            in_use[name] += 1
        assert in_use.total() <= limit
        for tenant, part in guaranteed.items():
            assert in_use[tenant] >= part or may_enter(in_use, guaranteed, limit, tenant)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"limit": 0}, "limit"),
        ({"queue_limit": -1}, "queue_limit"),
        ({"max_wait_seconds": -1.0}, "max_wait_seconds"),
        ({"max_wait_seconds": float("nan")}, "max_wait_seconds"),
        ({"lease_seconds": 0.0}, "lease_seconds"),
        ({"guaranteed": {"acme": 3}}, "guaranteed"),
        ({"guaranteed": {"acme": -1}}, "guaranteed"),
    ],
)
def test_an_impossible_policy_is_refused_by_its_key(values: dict[str, object], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        BulkheadPolicy(**{"limit": 2, **values})  # type: ignore[arg-type]  # bad values on purpose


def test_refusals_and_use_are_told() -> None:
    class Watching(Unobserved):
        def __init__(self) -> None:
            self.told: list[object] = []

        def bulkhead_in_use(self, name: str, in_use: int) -> None:
            self.told.append(in_use)

        def bulkhead_rejected(self, name: str, reason: str) -> None:
            self.told.append(reason)

    watching = Watching()
    bulkhead = Bulkhead("b", BulkheadPolicy(limit=1, queue_limit=0), observer=watching)
    with bulkhead.protect(), pytest.raises(BulkheadFullError), bulkhead.protect():
        pass
    assert watching.told == [1, "queue_full", 1, 0]


class Away:
    """A store that cannot be reached."""

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        raise SharedStateUnavailableError(key)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        return self.run(step, key, arguments)


def test_without_the_store_a_process_lets_its_share_run(manual_clock: ManualClock) -> None:
    policy = BulkheadPolicy(limit=8, max_wait_seconds=1.0)
    bulkhead = SharedBulkhead("b", policy, store=Away(), clock=manual_clock, random=lambda: 0.5, assumed_processes=4)
    with bulkhead.protect(), bulkhead.protect(), pytest.raises(BulkheadFullError), bulkhead.protect():
        pass
    with bulkhead.protect():
        pass


def test_threads_that_lose_the_store_together_get_their_share_and_no_more() -> None:
    """All find out at the same moment, as with a server that hangs, and are switched wherever they stand."""
    lost, decided = threading.Barrier(4), threading.Barrier(4)

    class Hung(Away):
        def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
            if step is ENTER:
                lost.wait(20)
            return super().run(step, key, arguments)

    policy, clock = BulkheadPolicy(limit=4, max_wait_seconds=0.0), SystemClock()
    inside: Counter[SharedBulkhead] = Counter()

    def call(bulkhead: SharedBulkhead) -> None:
        try:
            with bulkhead.protect():
                inside[bulkhead] += 1
                decided.wait(20)
        except BulkheadFullError:
            decided.wait(20)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-7)
    try:
        for _ in range(200):
            bulkhead = SharedBulkhead("b", policy, store=Hung(), clock=clock, random=lambda: 0.5, assumed_processes=4)
            callers = [threading.Thread(target=call, args=(bulkhead,)) for _ in range(4)]
            for each in callers:
                each.start()
            for each in callers:
                each.join()
    finally:
        sys.setswitchinterval(interval)
    assert list(inside.values()) == [1] * 200


def test_leases_are_renewed_only_while_somebody_holds_one() -> None:
    clock = SystemClock()
    keeper = LeaseKeeper(clock)
    store = MemoryStore(clock)
    policy = BulkheadPolicy(limit=1, lease_seconds=0.3)
    bulkhead = SharedBulkhead("b", policy, store=store, clock=clock, random=lambda: 0.5, keeper=keeper)
    other = SharedBulkhead(
        "b", BulkheadPolicy(limit=1, max_wait_seconds=0.0), store=store, clock=clock, random=lambda: 0.5, keeper=keeper
    )
    with bulkhead.protect():
        threading.Event().wait(0.9)  # three leases long
        with pytest.raises(BulkheadFullError), other.protect():
            pass
    with other.protect():
        pass
    wait_until(lambda: not [each for each in threading.enumerate() if each is keeper._thread], seconds=10)
