"""A shelf's two halves, Python and Lua, against a simple model: whatever is asked, whenever, all three say the same.

Time is the only thing that is not real here (see test_rate_rules.py).
"""

from dataclasses import dataclass, field
from itertools import count

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collectors_dagster.patterns.cache_rules import ENTRY_BYTES, SHELF, Claim, Stored
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.shared_state import Argument, Reply
from tests.support.effort import times
from tests.support.shared_stores import redis_store
from tests.support.timed_redis import TimedRedis, Wall

names = count()
MOST = 4 * ENTRY_BYTES
"""Three small entries find room, or one large one."""
LEASE = 1_000


@pytest.fixture(scope="module")
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server)


@dataclass
class Kept:
    value: bytes
    stored: int
    fresh: int
    end: int
    tags: tuple[str, ...]
    used: int

    @property
    def cost(self) -> int:
        return len(self.value) + sum(map(len, set(self.tags))) + ENTRY_BYTES


@dataclass
class Model:
    """A shelf as one would explain it."""

    kept: dict[str, Kept] = field(default_factory=dict)
    leases: dict[str, tuple[str, int]] = field(default_factory=dict)

    def ask(self, now: int, question: tuple[Argument, ...]) -> Reply:
        self.kept = {key: each for key, each in self.kept.items() if each.end > now}
        self.leases = {key: each for key, each in self.leases.items() if each[1] > now}
        answer: Reply = getattr(self, str(question[0]))(now, *question[1:])
        return answer

    def take(self, now: int, key: str, token: str, lease: int, claim: int) -> Reply:
        entry = self.kept.get(key)
        due = claim >= Claim.ALWAYS or (claim == Claim.IF_DUE and (entry is None or entry.fresh <= now))
        holder, end = self.leases.get(key, (token, 0))
        granted = due and (holder == token or claim == Claim.OVER)
        if granted:
            self.leases[key] = token, now + lease
        other = end - now if holder != token and not granted else 0
        if entry is None:
            return [int(granted), other, 0, 0, 0, 0, None]
        entry.used = now
        return [int(granted), other, 1, now - entry.stored, entry.fresh - now, entry.end - now, entry.value]

    def put(  # noqa: PLR0917 - what a step is told stands in one order
        self, now: int, key: str, token: str, fresh: int, kept: int, most: int, value: bytes, *tags: str
    ) -> Reply:
        if token and self.leases.pop(key, ("", 0))[0] != token:
            raise AssertionError("the test asks who may")
        self.kept.pop(key, None)
        entry = Kept(value, now, now + fresh, now + kept, tags, now)
        evicted = 0
        while entry.cost <= most < self.bytes + entry.cost:
            del self.kept[min(self.kept, key=lambda each: self.kept[each].used)]
            evicted += 1
        if entry.cost > most:
            return [Stored.TOO_LARGE, self.bytes, evicted]
        self.kept[key] = entry
        return [Stored.KEPT, self.bytes, evicted]

    @property
    def bytes(self) -> int:
        return sum(each.cost for each in self.kept.values())

    def renew(self, now: int, key: str, token: str, lease: int) -> Reply:
        held = self.leases.get(key, ("", 0))[0] == token
        if held:
            self.leases[key] = token, now + lease
        return [int(held)]

    def release(self, _now: int, key: str, token: str) -> Reply:
        held = self.leases.get(key, ("", 0))[0] == token
        if held:
            del self.leases[key]
        return [int(held)]

    def drop(self, _now: int, key: str) -> Reply:
        self.leases.pop(key, None)
        self.kept.pop(key, None)
        return [0]

    def drop_tag(self, _now: int, tag: str) -> Reply:
        tagged = [key for key, each in self.kept.items() if tag in each.tags]
        for key in tagged:
            del self.kept[key]
        self.leases.clear()
        return [0]

    def clear(self, _now: int, _nothing: str) -> Reply:
        self.kept.clear()
        self.leases.clear()
        return [0]


keys = st.sampled_from(["aa", "bb", "cc", "dd"])
tokens = st.sampled_from(["p", "q"])
tags = st.lists(st.sampled_from(["x", "xy", "z"]), max_size=3)
waits = st.sampled_from([0, 5, 500, 1_500])
questions = st.lists(
    st.tuples(
        st.sampled_from([1, 7, 400, 900, 1_100]),  # microseconds since the last one
        st.one_of(
            st.tuples(st.just("take"), keys, tokens, st.just(LEASE), st.sampled_from([0, 1, 2, 3])),
            st.tuples(st.just("take"), keys, tokens, st.just(LEASE), st.just(1)),
            st.builds(
                lambda key, token, fresh, kept, size, own: (
                    *("put", key, token, fresh, fresh + kept, MOST, b"\0" * size, *own),
                ),
                *(keys, st.sampled_from(["", "p", "q"]), waits, waits, st.sampled_from([0, 1, 300, 700, 900]), tags),
            ),
            st.tuples(st.just("renew"), keys, tokens, st.just(LEASE)),
            st.tuples(st.just("release"), keys, tokens),
            st.tuples(st.just("drop"), keys),
            st.tuples(st.just("drop_tag"), st.sampled_from(["x", "xy", "z"])),
            st.tuples(st.just("clear"), st.just("")),
        ),
    ),
    max_size=40,
)


@given(asked=questions)
@example(
    asked=[
        (1, ("put", "aa", "", 5, 5, MOST, b"", "x")),
        (7, ("drop_tag", "x")),
        (1, ("put", "aa", "", 5, 5, MOST, b"")),
    ]
)
@settings(max_examples=times(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_python_lua_and_the_model_agree(asked: list[tuple[int, tuple[Argument, ...]]], client: redis.Redis) -> None:
    clock, model = Wall(), Model()
    memory = MemoryStore(clock)
    timed = TimedRedis(client, f"cache-rules:{next(names)}")
    for elapsed, question in asked:
        clock.micros += elapsed
        expected: Reply = [Stored.REVOKED, 0, 0]
        held = model.leases.get(str(question[1]), ("", 0))
        if question[0] != "put" or not question[2] or (held[0] == question[2] and held[1] > clock.micros):
            expected = model.ask(clock.micros, question)
        assert memory.run(SHELF, "shelf", question) == expected
        assert timed.run(SHELF, clock.micros, question) == expected


def test_a_tag_of_many_entries_is_dropped_in_several_steps(client: redis.Redis) -> None:
    clock = Wall()
    memory, timed = MemoryStore(clock), TimedRedis(client, f"cache-rules:{next(names)}")
    for number in range(1_003):
        clock.micros += 1
        put: tuple[Argument, ...] = ("put", f"{number:032x}", "", 10**6, 10**6, 10**9, b"", "all")
        assert memory.run(SHELF, "shelf", put) == timed.run(SHELF, clock.micros, put)
    for expected in ([1], [0], [0]):
        assert memory.run(SHELF, "shelf", ("drop_tag", "all")) == expected
        assert timed.run(SHELF, clock.micros, ("drop_tag", "all")) == expected


def test_keys_end_with_what_they_hold(redis_url: str) -> None:
    with redis_store(redis_url) as store, redis.Redis.from_url(redis_url) as plain:
        store.run(SHELF, "aurora:cache:1", ("put", "aa", "", 10**6, 50_000_000, MOST, b"v", "x"))
        store.run(SHELF, "aurora:cache:1", ("put", "bb", "", 10**6, 2_000_000, MOST, b"v", "x"))
        store.run(SHELF, "aurora:cache:1", ("take", "cc", "token", 9_000_000, int(Claim.IF_DUE)))
        left = {key.decode().rpartition("}")[2]: plain.pttl(key) for key in plain.scan_iter()}
    assert set(left) == set(SHELF.parts)
    for part, milliseconds in left.items():
        longest = 9_000 if part in {":holders", ":leases"} else 50_000
        assert longest - 2_000 < milliseconds <= longest + 1
