"""Both halves of the rules of bulkheads and leadership say the same, and keep what they promise.

As for rate limits, the scripts run in Redis but read a clock moved by hand.
"""

from itertools import count

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors_dagster.patterns.bulkhead_rules import ENTER, LEAVE
from collectors_dagster.patterns.bulkhead_rules import RENEW as RENEW_PERMIT
from collectors_dagster.patterns.leadership_rules import ACQUIRE, DEPART, RENEW, RESIGN, TURN
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.shared_state import Argument, Step
from tests.support.effort import times
from tests.support.timed_redis import TimedRedis, Wall

SETTINGS = settings(max_examples=times(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LEASE_US = 1_000_000
GUARANTEED = ("acme", 2, "beta", 1)
names = count()


@pytest.fixture(scope="module")
def client(redis_server: str) -> redis.Redis:
    return redis.Redis.from_url(redis_server)


class Both:
    """Runs each step in memory and in Redis and compares."""

    def __init__(self, client: redis.Redis) -> None:
        self.clock = Wall()
        self._memory = MemoryStore(self.clock)
        self._timed = TimedRedis(client, f"leases:{next(names)}")

    def run(self, step: Step, *arguments: Argument) -> list[int]:
        reply = self._memory.run(step, "k", arguments)
        assert reply == self._timed.run(step, self.clock.micros, arguments)
        return [item for item in reply if isinstance(item, int)]


holders = st.builds(
    "{}|p{}|{}".format, st.sampled_from(["acme", "beta", "", "c-3"]), st.integers(1, 2), st.integers(1, 4)
)
moves = st.lists(
    st.tuples(st.sampled_from(["enter", "enter", "enter", "renew", "leave"]), holders, st.integers(0, 400_000)),
    max_size=40,
)


@given(moves=moves)
@SETTINGS
def test_permits_follow_the_reference(moves: list[tuple[str, str, int]], client: redis.Redis) -> None:
    both = Both(client)
    model: dict[str, int] = {}
    for move, holder, elapsed in moves:
        both.clock.micros += elapsed
        now = both.clock.micros
        model = {name: end for name, end in model.items() if end > now}
        if move == "enter":
            granted, out, _ = both.run(ENTER, holder, LEASE_US, 5, *GUARANTEED)
            assert granted == (holder in model or _free(model, holder.split("|")[0]))
            if granted:
                model[holder] = now + LEASE_US
            assert out == len(model) <= 5
        elif move == "renew":
            assert both.run(RENEW_PERMIT, LEASE_US, holder) == [int(holder in model)]
            if holder in model:
                model[holder] = now + LEASE_US
        else:
            model.pop(holder, None)
            assert both.run(LEAVE, holder) == [len(model)]


def _free(model: dict[str, int], compartment: str) -> bool:
    """Seat everybody: own seats first, the rest on the two common ones."""
    seats = {"acme": 2, "beta": 1}
    common = 2
    for name in [*(each.split("|")[0] for each in model), compartment]:
        if seats.get(name, 0) > 0:
            seats[name] -= 1
        elif common > 0:
            common -= 1
        else:
            return False
    return True


turns = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "acquire", "renew", "resign"]), st.sampled_from("abc"), st.integers(0, 600_000)
    ),
    max_size=40,
)


@given(turns=turns)
@SETTINGS
def test_there_is_one_leader_and_tokens_only_grow(turns: list[tuple[str, str, int]], client: redis.Redis) -> None:
    both = Both(client)
    tokens: dict[str, int] = {}
    leader, end, greatest = "", 0, 0
    for move, who, elapsed in turns:
        both.clock.micros += elapsed
        now = both.clock.micros
        leader = leader if end > now else ""
        if move == "acquire":
            token, _ = both.run(ACQUIRE, who, LEASE_US)
            assert bool(token) == (leader in {"", who})
            if token:
                assert token == greatest if leader else token > greatest
                leader, end, greatest, tokens[who] = who, now + LEASE_US, token, token
        elif move == "renew":
            assert both.run(RENEW, who, tokens.get(who, 0), LEASE_US) == [int(leader == who)]
            end = now + LEASE_US if leader == who else end
        else:
            assert both.run(RESIGN, who, tokens.get(who, 0)) == [int(leader == who)]
            leader = "" if leader == who else leader


plays = st.lists(
    st.tuples(
        st.sampled_from(["turn", "turn", "turn", "depart"]),
        st.sampled_from("abc"),
        st.sets(st.sampled_from(["t1", "t2", "t3"])),
        st.sets(st.sampled_from(["t1", "t2", "t3"])),
        st.integers(0, 700_000),
    ),
    max_size=30,
)


@given(plays=plays)
@SETTINGS
def test_a_share_has_one_owner_and_its_tokens_only_grow(
    plays: list[tuple[str, str, set[str], set[str], int]], client: redis.Redis
) -> None:
    both = Both(client)
    owners: dict[str, tuple[str, int]] = {}
    greatest = 0
    for play, who, left, claimed, elapsed in plays:
        both.clock.micros += elapsed
        now = both.clock.micros
        owners = {share: (owner, end) for share, (owner, end) in owners.items() if end > now}
        for share in left:
            if owners.get(share, ("",))[0] == who:
                del owners[share]
        if play == "depart":
            both.run(DEPART, who, *sorted(left))
            continue
        wanted = sorted(claimed - left)
        alive, *tokens = both.run(TURN, who, LEASE_US, LEASE_US, len(left), *sorted(left), *wanted)
        assert 1 <= alive <= 3
        for share, token in zip(wanted, tokens, strict=True):
            before = owners.get(share, (who,))[0]
            assert bool(token) == (before == who)
            if token and share not in owners:
                assert token > greatest
                greatest = token
            if token:
                owners[share] = who, now + LEASE_US
