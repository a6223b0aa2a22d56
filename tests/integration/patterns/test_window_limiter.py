"""One window for several limiters, wherever the state lies."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.errors import RateLimitExceededError, SharedStateUnavailableError
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.shared_state import Argument, Reply, Step
from collectors_dagster.patterns.window_limiter import Knowledge, WindowLimiter, WindowPolicy
from collectors_dagster.patterns.window_rules import Outcome, Reason
from tests.support.shared_stores import SharedPlace

POLICY = WindowPolicy(1.0, limit=5)


class Absent:
    """A store that is away when told so."""

    def __init__(self, clock: ManualClock) -> None:
        self.store = MemoryStore(clock)
        self.away = False

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        if self.away:
            raise SharedStateUnavailableError("away")
        return self.store.run(step, key, arguments)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        return self.run(step, key, arguments)


async def sent(limiter: WindowLimiter, number: int) -> None:
    for _ in range(number):
        await limiter.settle(await limiter.take(), Outcome.ACCEPTED)


def test_all_limiters_of_a_name_share_one_window(shared_place: SharedPlace) -> None:
    async def use() -> float:
        clock = SystemClock()
        first, second = (WindowLimiter("one", POLICY, store=shared_place.store, clock=clock) for _ in range(2))
        await sent(first, 3)
        await sent(second, 2)
        status = await first.status()
        assert (status.used, status.under_way, status.alone) == (5, 0, False)
        await sent(WindowLimiter("another", POLICY, store=shared_place.store, clock=clock), 5)
        return status.knowledge.limit

    assert asyncio.run(use()) == 0


def test_a_ban_is_known_to_all_and_a_long_one_refuses_at_once(shared_place: SharedPlace) -> None:
    async def use() -> None:
        clock = SystemClock()
        first, second = (WindowLimiter("one", POLICY, store=shared_place.store, clock=clock) for _ in range(2))
        slot = await first.take()
        await first.settle(slot, Outcome.REJECTED, pause_seconds=3600.0, reason=Reason.QUOTA)
        for limiter in (first, second):
            with pytest.raises(RateLimitExceededError):
                await limiter.take()
        assert second.known.reason is Reason.QUOTA
        assert second.known.banned_until is not None
        assert timedelta(seconds=3590) < second.known.banned_until - clock.now() < timedelta(seconds=3602)
        assert second.news() == second.known
        assert second.news() is None

    asyncio.run(use())


def test_a_slot_that_was_not_used_is_given_back(manual_clock: ManualClock) -> None:
    async def use() -> None:
        limiter = WindowLimiter("one", POLICY, store=MemoryStore(manual_clock), clock=manual_clock)
        for _ in range(20):
            await limiter.settle(await limiter.take(), Outcome.UNUSED)
        await sent(limiter, 5)
        assert manual_clock.monotonic() == 0
        await sent(limiter, 1)
        assert 1.0 <= manual_clock.monotonic() <= 1.01
        assert limiter.waited_seconds == manual_clock.monotonic()

    asyncio.run(use())


def test_without_the_store_a_process_uses_its_share_less_what_it_used_and_tells_it_later(
    manual_clock: ManualClock,
) -> None:
    async def use() -> None:
        store = Absent(manual_clock)
        policy = WindowPolicy(1.0, limit=8)
        limiter, other = (WindowLimiter("one", policy, store=store, clock=manual_clock) for _ in range(2))
        await sent(other, 1)
        await sent(limiter, 2)
        store.away = True
        await sent(limiter, 2)  # two processes were seen: four are its share
        assert manual_clock.monotonic() == 0
        await sent(limiter, 1)
        assert manual_clock.monotonic() >= 1.0
        store.away = False
        await sent(limiter, 1)
        assert (await other.status()).used >= 4

    asyncio.run(use())


def test_what_was_remembered_outlives_the_store(manual_clock: ManualClock) -> None:
    async def use() -> None:
        learned = Knowledge(limit=6, proven=6, learned_at=manual_clock.now() - timedelta(days=3))
        policy = WindowPolicy(1.0)
        limiter = WindowLimiter("one", policy, store=MemoryStore(manual_clock), clock=manual_clock, known=learned)
        await sent(limiter, 6)
        assert manual_clock.monotonic() == 0
        await sent(limiter, 1)
        assert manual_clock.monotonic() >= 1.0
        assert limiter.known == learned

    asyncio.run(use())


def test_urgent_requests_find_a_reserve_while_they_are_about(manual_clock: ManualClock) -> None:
    async def use() -> None:
        policy, store = WindowPolicy(1.0, limit=10), MemoryStore(manual_clock)
        ordinary = WindowLimiter("one", policy, store=store, clock=manual_clock)
        urgent = WindowLimiter("one", policy, store=store, clock=manual_clock, urgent=True)
        await sent(urgent, 1)
        await sent(ordinary, 8)
        assert manual_clock.monotonic() == 0
        await sent(urgent, 1)
        assert manual_clock.monotonic() == 0
        await sent(ordinary, 1)
        assert manual_clock.monotonic() >= 1.0
        manual_clock.move(3.0)
        began = manual_clock.monotonic()
        await sent(ordinary, 10)  # nobody urgent is about: nothing is kept
        assert manual_clock.monotonic() == began

    asyncio.run(use())


@pytest.mark.parametrize("name", ["", "a{b", "a}b"])
def test_a_name_that_would_break_keys_is_refused(name: str, manual_clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="braces"):
        WindowLimiter(name, POLICY, store=MemoryStore(manual_clock), clock=manual_clock)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_seconds": 0.0},
        {"limit": -1},
        {"limit": 10**6},
        {"reserve": 1.0},
        {"assumed": 0},
        {"lease_seconds": 0.0},
    ],
)
def test_a_policy_that_could_not_work_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WindowPolicy(**{"window_seconds": 1.0, **wrong})  # type: ignore[arg-type]  # what is given wrongly


def test_the_first_request_after_an_idle_window_or_a_refusal_goes_alone(manual_clock: ManualClock) -> None:
    async def use() -> None:
        store = MemoryStore(manual_clock)
        limiter, other = (WindowLimiter("one", POLICY, store=store, clock=manual_clock) for _ in range(2))

        async def goes_alone() -> None:
            slot = await limiter.take()
            began = manual_clock.monotonic()
            await other.take()  # only when the first one's lease is over: nobody settles it here
            assert manual_clock.monotonic() >= began + POLICY.lease_seconds
            await limiter.settle(slot, Outcome.ACCEPTED)

        await goes_alone()
        await limiter.take()
        await limiter.take()  # one was accepted: side by side
        manual_clock.move(60.0)
        await goes_alone()

    asyncio.run(use())
