"""The store over a server that stops and comes back."""

from collections.abc import Iterator

import pytest

from collectors_dagster.clock import SystemClock
from collectors_dagster.errors import CollectorsError, ServiceFailedError, ServiceTimeoutError, ServiceUnreachableError
from collectors_dagster.integrations.timescale import DeliveryStore, migrate
from tests.support.postgres import PostgresServer, restarted, running_postgres
from tests.support.store_data import AURORA, batch
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
