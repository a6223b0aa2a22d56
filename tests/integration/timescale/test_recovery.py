"""The store over a server that stops and comes back."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import psycopg
import pytest

from collectors_dagster.clock import SystemClock
from collectors_dagster.errors import CollectorsError, ServiceFailedError, ServiceTimeoutError, ServiceUnreachableError
from collectors_dagster.integrations.timescale import DeliveryStore, Store, migrate
from tests.support.postgres import PostgresServer, restarted, running_postgres
from tests.support.store_data import AURORA, after, batch
from tests.support.waiting import wait_until


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Yield a server of this test's own, with a migrated database ``mine``."""
    with running_postgres() as server:
        server.create_database("mine")
        migrate(server.conninfo("mine"), clock=SystemClock())
        yield server


def test_deliveries_go_on_within_seconds_after_the_database_is_back(server: PostgresServer) -> None:
    with DeliveryStore(server.conninfo("mine"), application_name="tests") as agent:
        agent.tenants.sync([AURORA])
        agent.deliver(batch(1, 5))
        with restarted(server):
            for _ in range(2):
                with pytest.raises(CollectorsError) as caught:
                    agent.deliver(batch(6, 9))
                assert caught.value.transient

        def delivered() -> bool:
            try:
                return agent.deliver(batch(6, 9)).acked_seq == 9
            except (ServiceUnreachableError, ServiceFailedError, ServiceTimeoutError):
                return False

        wait_until(delivered, seconds=3, what="the delivery")


@pytest.mark.parametrize("kind", [Store, DeliveryStore])
def test_a_connection_that_the_server_ended_a_moment_ago_is_given_to_nobody(
    server: PostgresServer, kind: type[Store] | type[DeliveryStore]
) -> None:
    everybody = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'tests'"
    with kind(server.conninfo("mine"), application_name="tests") as store:
        for _ in range(5):
            store.tenants.introduce(AURORA)
            server.execute(everybody)
    with psycopg.connect(server.conninfo("mine").get_secret_value()) as connection:
        assert connection.execute("select count(*) from core.tenant").fetchone() == (1,)


def test_a_spool_delivered_over_restarts_is_in_the_table_exactly_once(server: PostgresServer) -> None:
    last = 3000  # seconds of deliveries: both restarts fall into them
    failures: list[CollectorsError] = []

    def deliver_all(agent: DeliveryStore) -> None:
        number, pause = 1, Event()
        while number <= last:
            try:
                number = agent.deliver(batch(number, number + 2)).acked_seq + 1
            except (ServiceUnreachableError, ServiceFailedError, ServiceTimeoutError) as error:
                failures.append(error)
                pause.wait(0.02)

    with DeliveryStore(server.conninfo("mine"), application_name="tests") as agent, ThreadPoolExecutor(1) as pool:
        agent.tenants.sync([AURORA])
        delivering = pool.submit(deliver_all, agent)
        for share in (30, 150):
            wait_until(partial(delivered_up_to, server, share), seconds=60, what=f"{share} samples")
            with restarted(server):
                wait_until(
                    partial(lambda seen: len(failures) > seen, len(failures)), seconds=60, what="a failed delivery"
                )
        delivering.result()
    with psycopg.connect(server.conninfo("mine").get_secret_value()) as connection:
        rows = connection.execute("select ts, value from core.sample order by ts").fetchall()
        counted = connection.execute("select sum(samples), sum(duplicates) from core.delivery").fetchone()
    assert rows == [(after(10 * number), number) for number in range(1, last + 1)]
    assert counted == (last, 0)


def delivered_up_to(server: PostgresServer, share: int) -> bool:
    """Say whether so many samples are in the table."""
    with psycopg.connect(server.conninfo("mine").get_secret_value()) as connection:
        row = connection.execute("select count(*) from core.sample").fetchone()
    assert row is not None
    return int(row[0]) >= share
