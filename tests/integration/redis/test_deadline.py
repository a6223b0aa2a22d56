"""Whoever has a deadline does not wait for Redis beyond it; and what happened is reported all the same.

The time-outs here are an hour: what does not end with the deadline does not end at all.
"""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.errors import ServiceFailedError, SharedStateUnavailableError
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.integrations.redis.links import LinkOptions
from collectors_dagster.patterns.breaker_policy import BreakerPolicy, Phase
from collectors_dagster.patterns.circuit_breaker import CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.deadline import deadline
from collectors_dagster.patterns.guarded_store import GuardedStore
from collectors_dagster.patterns.shared_state import OUT_OF_TIME, Reply, SharedStore
from tests.support.listeners import Listener, listening
from tests.support.redis import RedisProcess, answers, redis_process
from tests.support.redis_cluster import say
from tests.support.shared_stores import TALLY, TEST_SCRIPTS
from tests.support.waiting import wait_until

Colour = Callable[[SharedStore], Reply]
KEY = "aurora:test:a"
PLACE = "test:{aurora:test:a}"
HOUR = LinkOptions(connect_seconds=3600.0, answer_seconds=3600.0)
SOON = 0.05


def in_thread(store: SharedStore) -> Reply:
    return store.run(TALLY, KEY, (1, 60_000))


def in_loop(store: SharedStore) -> Reply:
    return asyncio.run(store.arun(TALLY, KEY, (1, 60_000)))


@pytest.fixture(params=[in_thread, in_loop], ids=["sync", "async"])
def count(request: pytest.FixtureRequest) -> Colour:
    colour: Colour = request.param
    return colour


@pytest.fixture
def server() -> Iterator[RedisProcess]:
    with redis_process() as started:
        wait_until(lambda: answers(started.port), seconds=20)
        yield started


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as started:
        yield started


def store_at(url: str, options: LinkOptions = HOUR) -> RedisStore:
    return RedisStore(parse_address(url), prefix="test:", options=options, scripts=(TEST_SCRIPTS,))


def fault(count: Colour, store: SharedStore) -> str:
    with pytest.raises(SharedStateUnavailableError) as caught:
        count(store)
    return caught.value.kind


@pytest.mark.parametrize("scheme", ["redis://127.0.0.1:{}", "redis+cluster://127.0.0.1:{}"])
def test_a_hung_server_is_waited_for_no_longer_than_the_deadline_lasts(
    count: Colour, listener: Listener, scheme: str
) -> None:
    with deadline(SOON):
        assert fault(count, store_at(scheme.format(listener.server.getsockname()[1]))) == OUT_OF_TIME


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
def test_an_address_that_takes_no_connection_is_waited_for_no_longer(count: Colour) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))  # nobody accepts here
        while _connects(stack.enter_context(socket.socket()), full.getsockname()):
            pass
        with deadline(SOON):
            assert fault(count, store_at(f"redis://127.0.0.1:{full.getsockname()[1]}")) == OUT_OF_TIME


def _connects(client: socket.socket, address: tuple[str, int]) -> bool:
    """Begin to connect; say whether that was done a moment later."""
    client.settimeout(0.05)
    try:
        client.connect(address)
    except TimeoutError:
        return False
    return True


def test_when_the_time_is_over_nothing_is_asked(count: Colour, listener: Listener) -> None:
    clock = ManualClock()
    with deadline(1.0, clock=clock):
        clock.move(1.0)
        assert fault(count, store_at(listener.url)) == OUT_OF_TIME
    assert listener.connections == 0


def test_an_open_connection_is_waited_for_no_longer_and_its_late_answer_is_not_taken_for_the_next(
    server: RedisProcess,
) -> None:
    with store_at(server.url) as store:
        assert in_thread(store)[0] == 1
        server.pause()
        with deadline(SOON):
            assert fault(in_thread, store) == OUT_OF_TIME
        server.go_on()
        wait_until(lambda: say(server.port, "GET", PLACE) == b"2", seconds=20)
        assert in_thread(store)[0] == 3


def test_the_same_in_a_loop(server: RedisProcess) -> None:
    async def counted() -> Reply:
        store = store_at(server.url)
        await store.arun(TALLY, KEY, (1, 60_000))
        server.pause()
        with deadline(SOON), pytest.raises(SharedStateUnavailableError):
            await store.arun(TALLY, KEY, (1, 60_000))
        server.go_on()
        wait_until(lambda: say(server.port, "GET", PLACE) == b"2", seconds=20)
        return await store.arun(TALLY, KEY, (1, 60_000))

    assert asyncio.run(counted())[0] == 3


def test_a_caller_without_time_says_nothing_about_the_store_but_one_that_waited_does(
    count: Colour, listener: Listener
) -> None:
    guard = GuardedStore(store_at(listener.url), clock=ManualClock(), random=lambda: 0.0)
    with deadline(SOON):
        assert fault(count, guard) == OUT_OF_TIME
    assert guard.degraded() == ()
    patient = store_at(listener.url, LinkOptions(connect_seconds=2 * SOON, answer_seconds=2 * SOON))
    guard = GuardedStore(patient, clock=ManualClock(), random=lambda: 0.0)
    with deadline(1.5 * SOON):
        assert fault(count, guard) == "timeout"
        assert fault(count, guard) == "paused"


def test_a_call_that_ran_out_of_time_is_a_failure_that_all_learn_of(redis_url: str) -> None:
    clock, system = ManualClock(), SystemClock()

    def circuit() -> CircuitBreaker:
        store = RedisStore(parse_address(redis_url), options=HOUR)
        return CircuitBreaker("late", BreakerPolicy(1, 30.0), classify=failed_if_transient, clock=system, store=store)

    breaker = circuit()
    with deadline(5.0, clock=clock):
        ticket = breaker.begin()
        clock.move(6.0)
        breaker.failed(ticket, ServiceFailedError("slow", service="hook", operation="post"))
    assert circuit().report().phase is Phase.OPEN
