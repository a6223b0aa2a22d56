"""Many steps in few round trips: each as if it were alone, whatever becomes of the connection."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.patterns.deadline import deadline
from collectors_dagster.patterns.shared_state import Call, ManyAtOnce, Reply, Step
from tests.support.cut_connection import cutting_after
from tests.support.shared_stores import PATIENT, TALLY, TEST_SCRIPTS, SharedPlace, redis_store

REPEATABLE = Step("tally", TALLY.rule, repeatable=True)
MANY = 450


def tally(number: int, step: Step = TALLY, by: int = 1) -> Call:
    return Call(step, f"aurora:test:{number}", (by, 60_000))


def counted(replies: list[Reply | SharedStateUnavailableError]) -> list[object]:
    """Return the counts, or the kind of error where there is none."""
    return [reply.kind if isinstance(reply, SharedStateUnavailableError) else reply[0] for reply in replies]


def test_every_call_has_its_own_reply_in_its_place(shared_place: SharedPlace) -> None:
    store = shared_place.store
    assert counted(store.run_many([tally(number, by=number) for number in range(MANY)])) == list(range(MANY))
    assert counted(store.run_many([tally(7), tally(3), tally(7)])) == [8, 4, 9]
    assert store.run_many([]) == []
    assert store.run(TALLY, "aurora:test:3", (1, 60_000))[0] == 5


def test_many_calls_are_few_round_trips(redis_url: str) -> None:
    with cutting_after(redis_url, None) as proxy, store_at(proxy.url) as store:
        store.run_many([tally(0)])
        before = proxy.requests
        store.run_many([tally(number) for number in range(MANY)])
        assert proxy.requests - before <= MANY // 20


def test_a_server_that_forgot_the_script_gets_it_again(redis_url: str) -> None:
    with redis_store(redis_url) as store, redis.Redis.from_url(redis_url) as client:
        assert counted(store.run_many([tally(1), tally(2)])) == [1, 1]
        client.script_flush()
        assert counted(store.run_many([tally(1), tally(2), tally(1)])) == [2, 2, 3]


def test_something_else_at_one_key_costs_the_others_nothing(redis_url: str) -> None:
    with store_at(redis_url) as store, redis.Redis.from_url(redis_url) as client:
        client.lpush("test:{aurora:test:1}", "x")
        first, second, third = store.run_many([tally(0), tally(1), tally(2)])
        assert counted([first, third]) == [1, 1]
        assert isinstance(second, SharedStateUnavailableError)
        assert second.one_object


@pytest.mark.parametrize("whole", [0, 1, 10])
@pytest.mark.parametrize("step", [TALLY, REPEATABLE], ids=["once", "repeatable"])
def test_after_a_cut_in_the_middle_nothing_is_done_twice_that_must_not_be(
    redis_url: str, step: Step, whole: int
) -> None:
    """The connection is cut after some answers: the server has done all, and nobody knows how much of it."""
    with redis_store(redis_url) as loading:  # its scripts are loaded: nothing but these steps is sent
        loading.run_many([tally(0, step)])
    with cutting_after(redis_url, whole) as proxy, store_at(proxy.url) as store:
        replies = store.run_many([tally(number, step) for number in range(20)])
    with redis.Redis.from_url(redis_url) as client:
        done = [int(client.get(f"test:{{aurora:test:{number}}}") or b"0") for number in range(20)]
    if step.repeatable:
        assert all(isinstance(reply, list) for reply in replies)
        assert set(done) <= {1, 2}
    else:
        assert set(counted(replies)) == {"unreachable"}
        assert set(done) <= {0, 1}


def test_nobody_waits_past_the_deadline(redis_url: str) -> None:
    with store_at(redis_url) as store, deadline(0.000001), pytest.raises(SharedStateUnavailableError):
        store.run_many([tally(0)])


@contextmanager
def store_at(url: str) -> Iterator[ManyAtOnce]:
    with RedisStore(parse_address(url), prefix="test:", options=PATIENT, scripts=(TEST_SCRIPTS,)) as store:
        yield store
