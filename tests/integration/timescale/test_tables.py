"""What is written comes back as it was: features, scores, forecasts, health, planted incidents, books, tenants."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.ledger import SourceReport
from collectors_dagster.integrations.timescale.series import SeriesTable
from collectors_dagster.records import Window
from collectors_dagster.samples import Sample, SeriesKey
from collectors_dagster.tenants import Tenant, Tier
from tests.support.store_data import (
    AURORA,
    BOREALIS,
    DAY,
    LOAD1,
    NOON,
    READS,
    after,
    batch,
    checksum,
    feature_frame,
    forecast_point,
    health_report,
    planted_incident,
    scored_minute,
)

pytestmark = pytest.mark.every_edition

HOUR = Window(NOON, after(3600))


@pytest.fixture
def tables(store: Store) -> Store:
    """Return a store with two tenants."""
    store.tenants.sync([AURORA, BOREALIS])
    return store


def test_features_come_back_with_their_holes(tables: Store) -> None:
    frames = [feature_frame(), feature_frame(host="host-2")]
    assert tables.features.write("aurora", DAY, frames, "run-1") == 48
    for written, found in zip(frames, tables.features.read("aurora", DAY, version="v1"), strict=True):
        assert (found.host, found.version, found.columns) == (written.host, "v1", written.columns)
        np.testing.assert_array_equal(found.ts, written.ts)
        np.testing.assert_array_equal(found.values, written.values)
    assert [one.host for one in tables.features.read("aurora", DAY, ["host-2"], version="v1")] == ["host-2"]
    assert tables.features.read("borealis", DAY, version="v1") == []


def test_features_of_other_versions_are_skipped(tables: Store) -> None:
    tables.features.write("aurora", DAY, [feature_frame("v1")], "run-1")
    assert tables.features.read("aurora", DAY, version="v2") == []
    tables.features.write("aurora", DAY, [feature_frame("v2")], "run-2")
    assert tables.features.read("aurora", DAY, version="v1") == []
    assert len(tables.features.read("aurora", DAY, version="v2")) == 1


def test_features_of_a_window_are_exactly_the_last_ones_written(tables: Store) -> None:
    tables.features.write("aurora", DAY, [feature_frame(), feature_frame(host="gone")], "run-1")
    tables.features.write("aurora", DAY, [feature_frame()], "run-2")
    assert [one.host for one in tables.features.read("aurora", DAY, version="v1")] == ["host-1"]
    assert tables.features.write("aurora", DAY, [], "run-3") == 0
    assert tables.features.read("aurora", DAY, version="v1") == []


def test_scores_come_back_with_their_contributions(tables: Store) -> None:
    minutes = [scored_minute(1), scored_minute(2, score=0.0)]
    assert tables.scores.write("aurora", "stream", minutes) == 2
    assert tables.scores.read("aurora", "stream", DAY) == minutes
    assert tables.scores.read("aurora", "stream", DAY, host="host-2") == []
    assert tables.scores.read("aurora", "batch", DAY) == []
    assert tables.scores.read("aurora", "stream", Window(after(60), after(120))) == [minutes[1]]


def test_a_minute_scored_again_is_replaced(tables: Store) -> None:
    tables.scores.write("aurora", "stream", [scored_minute(score=0.1)])
    tables.scores.write("aurora", "stream", [scored_minute(score=0.2), scored_minute(score=0.3)])
    assert [one.score for one in tables.scores.read("aurora", "stream", DAY)] == [0.3]


def test_replacing_scores_removes_what_is_no_longer_there(tables: Store) -> None:
    tables.scores.write("aurora", "stream", [scored_minute(1)])
    tables.scores.replace("aurora", "batch", DAY, [scored_minute(1), scored_minute(2)])
    tables.scores.replace("aurora", "batch", HOUR, [scored_minute(2)])
    assert [one.ts for one in tables.scores.read("aurora", "batch", DAY)] == [after(120)]
    assert len(tables.scores.read("aurora", "stream", DAY)) == 1


def test_of_several_forecasts_the_last_said_is_read(tables: Store) -> None:
    points = [forecast_point(30, 0, 0.1), forecast_point(30, 10, 0.2), forecast_point(40, 0, 0.3)]
    assert tables.forecasts.write("aurora", points, "1") == 3
    found = tables.forecasts.read("aurora", DAY, "host-1", "cpu_utilization_ratio")
    assert found == points[1:]
    assert tables.forecasts.read("aurora", DAY, "host-1", "memory_used_ratio") == []


def test_the_newest_health_of_each_host_is_read(tables: Store) -> None:
    reports = [health_report(1), health_report(2, score=None), replace(health_report(1), host="host-2")]
    tables.health.write("aurora", reports)
    assert tables.health.latest("aurora") == reports[1:]
    assert tables.health.latest("borealis") == []


def test_planted_incidents_come_back_by_time(tables: Store) -> None:
    one = planted_incident()
    later = replace(one, started_at=after(7200), ended_at=after(9000))
    tables.planted.write("aurora", DAY, [later, one])
    assert tables.planted.read("aurora", DAY) == [one, later]
    assert tables.planted.read("aurora", Window(after(3600), after(7200))) == []
    tables.planted.write("aurora", DAY, [one])
    assert tables.planted.read("aurora", DAY) == [one]


def test_the_books_keep_the_last_run_of_each_window(tables: Store) -> None:
    for run in ("run-1", "run-2"):
        tables.ledger.record("aurora", "scores", HOUR, run, rows=60, sha256="abc", detail={"late": 1})
    (entry,) = tables.ledger.entries("aurora", "scores", DAY)
    assert (entry.window, entry.run_id, entry.rows, entry.sha256, entry.detail) == (
        HOUR,
        "run-2",
        60,
        "abc",
        {"late": 1},
    )
    assert tables.ledger.entries("aurora", "scores", Window(HOUR.end, DAY.end)) == []


def test_a_complete_source_receives_what_is_expected(tables: Store, delivery_store: DeliveryStore) -> None:
    delivery_store.deliver(batch(1, 360))
    assert tables.ledger.collection_report("aurora", HOUR, 10) == [
        SourceReport("host-1", "load", 360, 360, 0, 360, 0.5, 100, HOUR.end)
    ]


def test_a_gap_is_expected_and_not_received(tables: Store, delivery_store: DeliveryStore) -> None:
    delivery_store.deliver(batch(1, 100))
    delivery_store.deliver(batch(201, 360))
    (report,) = tables.ledger.collection_report("aurora", HOUR, 10)
    assert (report.expected, report.received) == (360, 260)


def test_nothing_is_expected_before_a_series_first_came(tables: Store, delivery_store: DeliveryStore) -> None:
    delivery_store.deliver(batch(181, 360))
    (report,) = tables.ledger.collection_report("aurora", HOUR, 10)
    assert (report.expected, report.received) == (180, 180)


def test_a_silent_source_is_expected_for_a_day_and_then_forgotten(tables: Store, delivery_store: DeliveryStore) -> None:
    delivery_store.deliver(batch(1, 360))
    delivery_store.deliver(replace(batch(1, 1), agent_id="agent-2", samples=[Sample(READS, after(7000), 1.0)]))
    later = Window(after(7200), after(10_800))
    assert [
        (one.collector, one.expected, one.received) for one in tables.ledger.collection_report("aurora", later, 10)
    ] == [
        ("disk", 360, 0),
        ("load", 360, 0),
    ]
    gone = Window(HOUR.end + timedelta(days=1), HOUR.end + timedelta(days=2))
    assert [one.collector for one in tables.ledger.collection_report("aurora", gone, 10)] == ["disk"]


def test_the_future_is_not_expected(tables: Store, delivery_store: DeliveryStore) -> None:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=600)
    samples = [Sample(LOAD1, start + timedelta(seconds=10 * n), 1.0) for n in range(1, 61)]
    delivery_store.deliver(replace(batch(1, 60), samples=samples, notes=()))
    (report,) = tables.ledger.collection_report("aurora", Window(start, start + timedelta(days=1)), 10)
    assert report.received == 60
    assert 60 <= report.expected <= 63
    assert report.late > 0


def test_tenants_follow_the_configuration_in_insertion_order(store: Store, database: SecretStr) -> None:
    store.tenants.sync([BOREALIS, AURORA])
    once = checksum(database)
    store.tenants.sync([AURORA, BOREALIS])
    assert store.tenants.ids() == ["borealis", "aurora"]
    assert checksum(database) == once
    store.tenants.sync([replace(AURORA, tier=Tier.PREMIUM), Tenant("zeta", "Zeta")])
    assert store.tenants.ids() == ["aurora", "zeta"]
    assert store.tenants.key("borealis") == 1
    store.tenants.sync([BOREALIS])
    assert store.tenants.ids() == ["borealis"]
    with psycopg.connect(database.get_secret_value()) as connection:
        assert connection.execute("select tier from core.tenant where tenant_id = 'aurora'").fetchone() == ("premium",)


def test_series_that_come_and_go_are_remembered_up_to_a_bound(store: Store, database: SecretStr) -> None:
    store.tenants.sync([AURORA])
    connections = Database(database, application_name="tests", max_connections=1)
    series, key = SeriesTable(connections, most_known=100), store.tenants.key("aurora")
    first: dict[SeriesKey, int] = {}
    for round_ in range(30):
        wanted = [replace(LOAD1, host=f"container-{number}") for number in range(20 * round_, 20 * round_ + 40)]
        found = dict(zip(wanted, series.ids(key, wanted), strict=True))
        assert series.remembered <= 100
        assert all(first.setdefault(one, found[one]) == found[one] for one in wanted)
    everything = list(first)
    assert series.ids(key, everything) == [first[one] for one in everything]  # more at once than are remembered
    assert series.remembered <= 100
    assert len(set(first.values())) == len(first) == 620
    connections.close()
