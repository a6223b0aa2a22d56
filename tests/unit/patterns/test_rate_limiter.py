"""One limiter of one process, by a clock moved by hand: blocking and awaiting, each algorithm."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import RateLimitExceededError, SharedStateUnavailableError
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.observers import Unobserved
from collectors_dagster.patterns.rate_limiter import RateLimiter, local_rate_limiter
from collectors_dagster.patterns.rate_policy import Algorithm, RatePolicy
from collectors_dagster.patterns.shared_state import Argument, Reply, Step

POLICY = RatePolicy(requests_per_second=2.0, burst_size=4)


class Switchable:
    """A store that can be away, or answer nonsense."""

    def __init__(self, clock: ManualClock) -> None:
        self.inner = MemoryStore(clock)
        self.away = False
        self.nonsense: Reply | None = None
        self.asked = 0

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        self.asked += 1
        if self.away:
            raise SharedStateUnavailableError(key)
        return self.inner.run(step, key, arguments) if self.nonsense is None else self.nonsense

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        return self.run(step, key, arguments)


class Counting(Unobserved):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.waits: list[float] = []

    def rate_limited(self, name: str, result: str) -> None:
        self.results.append(f"{name}:{result}")

    def rate_waited(self, name: str, seconds: float) -> None:
        self.waits.append(seconds)


def test_burst_is_granted_at_once_and_no_more() -> None:
    limiter = local_rate_limiter("hook", POLICY, clock=ManualClock())
    assert [limiter.try_acquire() for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]


def test_waiting_callers_get_the_configured_rate() -> None:
    clock = ManualClock()
    limiter = local_rate_limiter("hook", POLICY, clock=clock)
    for _ in range(24):
        limiter.acquire(timeout_seconds=5.0)
    assert clock.monotonic() == pytest.approx(10.0)


def test_awaiting_callers_get_the_same_rate() -> None:
    clock = ManualClock()
    limiter = local_rate_limiter("hook", POLICY, clock=clock)

    async def crowd() -> None:
        for _ in range(24):
            await limiter.aacquire(timeout_seconds=5.0)

    asyncio.run(crowd())
    assert clock.monotonic() == pytest.approx(10.0)


def test_a_wait_that_cannot_end_in_time_is_refused_at_once() -> None:
    clock = ManualClock()
    limiter = local_rate_limiter("hook", POLICY, clock=clock)
    limiter.try_acquire(4)
    with pytest.raises(RateLimitExceededError) as refused:
        limiter.acquire(timeout_seconds=0.4)
    assert refused.value.retry_after_seconds == pytest.approx(0.5)
    assert clock.monotonic() == 0.0


@pytest.mark.parametrize("algorithm", Algorithm)
def test_pause_of_the_other_side_is_kept_by_every_process(algorithm: Algorithm) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    policy = RatePolicy(2.0, 4, algorithm)
    told, other = (RateLimiter("hook", policy, store=store, clock=clock) for _ in range(2))
    told.pause(20.0)
    assert told.try_acquire() == pytest.approx(20.0)
    assert other.try_acquire() == pytest.approx(20.0, abs=1e-5)
    later = RateLimiter("hook", policy, store=store, clock=clock)  # a process started during the ban
    with pytest.raises(RateLimitExceededError):
        later.acquire(timeout_seconds=19.0)
    if algorithm is Algorithm.LEAKY_BUCKET:
        clock.move(18.0)  # nobody waits longer than the queue is
    later.acquire(timeout_seconds=21.0)
    assert clock.monotonic() == pytest.approx(20.0, abs=1e-3)
    told.acquire(timeout_seconds=0.5)


def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    one, other = (RateLimiter("hook", POLICY, store=store, clock=clock) for _ in range(2))
    one.pause(20.0)
    other.pause(1.0)
    clock.move(2.0)
    assert other.try_acquire() == pytest.approx(18.0, abs=1e-5)


def test_a_pause_that_could_not_be_told_is_told_when_the_store_is_back() -> None:
    clock = ManualClock()
    store = Switchable(clock)
    told, other = (RateLimiter("hook", POLICY, store=store, clock=clock) for _ in range(2))
    store.away = True
    told.pause(20.0)
    assert told.try_acquire() == pytest.approx(20.0)
    store.away = False
    clock.move(5.0)
    assert told.try_acquire() == pytest.approx(15.0)
    told.pause(1.0)
    assert other.try_acquire() == pytest.approx(15.0, abs=1e-5)


def test_a_ban_that_comes_while_one_waits_is_kept() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)

    class Interrupted(ManualClock):
        def sleep(self, seconds: float) -> None:
            if not told:
                told.append(seconds)
                other.pause(10.0)
            clock.move(seconds)

        def monotonic(self) -> float:
            return clock.monotonic()

    told: list[float] = []
    other = RateLimiter("hook", POLICY, store=store, clock=clock)
    waiting = RateLimiter("hook", POLICY, store=store, clock=Interrupted())
    other.try_acquire(4)
    waiting.acquire(timeout_seconds=30.0)
    assert told == [pytest.approx(0.5)]
    assert clock.monotonic() >= 10.0


def test_more_than_the_burst_can_never_be_granted_and_says_so() -> None:
    limiter = local_rate_limiter("hook", POLICY, clock=ManualClock())
    for cost in (0, 5):
        with pytest.raises(ValueError, match="grants 1 to 4 at once"):
            limiter.try_acquire(cost)


@pytest.mark.parametrize(
    ("policy", "key"),
    [
        ({"requests_per_second": 0.0}, "requests_per_second"),
        ({"requests_per_second": -1.0}, "requests_per_second"),
        ({"requests_per_second": float("nan")}, "requests_per_second"),
        ({"burst_size": 0}, "burst_size"),
        ({"window_seconds": 0.0001}, "window_seconds"),
        (
            {"window_seconds": 0.4, "algorithm": Algorithm.FIXED_WINDOW},
            "window_seconds 0.4 is shorter than one request",
        ),
    ],
)
def test_a_policy_that_cannot_work_is_refused_by_its_key(policy: dict[str, object], key: str) -> None:
    values: dict[str, object] = {"requests_per_second": 1.0, **policy}
    with pytest.raises(ValueError, match=key):
        RatePolicy(**values)  # type: ignore[arg-type]  # bad values on purpose


def test_without_the_store_a_process_grants_its_share_and_returns_by_itself() -> None:
    clock = ManualClock()
    store = Switchable(clock)
    policy = RatePolicy(100.0, 10)
    sharers = [RateLimiter("api", policy, store=store, clock=clock, batch_seconds=0) for _ in range(5)]
    for each in sharers:
        each.try_acquire()
    for each in sharers:
        each.try_acquire()  # now each has seen all five
    store.away = True
    granted = 0
    for _ in range(2000):
        clock.move(0.005)
        granted += sum(each.try_acquire() == 0.0 for each in sharers)
    assert 980 <= granted <= 10 + 5 + 1000
    store.away = False
    clock.move(1.0)
    before = store.asked
    assert sharers[0].try_acquire() == 0.0
    assert store.asked == before + 1


@pytest.mark.parametrize(
    "reply", [[], [1], [1, 0], [1, 0, -5], [1, 0, b"0"], [1, 7, 7], [1, 0, 0, 0, 0], [1, 0, 10**15], [None, None]]
)
def test_a_reply_without_sense_is_no_grant(reply: Reply) -> None:
    clock = ManualClock()
    store = Switchable(clock)
    limiter = RateLimiter("api", RatePolicy(4.0, 4), store=store, clock=clock)  # alone: a share of one in four
    store.nonsense = reply
    assert [limiter.try_acquire() for _ in range(2)] == [0.0, pytest.approx(1.0)]


def test_places_are_booked_many_at_once_where_many_are_wanted() -> None:
    clock = ManualClock()
    store = Switchable(clock)
    limiter = RateLimiter("api", RatePolicy(1000.0, 10), store=store, clock=clock)
    for _ in range(2000):
        limiter.acquire(timeout_seconds=5.0)
    assert clock.monotonic() == pytest.approx(1.99, abs=0.03)
    assert store.asked <= 0.1 * 2000


def test_who_asks_seldom_books_no_more_than_it_uses() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    seldom = [RateLimiter("api", RatePolicy(1000.0, 10), store=store, clock=clock) for _ in range(60)]
    for _ in range(50):
        clock.move(0.1)
        for each in seldom:  # 600 a second in all
            each.acquire(timeout_seconds=0.05)


def test_a_cancelled_waiter_leaves_its_place_to_the_next() -> None:
    class Sleepless(ManualClock):
        async def asleep(self, seconds: float) -> None:
            if not cancelled:
                await asyncio.Event().wait()
            self.move(seconds)

    cancelled: list[bool] = []
    clock = Sleepless()
    limiter = local_rate_limiter("hook", POLICY, clock=clock)

    async def story() -> None:
        await limiter.aacquire(timeout_seconds=0.0, cost=4)
        task = asyncio.ensure_future(limiter.aacquire(timeout_seconds=5.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled.append(True)
        await limiter.aacquire(timeout_seconds=5.0)

    asyncio.run(story())
    assert clock.monotonic() == pytest.approx(0.5)


def test_decisions_are_told_to_the_observer() -> None:
    clock = ManualClock()
    observer = Counting()
    limiter = RateLimiter("hook", POLICY, store=MemoryStore(clock), clock=clock, observer=observer)
    limiter.try_acquire(4)
    limiter.acquire(timeout_seconds=1.0)
    limiter.try_acquire()
    assert observer.results == ["hook:granted", "hook:delayed", "hook:rejected"]
    assert observer.waits == [0.0, pytest.approx(0.5)]


def test_a_leaky_bucket_spaces_evenly_and_bounds_its_queue() -> None:
    clock = ManualClock()
    limiter = local_rate_limiter("hook", RatePolicy(2.0, 3, Algorithm.LEAKY_BUCKET), clock=clock)
    assert [limiter.try_acquire(), limiter.try_acquire()] == [0.0, 0.5]
    at = []
    for _ in range(4):
        limiter.acquire(timeout_seconds=60.0)
        at.append(clock.monotonic())
    assert at == pytest.approx([0.5, 1.0, 1.5, 2.0])


steps = st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 4)), max_size=60)


@given(steps, st.sampled_from(list(Algorithm)))
def test_never_grants_more_than_the_policy_in_any_stretch(steps: list[tuple[float, int]], algorithm: Algorithm) -> None:
    clock = ManualClock()
    policy = RatePolicy(2.0, 4, algorithm, window_seconds=2.0)
    limiter = local_rate_limiter("hook", policy, clock=clock)
    grants: list[tuple[float, int]] = []
    for seconds, cost in steps:
        clock.move(seconds)
        if limiter.try_acquire(cost) == 0:
            grants.append((clock.monotonic(), cost))
    for number, (begin, _) in enumerate(grants):
        for end, granted in zip(
            [at for at, _ in grants[number:]],
            [sum(cost for _, cost in grants[number : last + 1]) for last in range(number, len(grants))],
            strict=True,
        ):
            assert granted <= _bound(policy, end - begin)


def _bound(policy: RatePolicy, seconds: float) -> float:
    """Return what may be granted in a closed stretch of so many seconds."""
    if policy.algorithm is Algorithm.SLIDING_WINDOW:
        return policy.limit * (seconds / policy.window_seconds + 1 + 1e-6) // 1
    if policy.algorithm is Algorithm.FIXED_WINDOW:
        return policy.limit * (seconds // policy.window_seconds + 2)
    return 4 + seconds * policy.requests_per_second + 1e-3


@given(steps, st.sampled_from(list(Algorithm)))
def test_a_refused_caller_who_waits_as_told_is_granted(steps: list[tuple[float, int]], algorithm: Algorithm) -> None:
    clock = ManualClock()
    limiter = local_rate_limiter("hook", RatePolicy(2.0, 4, algorithm, window_seconds=2.0), clock=clock)
    for seconds, cost in steps:
        clock.move(seconds)
        wait = limiter.try_acquire(cost)
        if wait > 0:
            clock.move(wait + 2e-6)  # the store counts whole microseconds
            assert limiter.try_acquire(cost) == 0.0
