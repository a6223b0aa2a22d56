"""Retention: old enough is forgotten, for one tenant at a time, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.errors import ServiceTimeoutError
from collectors_dagster.integrations.timescale import Delivered, DeliveryStore, Store
from collectors_dagster.records import ClockEvent, ClockEventKind, IncidentEventKind, Window
from collectors_dagster.samples import Sample
from tests.support.store_data import (
    AURORA,
    BOREALIS,
    DAY,
    LOAD1,
    after,
    batch,
    checksum,
    day_of_samples,
    feature_frame,
    forecast_point,
    health_report,
    incident,
    planted_incident,
    scored_minute,
)

pytestmark = pytest.mark.every_edition

TENTH = datetime(2026, 1, 10, 15, 30, tzinfo=UTC)


@pytest.fixture
def week(store: Store) -> Store:
    """Return a store with the days 3 to 9 January of two tenants."""
    store.tenants.sync([AURORA, BOREALIS])
    for tenant in ("aurora", "borealis"):
        for day in range(3, 10):
            window = Window.of_day(f"2026-01-{day:02d}")
            store.samples.write_window(tenant, "demo", window, **day_of_samples(window))  # type: ignore[arg-type]  # a dict of arguments
            store.rollups.hourly(tenant, window, "run-1")
    return store


def days(database: SecretStr) -> dict[str, list[int]]:
    """Return, per tenant, the days of January that have samples (of more than an instant)."""
    with psycopg.connect(database.get_secret_value()) as connection:
        rows = connection.execute(
            "select tenant_id, extract(day from ts)::integer from core.sample join core.tenant using (tenant_key) "
            "group by 1, 2 having count(*) > 2 order by 1, 2"
        ).fetchall()
    return {tenant: [day for name, day in rows if name == tenant] for tenant in ("aurora", "borealis")}


def days_rolled_up(database: SecretStr) -> list[tuple[object, ...]]:
    """Return aurora's days up to 5 January."""
    with psycopg.connect(database.get_secret_value()) as connection:
        return connection.execute(
            "select * from core.sample_1d where tenant_key = 1 and bucket < '2026-01-06 00:00+00' "
            "order by tenant_key, series_id, bucket"
        ).fetchall()


def partitions(database: SecretStr) -> int:
    """Return the number of partitions of the samples."""
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute(
            "select count(*) from pg_inherits where inhparent = 'core.sample'::regclass"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_tenants_old_days_go_and_another_tenants_stay(week: Store, database: SecretStr) -> None:
    report = week.retention.apply("aurora", 3, 400, TENTH)
    assert days(database) == {"aurora": [7, 8, 9], "borealis": [3, 4, 5, 6, 7, 8, 9]}
    assert report.partitions_dropped == 0
    assert report.rows_deleted == 4 * 288 - 2  # the last instant of the 6th is the first of the 7th


def test_days_that_no_tenant_needs_are_dropped_whole(week: Store, database: SecretStr) -> None:
    before = partitions(database)
    week.retention.apply("aurora", 3, 400, TENTH)
    report = week.retention.apply("borealis", 2, 400, TENTH)
    assert days(database) == {"aurora": [7, 8, 9], "borealis": [8, 9]}
    assert report.partitions_dropped == 4
    assert partitions(database) == before - 4
    assert report.bytes_after < report.bytes_before


def test_a_busy_reader_puts_it_off_without_stopping_the_others(week: Store, database: SecretStr) -> None:
    week.tenants.sync([AURORA])
    once = checksum(database)
    with psycopg.connect(database.get_secret_value()) as reader:
        reader.execute("select count(*) from core.sample")
        with pytest.raises(ServiceTimeoutError):
            week.retention.apply("aurora", 3, 400, TENTH)
    assert checksum(database) == once
    assert week.retention.apply("aurora", 3, 400, TENTH).partitions_dropped == 4


def test_a_removed_tenant_holds_no_day_back(week: Store, database: SecretStr) -> None:
    week.tenants.sync([AURORA])
    assert week.retention.apply("aurora", 3, 400, TENTH).partitions_dropped == 4
    assert days(database)["borealis"] == [7, 8, 9]


def test_doing_it_again_does_nothing(week: Store, database: SecretStr) -> None:
    week.retention.apply("aurora", 3, 400, TENTH)
    once = checksum(database)
    assert week.retention.apply("aurora", 3, 400, TENTH).rows_deleted == 0
    assert checksum(database) == once


def test_the_horizon_never_goes_back(week: Store, database: SecretStr) -> None:
    """Samples that were deleted do not come back when somebody keeps more days; their aggregates must stay."""
    hours = checksum(database)["sample_1h"]
    week.retention.apply("aurora", 3, 400, TENTH)
    week.retention.apply("aurora", 30, 400, TENTH)
    week.rollups.hourly("aurora", Window.of_day("2026-01-04"), "run-2")
    assert checksum(database)["sample_1h"] == hours


def test_hours_go_after_their_own_time_and_days_stay(week: Store, database: SecretStr) -> None:
    week.rollups.daily("aurora", Window(DAY.start - timedelta(days=2), DAY.end), "run-1")
    daily = days_rolled_up(database)
    week.retention.apply("aurora", 1, 2, TENTH)
    with psycopg.connect(database.get_secret_value()) as connection:
        oldest = connection.execute(
            "select tenant_key, min(bucket) from core.sample_1h group by 1 order by 1"
        ).fetchall()
    assert oldest == [(1, datetime(2026, 1, 8, tzinfo=UTC)), (2, datetime(2026, 1, 3, tzinfo=UTC))]
    week.rollups.daily("aurora", DAY, "run-2")
    assert days_rolled_up(database) == daily
    assert len(daily) == 2 * 3


def fill_everything(store: Store) -> None:
    """Write something of every kind for aurora, on 5 January."""
    store.features.write("aurora", DAY, [feature_frame()], "run-1")
    store.scores.write("aurora", "stream", [scored_minute()])
    opened = store.incidents.apply("aurora", [(IncidentEventKind.OPENED, incident())])
    store.forecasts.write("aurora", [forecast_point()], "1")
    store.health.write("aurora", [health_report()])
    store.planted.write("aurora", DAY, [planted_incident()])
    resolved = replace(opened[0], resolved_at=after(600))
    store.incidents.apply("aurora", [(IncidentEventKind.RESOLVED, resolved)])
    (event, *_) = store.incidents.events_after(0, 10)
    assert store.alerts.claim(event.id, "log")


DERIVED = ("feature", "score", "forecast", "health")
BOOKS = (
    *("incident", "incident_event", "alert", "planted_incident"),
    *("load", "delivery", "clock_event", "sample_1h", "sample_1h_bins"),
)


def rows(database: SecretStr, tables: tuple[str, ...]) -> dict[str, int]:
    """Return numbers of rows."""
    found = checksum(database)
    return {table: int(found[table].split(":")[0]) for table in tables}


def test_everything_derived_has_a_bounded_age(store: Store, delivery_store: DeliveryStore, database: SecretStr) -> None:
    store.tenants.sync([AURORA])
    events = [ClockEvent("host-1", after(10), ClockEventKind.SUSPEND, 8.0)]
    delivery_store.deliver(replace(batch(1, 3), samples=[Sample(LOAD1, after(10), 1.0)], clock_events=events))
    store.rollups.hourly("aurora", DAY, "run-1", ("load1",))
    fill_everything(store)
    full = rows(database, DERIVED + BOOKS)
    assert 0 not in full.values()
    store.retention.apply("aurora", 7, 100, after(86_400 * 29))
    assert rows(database, DERIVED + BOOKS) == full
    store.retention.apply("aurora", 7, 100, after(86_400 * 32))
    assert rows(database, DERIVED) == dict.fromkeys(DERIVED, 0)
    store.retention.apply("aurora", 7, 100, after(86_400 * 102))
    assert rows(database, BOOKS) == dict.fromkeys(BOOKS, 0)


def test_an_open_incident_is_kept_whatever_its_age(store: Store) -> None:
    store.tenants.sync([AURORA])
    store.incidents.apply("aurora", [(IncidentEventKind.OPENED, incident())])
    store.retention.apply("aurora", 7, 8, after(86_400 * 1000))
    assert len(store.incidents.open("aurora")) == 1


def test_agents_that_are_gone_are_forgotten_and_their_cursors_with_them(
    store: Store, delivery_store: DeliveryStore, database: SecretStr
) -> None:
    store.tenants.sync([AURORA, BOREALIS])
    for name in ("agent-1", "agent-2"):
        delivery_store.heartbeat(name, "host-1", "1", after(0), {})
        for tenant in ("aurora", "borealis"):
            delivery_store.deliver(replace(batch(1, 3, tenant), agent_id=name))
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute("update core.agent_cursor set acked_at = %s", [after(0)])
        connection.execute("update core.agent set seen_at = %s where agent_id = 'agent-1'", [after(0)])
    counted = ("agent", "agent_cursor")
    now = after(86_400 * 31)
    store.retention.apply("aurora", 7, 400, now, agent_days=60)
    assert rows(database, counted) == {"agent": 2, "agent_cursor": 4}
    store.retention.apply("aurora", 7, 400, now, agent_days=30)
    assert rows(database, counted) == {"agent": 1, "agent_cursor": 3}
    store.retention.apply("borealis", 7, 400, now, agent_days=30)
    assert rows(database, counted) == {"agent": 1, "agent_cursor": 2}
    assert delivery_store.delivered("agent-2", "epoch-1", "aurora") == Delivered(3)
