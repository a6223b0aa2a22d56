"""The agent's deliveries: each sample in the table exactly once, whatever happens on the way."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from collectors_dagster.errors import CollectorsError, StorageError
from collectors_dagster.integrations.timescale import Delivered, DeliveryResult, DeliveryStore, Store
from collectors_dagster.samples import Sample
from tests.support.effort import times
from tests.support.postgres import PostgresServer
from tests.support.store_data import AURORA, BOREALIS, LOAD1, NOON, READS, after, batch, checksum, forecast_point
from tests.support.waiting import wait_until

pytestmark = pytest.mark.every_edition


@pytest.fixture
def agent(delivery_store: DeliveryStore) -> DeliveryStore:
    """Return the agent's store with two tenants."""
    delivery_store.tenants.sync([AURORA, BOREALIS])
    return delivery_store


def stored(database: SecretStr) -> list[tuple[datetime, float]]:
    """Return all samples by time."""
    with psycopg.connect(database.get_secret_value()) as connection:
        return connection.execute("select ts, value from core.sample order by ts, value").fetchall()


def test_a_batch_is_stored_and_acknowledged(agent: DeliveryStore, database: SecretStr) -> None:
    assert agent.delivered("agent-1", "epoch-1", "aurora") is None
    assert agent.deliver(batch(1, 5)) == DeliveryResult(applied=True, acked_seq=5, rows=5)
    assert agent.delivered("agent-1", "epoch-1", "aurora") == Delivered(5)
    assert stored(database) == [(after(10 * n), n) for n in range(1, 6)]


def test_the_same_batch_twice_is_ignored_wholly(agent: DeliveryStore, database: SecretStr) -> None:
    agent.deliver(batch(1, 5))
    once = checksum(database)
    assert agent.deliver(batch(1, 5)) == DeliveryResult(applied=False, acked_seq=5)
    assert checksum(database) == once


def test_an_old_batch_after_a_newer_one_is_ignored(agent: DeliveryStore, database: SecretStr) -> None:
    agent.deliver(batch(1, 5))
    agent.deliver(batch(6, 9))
    once = checksum(database)
    assert agent.deliver(batch(1, 5)) == DeliveryResult(applied=False, acked_seq=9)
    assert checksum(database) == once


def test_an_overlapping_batch_adds_only_what_is_new(agent: DeliveryStore, database: SecretStr) -> None:
    agent.deliver(batch(1, 5))
    assert agent.deliver(batch(4, 8)) == DeliveryResult(applied=True, acked_seq=8, rows=3, duplicates=2)
    assert [value for _, value in stored(database)] == list(range(1, 9))


def test_a_batch_ahead_of_a_backlog_is_remembered_until_the_backlog_reaches_it(
    agent: DeliveryStore, database: SecretStr
) -> None:
    agent.deliver(batch(1, 5))
    ahead = replace(batch(11, 15), settled_seq=5)
    assert agent.deliver(ahead) == DeliveryResult(applied=True, acked_seq=5, rows=5)
    assert agent.delivered("agent-1", "epoch-1", "aurora") == Delivered(5, ((11, 15),))
    assert agent.deliver(ahead) == DeliveryResult(applied=False, acked_seq=5)
    assert agent.deliver(replace(batch(6, 8), settled_seq=5)).acked_seq == 8
    assert agent.deliver(replace(batch(9, 10), settled_seq=8)).acked_seq == 15
    assert agent.delivered("agent-1", "epoch-1", "aurora") == Delivered(15)
    assert [value for _, value in stored(database)] == list(range(1, 16))


@settings(max_examples=times(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(8)), again=st.lists(st.integers(0, 7), max_size=4))
def test_batches_in_any_order_are_stored_once_and_leave_no_hole(
    order: list[int], again: list[int], agent: DeliveryStore, database: SecretStr
) -> None:
    epoch = uuid4().hex
    series = replace(LOAD1, host=epoch)
    before = len(stored(database))
    for number in [*order, *again]:
        piece = replace(batch(3 * number + 1, 3 * number + 3, series=series), epoch=epoch, settled_seq=0)
        agent.deliver(piece)
    assert agent.delivered("agent-1", epoch, "aurora") == Delivered(24)
    assert len(stored(database)) - before == 24


@settings(max_examples=times(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 9)), min_size=1, max_size=8))
def test_no_order_of_batches_stores_a_sample_twice(
    batches: list[tuple[int, int]], agent: DeliveryStore, database: SecretStr
) -> None:
    for first, more in batches:
        agent.deliver(batch(first, first + more))
    rows = stored(database)
    assert len({ts for ts, _ in rows}) == len(rows)
    assert all(ts == after(10 * value) for ts, value in rows)


def test_tenants_of_one_spool_have_cursors_of_their_own(agent: DeliveryStore) -> None:
    agent.deliver(batch(1, 5))
    assert agent.deliver(batch(1, 3, "borealis")).rows == 3
    assert agent.delivered("agent-1", "epoch-1", "borealis") == Delivered(3)


def test_a_new_epoch_starts_anew_and_still_stores_nothing_twice(agent: DeliveryStore, database: SecretStr) -> None:
    agent.deliver(batch(1, 5))
    result = agent.deliver(replace(batch(1, 6), epoch="epoch-2"))
    assert result == DeliveryResult(applied=True, acked_seq=6, rows=1, duplicates=5)
    assert len(stored(database)) == 6


def test_what_cannot_be_stored_does_not_stop_the_rest(agent: DeliveryStore, database: SecretStr) -> None:
    good = batch(1, 2)
    poison = [Sample(READS, after(5), value) for value in (float("nan"), float("inf"), -1e101)]
    result = agent.deliver(replace(good, samples=[*poison, *good.samples]))
    assert (result.rows, result.refused) == (2, 3)
    assert len(stored(database)) == 2


def test_a_batch_over_midnight_lands_in_two_partitions(agent: DeliveryStore, database: SecretStr) -> None:
    midnight = datetime(2026, 1, 6, tzinfo=UTC)
    samples = [Sample(LOAD1, midnight + timedelta(seconds=s), 1.0) for s in (-10, 0, 10)]
    agent.deliver(replace(batch(1, 3), samples=samples))
    with psycopg.connect(database.get_secret_value()) as connection:
        found = connection.execute("select count(*) from core.sample group by tableoid order by 1")
        assert found.fetchall() == [(1,), (2,)]


def test_deliveries_at_once_of_several_agents_lose_and_double_nothing(
    agent: DeliveryStore, database: SecretStr
) -> None:
    def deliver(number: int) -> DeliveryResult:
        series = replace(LOAD1, host=f"host-{number % 4}")
        return agent.deliver(replace(batch(1, 20, series=series), agent_id=f"agent-{number % 4}"))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(deliver, range(8)))
    assert sum(result.rows for result in results) == 80
    assert sum(result.applied for result in results) == 4
    assert len(stored(database)) == 80


def test_a_delivery_killed_in_its_transaction_leaves_nothing_and_repeats_whole(
    agent: DeliveryStore, database: SecretStr, postgres: PostgresServer
) -> None:
    agent.deliver(batch(1, 5))
    once = checksum(database)
    failures: list[CollectorsError] = []

    def deliver() -> None:
        try:
            agent.deliver(batch(6, 9))
        except CollectorsError as error:
            failures.append(error)

    with psycopg.connect(database.get_secret_value()) as blocker:
        # The samples wait for this lock when the cursor's row is already written.
        blocker.execute("lock table core.delivery in access exclusive mode")
        thread = Thread(target=deliver)
        thread.start()
        wait_until(lambda: terminated(postgres, "tests-agent"), seconds=30, what="a waiting delivery")
        thread.join()
    assert len(failures) == 1
    assert failures[0].transient
    assert checksum(database) == once
    assert agent.deliver(batch(6, 9)) == DeliveryResult(applied=True, acked_seq=9, rows=4)
    assert [value for _, value in stored(database)] == list(range(1, 10))


def terminated(postgres: PostgresServer, application: str) -> bool:
    """Cut a connection of this name that waits for a lock; say whether there was one."""
    with psycopg.connect(postgres.conninfo("postgres", "postgres").get_secret_value(), autocommit=True) as connection:
        statement = (
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = %s and wait_event_type = 'Lock'"
        )
        return bool(connection.execute(statement, [application]).fetchall())


def test_the_books_count_what_was_sent(agent: DeliveryStore, store: Store, database: SecretStr) -> None:
    now = datetime.now(UTC)
    fresh = [Sample(LOAD1, now - timedelta(seconds=s), 1.0) for s in (0, 10)]
    agent.deliver(replace(batch(1, 2), samples=fresh, notes=()))
    agent.deliver(batch(3, 5))
    agent.deliver(replace(batch(3, 6), epoch="epoch-2"))
    with psycopg.connect(database.get_secret_value()) as connection:
        rows = connection.execute(
            "select intervals, samples, duplicates, late, gap_seconds, bytes from core.delivery "
            "where host = 'host-1' and collector = 'load' and hour = %s",
            [NOON],
        ).fetchall()
        late_now = connection.execute("select sum(late) from core.delivery where hour > %s", [NOON]).fetchone()
    assert rows == [(7, 7, 3, 7, 1.0, 200)]
    assert late_now == (0,)


def test_two_names_of_one_series_share_its_key_whatever_the_order_of_labels(
    agent: DeliveryStore, database: SecretStr
) -> None:
    labelled = replace(READS, labels=(("a", "1"), ("b", "2")))
    turned = replace(READS, labels=(("b", "2"), ("a", "1")), unit="corrected")
    samples = [Sample(labelled, after(10), 1.0), Sample(turned, after(20), 2.0)]
    agent.deliver(replace(batch(1, 2), samples=samples))
    with psycopg.connect(database.get_secret_value()) as connection:
        assert connection.execute("select count(*) from core.series").fetchone() == (1,)


def test_an_unknown_tenant_is_refused(delivery_store: DeliveryStore) -> None:
    with pytest.raises(StorageError, match="'aurora' is not in the database"):
        delivery_store.deliver(batch(1, 2))


def test_a_heartbeat_replaces_the_one_before(agent: DeliveryStore, database: SecretStr) -> None:
    for version in ("1", "2"):
        agent.heartbeat("agent-1", "host-1", version, NOON, {"spool_bytes": 10})
    with psycopg.connect(database.get_secret_value()) as connection:
        rows = connection.execute("select host, version, started_at, state from core.agent").fetchall()
    assert rows == [("host-1", "2", NOON, {"spool_bytes": 10})]


def test_the_agents_side_loads_no_numpy() -> None:
    code = (
        "import sys; from collectors_dagster.integrations.timescale import DeliveryStore, DeliveryBatch; "
        "import collectors_dagster.integrations.timescale.tenants; print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_expected_peaks_are_where_the_newest_forecast_is_unusually_high(
    agent: DeliveryStore, database: SecretStr
) -> None:
    day = [forecast_point(minute, 0, 0.9 if 600 <= minute < 630 else 0.2) for minute in range(10, 1440, 10)]
    revised = [forecast_point(minute, 5, 0.2) for minute in range(600, 610, 10)]
    with Store(database, application_name="tests") as store:
        store.forecasts.write("aurora", [*day, *revised], "1")
        store.forecasts.write("borealis", [forecast_point(minute, 0, 0.4) for minute in range(10, 1440, 10)], "1")
    everybody = ["aurora", "borealis"]
    assert agent.expected_peaks(everybody, "host-1", after(0)) == [after(60 * minute) for minute in (610, 620)]
    assert agent.expected_peaks(["borealis"], "host-1", after(0)) == []
    assert agent.expected_peaks(everybody, "host-2", after(0)) == []
    assert agent.expected_peaks(everybody, "host-1", after(60 * 700)) == []
