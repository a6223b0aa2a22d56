"""Both halves of the sliding window that learns, Python and Lua, say the same; and what they grant is never refused."""

from itertools import count

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.window_rules import LOOK, SETTLE, TAKE, Outcome, Reason
from tests.support.effort import times
from tests.support.timed_redis import TimedRedis, Wall

WINDOW = 1_000_000
LEASE = 400_000
names = count()
SETTINGS = settings(max_examples=times(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server)


events = st.lists(
    st.tuples(
        st.integers(0, 300_000),  # microseconds since the last one
        st.sampled_from(["a", "b", "c"]),  # process
        st.sampled_from([TAKE, TAKE, TAKE, SETTLE, SETTLE, LOOK]),
        st.integers(0, 1),  # urgent
        st.sampled_from([0, 0, 0, 4, 9]),  # limit known to the process
        st.sampled_from([0, 0, 3, 9]),  # proven
        st.sampled_from([0, 0, 0, 0, 150_000]),  # ban known to it
        st.sampled_from(list(Outcome)),
        st.sampled_from([0, 200_000, 3_000_000]),  # pause named
        st.sampled_from([Reason.RATE, Reason.QUOTA, Reason.UNKNOWN]),
        st.integers(0, 9),  # which of the slots out
    ),
    max_size=60,
)


@pytest.mark.parametrize("configured", [0, 5])
@given(happened=events)
@SETTINGS
def test_python_and_lua_agree(
    configured: int,
    happened: list[tuple[int, str, object, int, int, int, int, Outcome, int, Reason, int]],
    client: redis.Redis,
) -> None:
    clock = Wall()
    memory = MemoryStore(clock)
    timed = TimedRedis(client, f"window:{next(names)}")
    out: list[str] = []
    for number, event in enumerate(happened):
        elapsed, process, step, urgent, limit, proven, ban, outcome, pause, reason, which = event
        clock.micros += elapsed
        if step is TAKE:
            question = (process, number, WINDOW, LEASE, configured, urgent, 100, limit, proven, 5_000, ban, 1)
            reply = memory.run(TAKE, "k", question)
            assert reply == timed.run(TAKE, clock.micros, question)
            if reply[0]:
                out.append(f"{process}.{number}.{reply[1]!r}")
        elif step is SETTLE and out:
            told = (out.pop(which % len(out)), int(outcome), WINDOW, configured, pause, int(reason))
            assert memory.run(SETTLE, "k", told) == timed.run(SETTLE, clock.micros, told)
        else:
            assert memory.run(LOOK, "k", (WINDOW,)) == timed.run(LOOK, clock.micros, (WINDOW,))


class Service:
    """The other side: it counts arrivals in a rolling window, and punishes whoever asks during a pause."""

    def __init__(self, limit: int, lockout: int) -> None:
        self.limit, self.lockout = limit, lockout
        self.arrivals: list[int] = []
        self.until = 0
        self.refused = self.during_pause = 0

    def pause_after(self, now: int) -> int:
        """Take a request; return 0, or the pause that is named."""
        self.arrivals = [at for at in self.arrivals if at > now - WINDOW]
        if now < self.until:
            self.during_pause += 1
        if now >= self.until and len(self.arrivals) < self.limit:
            self.arrivals.append(now)
            return 0
        self.refused += 1
        self.until = now + (self.lockout or self.arrivals[0] + WINDOW - now)
        return self.until - now


@pytest.mark.parametrize("known", ["known", "unknown"])
@pytest.mark.parametrize("lockout", [0, 700_000])
@given(
    limit=st.integers(6, 20),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 30_000),  # between two questions
            st.integers(0, 40_000),  # on the way there
            st.integers(0, 40_000),  # on the way back
            st.integers(0, 1),
        ),
        min_size=50,
        max_size=200,
    ),
)
@SETTINGS
def test_no_request_is_refused_but_the_one_that_finds_the_limit(
    known: str, lockout: int, limit: int, steps: list[tuple[str, int, int, int, int]]
) -> None:
    clock = Wall()
    memory = MemoryStore(clock)
    service = Service(limit, lockout)
    configured = limit if known == "known" else 0
    flying: list[tuple[int, str, int, str]] = []  # instant, what happens then (arrive, answer), way back or pause, slot

    def advance(until: int) -> None:
        while flying and min(flying)[0] <= until:
            event = min(flying)
            flying.remove(event)
            at, kind, number, slot = event
            clock.micros = max(clock.micros, at)
            if kind == "arrive":
                pause = service.pause_after(at)
                flying.append((at + number, f"answer {pause}", 0, slot))
            else:
                pause = int(kind.split()[1])
                outcome = Outcome.REJECTED if pause else Outcome.ACCEPTED
                told = (slot, int(outcome), WINDOW, configured, pause, int(Reason.RATE))
                memory.run(SETTLE, "k", told)
        clock.micros = max(clock.micros, until)

    for number, (process, elapsed, there, back, urgent) in enumerate(steps):
        advance(clock.micros + elapsed)
        question = (process, number, WINDOW, LEASE, configured, urgent, 100, 0, 0, 0, 0, 0)
        granted, now, *_ = memory.run(TAKE, "k", question)
        if granted:
            flying.append((clock.micros + there, "arrive", back, f"{process}.{number}.{now!r}"))
    advance(clock.micros + 10**6)
    assert service.refused <= (0 if known == "known" else 1)
    assert service.during_pause == 0
