"""Full resolution beside the samples: each minute of a series once, forgotten in time."""

from datetime import datetime, timedelta

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.errors import StorageError
from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.details import DetailBatch
from collectors_dagster.records import IncidentEventKind
from collectors_dagster.samples import Sample
from tests.support.store_data import AURORA, BOREALIS, LOAD1, NOON, READS, after, checksum, incident

pytestmark = pytest.mark.every_edition


@pytest.fixture
def agent(store: Store, delivery_store: DeliveryStore) -> DeliveryStore:
    store.tenants.sync([AURORA, BOREALIS])
    return delivery_store


def two_minutes(incident_id: int | None = None, *, complete: bool = False) -> DetailBatch:
    samples = [Sample(LOAD1, after(n), float(n)) for n in range(1, 121)]
    return DetailBatch("agent-1", "aurora", samples, after(120), incident_id, complete)


def stored(database: SecretStr) -> list[tuple[datetime, float]]:
    with psycopg.connect(database.get_secret_value()) as connection:
        return connection.execute(
            "select d.minute + u.us * interval '1 microsecond', u.value from core.sample_detail d"
            ' cross join lateral unnest(d.offsets, d."values") as u (us, value) order by 1'
        ).fetchall()


def test_values_keep_their_times_and_a_minute_ends_with_its_end(agent: DeliveryStore, database: SecretStr) -> None:
    assert agent.details.write(two_minutes()) == 120
    assert stored(database) == [(after(n), float(n)) for n in range(1, 121)]
    with psycopg.connect(database.get_secret_value()) as connection:
        minutes = connection.execute(
            "select minute, cardinality(offsets) from core.sample_detail order by 1"
        ).fetchall()
    assert minutes == [(NOON, 60), (after(60), 60)]


def test_what_was_delivered_is_not_added_again(agent: DeliveryStore, store: Store, database: SecretStr) -> None:
    (opened,) = store.incidents.apply("aurora", [(IncidentEventKind.OPENED, incident())])
    assert agent.details.write(two_minutes(opened.id)) == 120
    once = checksum(database)
    assert agent.details.write(two_minutes(opened.id)) == 0
    assert agent.details.write(two_minutes()) == 0
    assert checksum(database) == once


def test_a_complete_window_is_not_due_any_more(agent: DeliveryStore, store: Store) -> None:
    (opened,) = store.incidents.apply("aurora", [(IncidentEventKind.OPENED, incident())])
    store.incidents.apply("borealis", [(IncidentEventKind.OPENED, incident("borealis"))])
    since = NOON - timedelta(hours=1)
    (due,) = agent.details.due("agent-1", "host-1", ["aurora"], since)
    assert (due.incident_id, due.tenant_id, due.shipped_until) == (opened.id, "aurora", None)
    agent.details.write(two_minutes(opened.id))
    (due,) = agent.details.due("agent-1", "host-1", ["aurora"], since)
    assert due.shipped_until == after(120)
    agent.details.write(DetailBatch("agent-1", "aurora", [], after(180), opened.id, complete=True))
    assert agent.details.due("agent-1", "host-1", ["aurora"], since) == []
    assert len(agent.details.due("agent-1", "host-1", ["aurora", "borealis"], since)) == 1
    assert agent.details.due("agent-1", "host-1", ["borealis"], after(3600)) == []
    assert len(agent.details.due("agent-2", "host-1", ["aurora"], since)) == 1


def test_what_cannot_be_stored_does_not_stop_the_rest(agent: DeliveryStore, database: SecretStr) -> None:
    poison = [Sample(READS, after(n), value) for n, value in enumerate((float("nan"), float("inf"), -1e101), 1)]
    batch = DetailBatch("agent-1", "aurora", [*poison, Sample(LOAD1, after(1), 1.0)], after(60))
    assert agent.details.write(batch) == 1
    assert len(stored(database)) == 1


def test_an_unknown_tenant_is_refused_with_the_remedy(agent: DeliveryStore) -> None:
    with pytest.raises(StorageError, match="'nobody' is not in the database: synchronise"):
        agent.details.write(DetailBatch("agent-1", "nobody", [], after(60)))


def test_details_are_kept_as_long_as_features_and_windows_as_long_as_their_incident(
    agent: DeliveryStore, store: Store, database: SecretStr
) -> None:
    (opened,) = store.incidents.apply("aurora", [(IncidentEventKind.OPENED, incident())])
    agent.details.write(two_minutes(opened.id, complete=True))
    agent.details.write(DetailBatch("agent-1", "borealis", [Sample(LOAD1, after(1), 1.0)], after(60)))
    store.retention.apply("aurora", 7, 400, after(86_400 * 29))
    assert len(stored(database)) == 121
    store.retention.apply("aurora", 7, 400, after(86_400 * 32))
    assert len(stored(database)) == 1
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute("delete from core.incident")
        assert connection.execute("select count(*) from core.detail_window").fetchone() == (0,)


def test_a_window_delivered_past_its_end_can_still_be_completed(agent: DeliveryStore, store: Store) -> None:
    (opened,) = store.incidents.apply("aurora", [(IncidentEventKind.OPENED, incident())])
    since = NOON - timedelta(hours=1)
    agent.details.write(two_minutes(opened.id))
    agent.details.write(DetailBatch("agent-1", "aurora", [], after(120), opened.id, complete=True))
    assert agent.details.due("agent-1", "host-1", ["aurora"], since) == []
