"""Both halves of each rule, Python and Lua, say the same: whatever is asked, whenever.

Time is the only thing that is not real here: the scripts run in Redis, but read a clock moved by hand, so that every
microsecond can be compared.
"""

from itertools import count

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.rate_rules import BUCKET, COUNTERS, FIXED, LOG, PAUSE
from collectors_dagster.patterns.shared_state import Step
from tests.support.effort import times
from tests.support.timed_redis import START_US, TimedRedis, Wall

names = count()


@pytest.fixture(scope="module")
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server)


questions = st.lists(
    st.tuples(
        st.integers(0, 400_000),  # microseconds since the last one
        st.sampled_from(["a", "b", "c"]),  # process
        st.integers(1, 8),  # places
        st.integers(1, 3),  # cost
        st.sampled_from([0, 1_000, 250_000, 3_000_000]),  # longest wait
        st.sampled_from([0, 20_000]),  # spread
        st.one_of(st.none(), st.none(), st.none(), st.integers(0, 500_000)),  # a ban before it
    ),
    max_size=25,
)
SETTINGS = settings(max_examples=times(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = [
    (BUCKET, (10_000_000, 10)),
    (BUCKET, (33_333_334, 3)),
    (BUCKET, (50_000, 2000)),
    (FIXED, (5, 100_000)),
    (FIXED, (3, 1_000_000)),
    (LOG, (5, 100_000)),
    (LOG, (3, 1_000_000)),
    (COUNTERS, (7, 100_000)),
    (COUNTERS, (20_000, 1_000_000)),
]


@pytest.mark.parametrize(("step", "numbers"), NUMBERS)
@given(asked=questions)
@SETTINGS
def test_python_and_lua_agree(
    step: Step,
    numbers: tuple[int, int],
    asked: list[tuple[int, str, int, int, int, int, int | None]],
    client: redis.Redis,
) -> None:
    clock = Wall()
    memory = MemoryStore(clock)
    timed = TimedRedis(client, f"rules:{next(names)}")
    for elapsed, process, places, cost, longest, spread, ban in asked:
        clock.micros += elapsed
        if ban is not None:
            assert memory.run(PAUSE, "k", (ban,)) == timed.run(PAUSE, clock.micros, (ban,))
        question = (process, places, cost, longest, spread, *numbers)
        assert memory.run(step, "k", question) == timed.run(step, clock.micros, question)


def _granted(step: Step, numbers: tuple[int, int], asked: list[tuple[int, int, int]], client: redis.Redis) -> list[int]:
    """Return the instants of all units granted, by Redis."""
    timed = TimedRedis(client, f"rules:{next(names)}")
    now, units = START_US, []
    for elapsed, places, cost in asked:
        now += elapsed
        _, _, *waits = timed.run(step, now, ("p", places, cost, 10**7, 20_000, *numbers))
        for wait in waits:
            assert isinstance(wait, int)
            units += [now + wait] * cost
    return units


books = st.lists(st.tuples(st.integers(0, 50_000), st.integers(1, 5), st.integers(1, 3)), max_size=30)


@given(asked=books)
@SETTINGS
def test_no_window_holds_more_than_the_limit(asked: list[tuple[int, int, int]], client: redis.Redis) -> None:
    units = _granted(LOG, (5, 100_000), asked, client)
    for first, later in zip(units, units[5:], strict=False):
        assert later - first >= 100_000
    windows = [unit // 100_000 for unit in _granted(FIXED, (5, 100_000), asked, client)]
    assert all(windows.count(window) <= 5 for window in windows)


@given(asked=books)
@SETTINGS
def test_a_bucket_grants_its_burst_and_the_rate(asked: list[tuple[int, int, int]], client: redis.Redis) -> None:
    units = _granted(BUCKET, (10_000_000, 4), asked, client)  # 100 a second, 4 at once
    for begin in range(len(units)):
        for end in range(begin, len(units)):
            assert end - begin + 1 <= 4 + (units[end] - units[begin]) / 10_000 + 1e-6
