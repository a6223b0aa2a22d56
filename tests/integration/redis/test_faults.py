"""Whatever is the matter with a real Redis: one error, soon, and shared state again by itself."""

import asyncio
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.integrations.redis.links import LinkOptions
from collectors_dagster.patterns.guarded_store import GuardedStore, GuardPolicy
from collectors_dagster.patterns.shared_state import Reply, SharedStore, Step
from tests.support.listeners import Listener, listening
from tests.support.postgres import free_port
from tests.support.redis import RedisProcess, answers, redis_process
from tests.support.redis_cluster import say
from tests.support.shared_stores import PATIENT, TALLY, TEST_SCRIPTS, redis_store
from tests.support.waiting import wait_until

Colour = Callable[[SharedStore, Step], Reply]
KEY = "aurora:test:a"
PLACE = "test:{aurora:test:a}"
SHORT = LinkOptions(connect_seconds=0.2, answer_seconds=0.2)
CROOKED = Step("crooked", TALLY.rule)
REPEATABLE = Step("tally", TALLY.rule, repeatable=True)


def in_thread(store: SharedStore, step: Step = TALLY) -> Reply:
    return store.run(step, KEY, (1, 60_000))


def in_loop(store: SharedStore, step: Step = TALLY) -> Reply:
    return asyncio.run(store.arun(step, KEY, (1, 60_000)))


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


def store_at(url: str, options: LinkOptions = PATIENT) -> RedisStore:
    return RedisStore(parse_address(url), prefix="test:", options=options, scripts=(TEST_SCRIPTS,))


def guarded(store: SharedStore) -> GuardedStore:
    """Return a guard with short pauses, so that a return is soon noticed."""
    policy = GuardPolicy(first_pause_seconds=0.05, longest_pause_seconds=0.2, probe_seconds=5.0)
    return GuardedStore(store, clock=SystemClock(), random=lambda: 0.5, policy=policy)


def fault(count: Colour, store: SharedStore, step: Step = TALLY) -> SharedStateUnavailableError:
    with pytest.raises(SharedStateUnavailableError) as caught:
        count(store, step)
    return caught.value


def works(store: SharedStore) -> bool:
    try:
        return bool(in_thread(store))
    except SharedStateUnavailableError:
        return False


def test_closed_port_is_told_at_once_and_tried_once(count: Colour) -> None:
    store = store_at(f"redis://127.0.0.1:{free_port()}")
    guard = GuardedStore(store, clock=ManualClock(), random=lambda: 0.0)
    assert [fault(count, guard).kind for _ in range(50)] == ["unreachable"] + ["paused"] * 49


def test_server_that_accepts_and_never_answers_is_connected_to_once(count: Colour, listener: Listener) -> None:
    guard = GuardedStore(store_at(listener.url, SHORT), clock=ManualClock(), random=lambda: 0.0)
    assert [fault(count, guard).kind for _ in range(50)] == ["timeout"] + ["paused"] * 49
    assert listener.connections == 1


def test_server_that_cuts_connections_is_sent_a_step_once(count: Colour, listener: Listener) -> None:
    listener.answer = b""
    assert fault(count, store_at(listener.url)).kind == "unreachable"
    assert listener.received.count(b"EVALSHA") == 1


def test_repeatable_step_is_sent_once_more_over_a_new_connection(count: Colour, listener: Listener) -> None:
    listener.answer = b""
    assert fault(count, store_at(listener.url), REPEATABLE).kind == "unreachable"
    assert (listener.received.count(b"EVALSHA"), listener.connections) == (2, 2)


def test_step_that_timed_out_is_not_sent_again_and_its_late_answer_not_taken_for_the_next(
    server: RedisProcess,
) -> None:
    with store_at(server.url, SHORT) as store:
        assert in_thread(store)[0] == 1
        server.pause()
        assert fault(in_thread, store).kind == "timeout"
        server.go_on()
        # The step that timed out lay in the server's buffer: it may be done now, but only once.
        wait_until(lambda: say(server.port, "GET", PLACE) == b"2", seconds=20)
        assert in_thread(store)[0] == 3


def test_paused_server_is_used_again_when_it_goes_on(server: RedisProcess) -> None:
    guard = guarded(store_at(server.url, SHORT))
    assert works(guard)
    server.pause()
    assert not works(guard)
    server.go_on()
    wait_until(lambda: works(guard), seconds=20)


def test_restarted_server_is_used_again() -> None:
    port = free_port()
    guard = guarded(store_at(f"redis://127.0.0.1:{port}", SHORT))
    for _ in range(2):
        with redis_process(port=port):
            wait_until(lambda: works(guard), seconds=20)
        wait_until(lambda: not works(guard), seconds=20)


def test_replica_is_no_place_for_state_until_it_is_promoted(server: RedisProcess, count: Colour) -> None:
    say(server.port, "CONFIG", "SET", "repl-diskless-sync-delay", "0")
    with redis_process("--replicaof", f"127.0.0.1 {server.port}") as replica:
        wait_until(lambda: b"master_link_status:up" in say(replica.port, "INFO", "replication"), seconds=20)
        store = store_at(replica.url)
        assert fault(count, store).kind == "read-only"
        guard = guarded(store)
        assert not works(guard)
        say(replica.port, "REPLICAOF", "NO", "ONE")
        wait_until(lambda: works(guard), seconds=20)


def test_server_that_loads_its_data_is_waited_for_elsewhere(tmp_path: Path) -> None:
    with redis_process(folder=str(tmp_path)) as filled:
        wait_until(lambda: answers(filled.port), seconds=20)
        with redis.Redis(port=filled.port) as client:
            client.mset({f"filler:{number}": "x" * 100 for number in range(2000)})
            client.save()
    slow = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    with redis_process(*slow, folder=str(tmp_path)) as loading:
        guard = guarded(store_at(loading.url))
        assert fault(in_thread, guard).kind == "loading"
        wait_until(lambda: works(guard), seconds=60)


@pytest.mark.parametrize(("setting", "kind"), [("maxmemory", "out of memory"), ("min-replicas-to-write", "refused")])
def test_server_that_takes_no_writes_degrades_all(server: RedisProcess, count: Colour, setting: str, kind: str) -> None:
    store = store_at(server.url)
    say(server.port, "CONFIG", "SET", setting, 1)
    error = fault(count, store)
    assert (error.kind, error.one_object) == (kind, False)
    say(server.port, "CONFIG", "SET", setting, 0)
    assert count(store, TALLY)[0] == 1


@pytest.mark.parametrize("found", [("LPUSH", PLACE, "x"), ("SET", PLACE, "no number")], ids=["type", "content"])
def test_wrong_data_at_a_key_concerns_that_key_only(redis_url: str, count: Colour, found: tuple[str, str, str]) -> None:
    store = store_at(redis_url)
    guard = GuardedStore(store, clock=ManualClock(), random=lambda: 0.0)
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command(*found)
    error = fault(count, guard)
    assert (error.kind, error.one_object) == ("wrong data", True)
    assert guard.run(TALLY, "aurora:test:other", (1, 60_000))[0] == 1
    assert guard.degraded() == ()


def test_crooked_reply_is_refused_and_concerns_that_key_only(redis_url: str, count: Colour) -> None:
    error = fault(count, store_at(redis_url), CROOKED)
    assert (error.kind, error.one_object) == ("malformed reply", True)


@pytest.mark.parametrize("answer", [b"$5\r\nhello\r\n", b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"*1\r\n*0\r\n", b"?\r\n"])
def test_whatever_a_server_answers_there_is_one_error(count: Colour, listener: Listener, answer: bytes) -> None:
    listener.answer = answer
    assert fault(count, store_at(listener.url)).kind in {"malformed reply", "driver"}


def test_flushed_scripts_are_loaded_once_more(server: RedisProcess, count: Colour) -> None:
    store = store_at(server.url)
    counts = []
    for _ in range(3):
        counts += [count(store, TALLY)[0], count(store, TALLY)[0]]
        say(server.port, "SCRIPT", "FLUSH")
    assert counts == [1, 2, 3, 4, 5, 6]
    assert b"cmdstat_eval:calls=3," in say(server.port, "INFO", "commandstats")


@pytest.mark.parametrize("user", ["", "guest"])
def test_refused_password_is_told_without_it(count: Colour, user: str) -> None:
    with redis_process("--requirepass", "right") as server:
        error = fault(count, store_at(f"redis://{user}:hunter2@127.0.0.1:{server.port}/0"))
        assert error.kind == "authentication"
        for text in traceback.format_exception(error):
            assert "hunter2" not in text
            assert str(server.port) not in text
        assert fault(count, store_at(server.url)).kind == "authentication"
        assert count(store_at(f"redis://:right@127.0.0.1:{server.port}"), TALLY)[0] == 1


def test_user_with_few_rights_is_enough_and_one_with_fewer_is_told(server: RedisProcess, count: Colour) -> None:
    rights = ["~test:*", "+evalsha", "+eval", "+incrby", "+pexpire", "+time"]
    say(server.port, "ACL", "SETUSER", "worker", "on", ">pw", *rights)
    say(server.port, "ACL", "SETUSER", "guest", "on", ">pw", "+ping")
    assert count(store_at(f"redis://worker:pw@127.0.0.1:{server.port}"), TALLY)[0] == 1
    assert fault(count, store_at(f"redis://guest:pw@127.0.0.1:{server.port}")).kind == "permission"


def test_deployments_with_their_own_prefix_do_not_meet(redis_url: str) -> None:
    with redis_store(redis_url) as one, redis_store(redis_url) as other:
        assert [in_thread(each)[0] for each in (one, other, one)] == [1, 1, 2]


@pytest.mark.parametrize("key", ["", "a{b", "a}b"])
def test_key_that_could_leave_its_place_is_refused(redis_url: str, key: str) -> None:
    with redis_store(redis_url) as store, pytest.raises(ValueError, match="must not be empty or hold braces"):
        store.run(TALLY, key, (1, 1))


def test_threads_share_one_store(redis_url: str) -> None:
    with redis_store(redis_url) as store:
        threads = [
            threading.Thread(target=lambda: [in_thread(store) for _ in range(25)], name=f"counter-{number}")
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert in_thread(store)[0] == 201


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_child_speaks_on_connections_of_its_own(redis_url: str) -> None:
    with redis_store(redis_url) as store:
        in_thread(store)
        child = os.fork()
        if child == 0:
            os._exit(0 if [in_thread(store) for _ in range(50)] else 1)
        for _ in range(50):
            in_thread(store)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert in_thread(store)[0] == 102


def test_connections_of_a_loop_end_with_it(server: RedisProcess) -> None:
    with store_at(server.url) as store:
        for _ in range(5):
            in_loop(store)
        assert store._loops == {}
    wait_until(lambda: say(server.port, "CLIENT", "LIST").count(b"\n") == 1, seconds=20, what="only our own client")


def test_cancelled_coroutine_leaves_a_connection_that_answers_the_right_question(server: RedisProcess) -> None:
    async def cancelled() -> Reply:
        store = store_at(server.url)
        await store.arun(TALLY, KEY, (1, 60_000))
        for moment in range(40):
            task = asyncio.ensure_future(store.arun(TALLY, f"aurora:test:{moment}", (1000, 60_000)))
            for _ in range(moment % 8):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return await store.arun(TALLY, KEY, (1, 60_000))

    assert asyncio.run(cancelled())[0] == 2
