"""What befalls a real cluster of six nodes, and what is still shared meanwhile."""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from collectors_dagster.clock import SystemClock
from collectors_dagster.config.redis_address import parse_address
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.integrations.redis import RedisStore
from collectors_dagster.integrations.redis.links import LinkOptions
from collectors_dagster.integrations.redis.slots import slot_of
from collectors_dagster.patterns.guarded_store import GuardedStore, GuardPolicy
from collectors_dagster.patterns.shared_state import Reply, SharedStore
from tests.support.redis_cluster import RedisCluster, say
from tests.support.shared_stores import PATIENT, TALLY, TEST_SCRIPTS
from tests.support.waiting import wait_until

Colour = Callable[[SharedStore, str], Reply]
SHORT = LinkOptions(connect_seconds=0.2, answer_seconds=0.2)
BACK_SECONDS = 60.0
"""For a busy machine; the benchmark measures."""


def in_thread(store: SharedStore, key: str) -> Reply:
    return store.run(TALLY, key, (1, 60_000))


def in_loop(store: SharedStore, key: str) -> Reply:
    return asyncio.run(store.arun(TALLY, key, (1, 60_000)))


@pytest.fixture(params=[in_thread, in_loop], ids=["sync", "async"])
def count(request: pytest.FixtureRequest) -> Colour:
    colour: Colour = request.param
    return colour


@pytest.fixture
def keys(redis_cluster: RedisCluster) -> dict[int, str]:
    """Return a key of each master, by its port."""
    found: dict[int, str] = {}
    for number in range(1000):
        found.setdefault(redis_cluster.master_of(slot_of(f"aurora:test:{number}")), f"aurora:test:{number}")
        if len(found) == 3:
            break
    return found


@pytest.fixture
def store(redis_cluster: RedisCluster) -> Iterator[RedisStore]:
    with store_on(redis_cluster, PATIENT) as opened:
        yield opened


def store_on(cluster: RedisCluster, options: LinkOptions) -> RedisStore:
    return RedisStore(parse_address(cluster.url), prefix="test:", options=options, scripts=(TEST_SCRIPTS,))


def guarded(store: RedisStore) -> GuardedStore:
    policy = GuardPolicy(first_pause_seconds=0.05, longest_pause_seconds=0.2, probe_seconds=5.0)
    return GuardedStore(store, clock=SystemClock(), random=lambda: 0.5, policy=policy, domain_of=store.fault_domain)


def works(store: SharedStore, key: str) -> bool:
    try:
        return bool(in_thread(store, key))
    except SharedStateUnavailableError:
        return False


def kind(count: Colour, store: SharedStore, key: str) -> tuple[str, bool]:
    with pytest.raises(SharedStateUnavailableError) as caught:
        count(store, key)
    return caught.value.kind, caught.value.one_object


def test_keys_lie_on_all_masters_and_one_map_is_enough(store: RedisStore, keys: dict[int, str], count: Colour) -> None:
    for key in keys.values():
        assert [count(store, key)[0] for _ in range(3)] == [1, 2, 3]
    asked = [b"cmdstat_cluster|slots" in say(port, "INFO", "commandstats") for port in keys]
    assert any(asked)
    assert len({store.fault_domain(key) for key in keys.values()}) == 3


def test_first_steps_of_a_process_may_come_all_at_once(redis_cluster: RedisCluster, keys: dict[int, str]) -> None:
    async def at_once(store: RedisStore) -> list[Reply]:
        return await asyncio.gather(*(store.arun(TALLY, key, (1, 60_000)) for key in keys.values() for _ in range(10)))

    with store_on(redis_cluster, PATIENT) as store:
        assert sorted(reply[0] or 0 for reply in asyncio.run(at_once(store))) == sorted([*range(1, 11)] * 3)
    with store_on(redis_cluster, PATIENT) as store, ThreadPoolExecutor(8) as pool:
        counts = pool.map(lambda key: in_thread(store, key)[0], [*keys.values()] * 8)
        assert sorted(count or 0 for count in counts) == sorted([*range(11, 19)] * 3)


def test_killed_master_takes_its_own_keys_only_and_they_come_back(
    redis_cluster: RedisCluster, store: RedisStore, keys: dict[int, str]
) -> None:
    guard = guarded(store)
    lost, *healthy = keys
    assert all(works(guard, key) for key in keys.values())
    redis_cluster.kill(lost)
    assert not works(guard, keys[lost])
    assert all(works(guard, keys[port]) for port in healthy)
    wait_until(lambda: works(guard, keys[lost]), seconds=BACK_SECONDS)
    wait_until(lambda: lost not in redis_cluster.masters(), seconds=BACK_SECONDS)  # each node hears of it in time
    assert all(works(guard, keys[port]) for port in healthy)
    assert guard.run(TALLY, keys[healthy[0]], (1, 60_000))[0] == 4


def test_new_process_finds_its_way_past_a_dead_node_that_it_was_told_of(
    redis_cluster: RedisCluster, keys: dict[int, str], count: Colour
) -> None:
    lost = redis_cluster.ports[0]
    redis_cluster.kill(lost)
    guard = guarded(store_on(redis_cluster, PATIENT))
    for port in set(keys) - {lost}:
        assert count(guard, keys[port])[0] == 1


def test_master_that_hangs_is_replaced_and_followed_when_it_wakes_as_a_replica(
    redis_cluster: RedisCluster, keys: dict[int, str]
) -> None:
    with store_on(redis_cluster, SHORT) as store:
        guard = guarded(store)
        hung = next(iter(keys))
        wait_until(lambda: all(works(guard, key) for key in keys.values()), seconds=BACK_SECONDS)
        redis_cluster.pause(hung)
        assert not works(guard, keys[hung])
        wait_until(lambda: works(guard, keys[hung]), seconds=BACK_SECONDS)
        redis_cluster.go_on(hung)
        redis_cluster.heal()
        wait_until(lambda: all(works(guard, key) for key in keys.values()), seconds=BACK_SECONDS)
        wait_until(lambda: hung not in redis_cluster.masters(), seconds=BACK_SECONDS)


def test_replica_that_is_cut_off_changes_nothing(
    redis_cluster: RedisCluster, store: RedisStore, keys: dict[int, str], count: Colour
) -> None:
    replicas = [port for port in redis_cluster.ports if port not in keys]
    redis_cluster.pause(replicas[0])
    assert [count(store, key)[0] for key in keys.values() for _ in range(2)] == [1, 2] * 3
    redis_cluster.go_on(replicas[0])


def test_cluster_that_hangs_as_a_whole_degrades_after_few_attempts_and_returns(
    redis_cluster: RedisCluster, keys: dict[int, str]
) -> None:
    with store_on(redis_cluster, SHORT) as store:
        guard = guarded(store)
        wait_until(lambda: all(works(guard, key) for key in keys.values()), seconds=BACK_SECONDS)
        for port in redis_cluster.ports:
            redis_cluster.pause(port)
        assert not any(works(guard, key) for key in keys.values())
        assert len(guard.degraded()) == 3
        for port in redis_cluster.ports:
            redis_cluster.go_on(port)
        wait_until(lambda: all(works(guard, key) for key in keys.values()), seconds=BACK_SECONDS)


def test_moved_slot_is_followed_without_a_fault(
    redis_cluster: RedisCluster, store: RedisStore, keys: dict[int, str], count: Colour
) -> None:
    (source, key), (target, _), *_ = keys.items()
    slot, identity = slot_of(key), say(target, "CLUSTER", "MYID")
    home = say(source, "CLUSTER", "MYID")
    assert count(store, key)[0] == 1
    say(source, "DEL", f"test:{{{key}}}")
    hand_over(slot, target, source, identity)
    try:
        assert [count(store, key)[0] for _ in range(3)] == [1, 2, 3]
        assert store.fault_domain(key) == f"127.0.0.1:{target}"
    finally:
        say(target, "DEL", f"test:{{{key}}}")
        hand_over(slot, source, target, home)


def test_slot_on_its_way_is_asked_for_where_it_goes(
    redis_cluster: RedisCluster, store: RedisStore, keys: dict[int, str], count: Colour
) -> None:
    (source, key), (target, _), *_ = keys.items()
    slot = slot_of(key)
    assert works(store, keys[target])
    say(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", say(source, "CLUSTER", "MYID"))
    say(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", say(target, "CLUSTER", "MYID"))
    try:
        assert [count(store, key)[0] for _ in range(3)] == [1, 2, 3]
        assert store.fault_domain(key) == f"127.0.0.1:{source}"
    finally:
        for port in (source, target):
            say(port, "CLUSTER", "SETSLOT", slot, "STABLE")


def test_nodes_that_send_us_to_each_other_concern_one_key_only(
    redis_cluster: RedisCluster, store: RedisStore, keys: dict[int, str], count: Colour
) -> None:
    (source, key), (target, other), *_ = keys.items()
    slot, home = slot_of(key), say(source, "CLUSTER", "MYID")
    assert works(store, other)
    say(source, "CLUSTER", "SETSLOT", slot, "NODE", say(target, "CLUSTER", "MYID"))
    try:
        assert kind(count, guarded(store), key) == ("moving", True)
        assert count(store, other)[0] == 2
    finally:
        hand_over(slot, source, target, home)


def test_slot_that_nobody_serves_is_told_and_comes_back(
    redis_cluster: RedisCluster, store: RedisStore, keys: dict[int, str], count: Colour
) -> None:
    (port, key), *_ = keys.items()
    slot = slot_of(key)
    assert works(store, key)
    for each in redis_cluster.ports:
        if b"role:master" in say(each, "INFO", "replication"):
            say(each, "CLUSTER", "DELSLOTS", slot)
    try:
        assert kind(count, store, key) == ("cluster down", False)
    finally:
        say(port, "CLUSTER", "ADDSLOTS", slot)
    wait_until(lambda: works(store, key), seconds=BACK_SECONDS)


def test_server_that_is_no_cluster_degrades_all(redis_url: str, count: Colour) -> None:
    url = redis_url.replace("redis:", "redis+cluster:").removesuffix("/0")
    store = RedisStore(parse_address(url), options=PATIENT, scripts=(TEST_SCRIPTS,))
    assert kind(count, store, "aurora:test:a") == ("cluster down", False)


def test_cluster_that_is_addressed_as_one_server_is_told(
    redis_cluster: RedisCluster, keys: dict[int, str], count: Colour
) -> None:
    (port, _), (_, elsewhere), *_ = keys.items()
    store = RedisStore(parse_address(f"redis://127.0.0.1:{port}"), options=PATIENT, scripts=(TEST_SCRIPTS,))
    assert kind(count, store, elsewhere) == ("moving", True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_child_speaks_on_connections_of_its_own(store: RedisStore, keys: dict[int, str]) -> None:
    key = next(iter(keys.values()))
    in_thread(store, key)
    child = os.fork()
    if child == 0:
        os._exit(0 if [in_thread(store, key) for _ in range(20)] else 1)
    for _ in range(20):
        in_thread(store, key)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert in_thread(store, key)[0] == 42


def hand_over(slot: int, to: int, source: int, identity: bytes) -> None:
    """Give an empty slot to another master, the receiver first as the specification wants it."""
    say(to, "CLUSTER", "SETSLOT", slot, "NODE", identity)
    say(source, "CLUSTER", "SETSLOT", slot, "NODE", identity)
    wait_until(lambda: places_agree(to, source, slot), seconds=20)


def places_agree(one: int, other: int, slot: int) -> bool:
    def holder(port: int) -> object:
        return next(master[1] for first, last, master, *_ in say(port, "CLUSTER", "SLOTS") if first <= slot <= last)

    return bool(holder(one) == holder(other) == one)
