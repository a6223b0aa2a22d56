"""Incidents, their events, and the alerts' ledger: nothing twice, nothing lost, whoever repeats."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.errors import TenantIsolationError
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import Incident, IncidentEvent, IncidentEventKind, Severity, Window
from tests.support.store_data import AURORA, BOREALIS, DAY, after, checksum, incident

pytestmark = pytest.mark.every_edition

OPENED, UPDATED, RESOLVED = IncidentEventKind.OPENED, IncidentEventKind.UPDATED, IncidentEventKind.RESOLVED
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def incidents(store: Store) -> Store:
    """Return a store with two tenants."""
    store.tenants.sync([AURORA, BOREALIS])
    return store


def opened(store: Store, tenant: str = "aurora", host: str = "host-1") -> Incident:
    """Open an incident and return it as stored."""
    (stored,) = store.incidents.apply(tenant, [(OPENED, incident(tenant, host))])
    return stored


def first_event(store: Store) -> IncidentEvent:
    """Open an incident and return the event."""
    opened(store)
    (event,) = store.incidents.events_after(0, 10)
    return event


def test_a_life_is_told_in_events_that_carry_all(incidents: Store) -> None:
    one = opened(incidents)
    worse = replace(one, updated_at=after(300), peak_score=0.99, severity=Severity.CRITICAL)
    over = replace(worse, updated_at=after(600), resolved_at=after(600))
    incidents.incidents.apply("aurora", [(UPDATED, worse), (RESOLVED, over)])
    events = incidents.incidents.events_after(0, 10)
    assert [(event.kind, event.at, event.incident) for event in events] == [
        (OPENED, one.updated_at, one),
        (UPDATED, after(300), worse),
        (RESOLVED, after(600), over),
    ]
    assert incidents.incidents.list("aurora", DAY) == [over]
    assert incidents.incidents.open("aurora") == []


def test_opening_twice_returns_the_open_one_and_tells_nobody(incidents: Store, database: SecretStr) -> None:
    one = opened(incidents)
    once = checksum(database)
    assert opened(incidents) == one
    assert checksum(database) == once


def test_a_resolved_incident_is_neither_changed_nor_resolved_again(incidents: Store, database: SecretStr) -> None:
    over = replace(opened(incidents), resolved_at=after(600))
    incidents.incidents.apply("aurora", [(RESOLVED, over)])
    once = checksum(database)
    incidents.incidents.apply("aurora", [(RESOLVED, over), (UPDATED, replace(over, resolved_at=None))])
    assert checksum(database) == once


def test_a_host_can_have_another_incident_after_the_first(incidents: Store) -> None:
    one = opened(incidents)
    incidents.incidents.apply("aurora", [(RESOLVED, replace(one, resolved_at=after(600)))])
    assert opened(incidents).id != one.id


def test_a_tenant_cannot_touch_another_tenants_incident(incidents: Store, database: SecretStr) -> None:
    mine = opened(incidents)
    before = checksum(database)
    with pytest.raises(TenantIsolationError):
        incidents.incidents.apply("borealis", [(RESOLVED, mine)])
    incidents.incidents.apply("borealis", [(UPDATED, replace(mine, tenant_id="borealis", title="taken"))])
    assert checksum(database) == before


def test_open_ones_are_listed_by_tenant_and_by_source(incidents: Store) -> None:
    one, two = opened(incidents), opened(incidents, "borealis")
    assert incidents.incidents.open() == [one, two]
    assert incidents.incidents.open("borealis") == [two]
    assert incidents.incidents.open(source="batch") == []


@pytest.mark.parametrize(("seconds", "found"), [((0, 60), 1), ((0, 59), 0), ((300, 400), 1), ((600, 900), 0)])
def test_incidents_are_found_by_the_windows_they_overlap(
    incidents: Store, seconds: tuple[int, int], found: int
) -> None:
    over = replace(opened(incidents), resolved_at=after(600))  # opened at 60
    incidents.incidents.apply("aurora", [(RESOLVED, over)])
    assert len(incidents.incidents.list("aurora", Window(after(seconds[0]), after(seconds[1])))) == found


def test_writers_at_once_make_events_that_become_visible_in_order(incidents: Store) -> None:
    """A follower that reads while others write sees every event exactly once."""
    seen: list[int] = []

    def write(number: int) -> None:
        opened(incidents, host=f"host-{number}")

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, number) for number in range(30)]
        while not all(writer.done() for writer in writers):
            seen += [event.id for event in incidents.incidents.events_after(max(seen, default=0), 100)]
        [writer.result() for writer in writers]
    seen += [event.id for event in incidents.incidents.events_after(max(seen, default=0), 100)]
    assert len(seen) == 30
    assert seen == sorted(set(seen))


def test_the_batch_replaces_its_own_window_and_tells_nobody(incidents: Store) -> None:
    stream = opened(incidents)
    for minutes in (2, 3):
        incidents.incidents.replace_batch("aurora", DAY, [incident(minutes=minutes), incident(host="host-2")])
    found = incidents.incidents.list("aurora", DAY, source="batch")
    assert sorted((one.host, one.opened_at) for one in found) == [("host-1", after(180)), ("host-2", after(60))]
    assert incidents.incidents.list("aurora", DAY, source="stream") == [stream]
    assert len(incidents.incidents.events_after(0, 10)) == 1


def test_an_alert_is_claimed_by_one_of_many(incidents: Store) -> None:
    event = first_event(incidents)
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda _: incidents.alerts.claim(event.id, "ops"), range(8)))
    assert sum(claims) == 1
    assert incidents.alerts.claim(event.id, "log")


def test_a_delivered_alert_is_never_claimed_again(incidents: Store) -> None:
    event = first_event(incidents)
    incidents.alerts.claim(event.id, "ops")
    incidents.alerts.finish(event.id, "ops", None)
    incidents.alerts.finish(event.id, "ops", "an answer that came late")
    assert not incidents.alerts.claim(event.id, "ops")
    assert incidents.alerts.pending(10, since=LONG_AGO) == []


def test_a_failed_alert_is_pending_until_it_is_delivered(incidents: Store) -> None:
    event = first_event(incidents)
    incidents.alerts.claim(event.id, "ops")
    assert incidents.alerts.pending(10, since=LONG_AGO) == []
    incidents.alerts.finish(event.id, "ops", "no answer")
    (pending,) = incidents.alerts.pending(10, since=LONG_AGO)
    assert (pending.event, pending.target, pending.attempts, pending.last_error) == (event, "ops", 1, "no answer")
    assert incidents.alerts.claim(event.id, "ops")
    assert not incidents.alerts.claim(event.id, "ops")


def test_an_alert_whose_sender_died_can_be_claimed_after_a_minute(incidents: Store, database: SecretStr) -> None:
    event = first_event(incidents)
    incidents.alerts.claim(event.id, "ops")
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute("update core.alert set updated_at = now() - interval '61 seconds'")
    assert [one.target for one in incidents.alerts.pending(10, since=LONG_AGO)] == ["ops"]
    assert incidents.alerts.claim(event.id, "ops")
