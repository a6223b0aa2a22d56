"""What dashboards and the pipeline ask often is found by index, and only in the days that it is about."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.records import Window
from collectors_dagster.strategies.chunks import CompressionRule
from tests.support.sql_tenants import login_url
from tests.support.store_data import AURORA, BOREALIS, DAY, day_of_samples

pytestmark = pytest.mark.every_edition

METRICS = ["metric0", "metric1"]
SCOPE: dict[str, object] = {"tenant_key": 1, "start": DAY.end - timedelta(hours=1), "end": DAY.end}
ASKED = {
    "reading.raw": SCOPE | {"series_ids": [1, 2]},
    "reading.minute": SCOPE | {"series_ids": [1, 2], "origin": SCOPE["end"]},
    "samples.newest": {"tenant_key": 1, "metrics": METRICS, "since": SCOPE["start"]},
    "rollups.count_hourly": SCOPE,
}
HOUR = timedelta(hours=1)


@pytest.fixture
def week(store: Store, database: SecretStr) -> SecretStr:
    """Return a database with a week of minutes of two tenants, compressed where that is possible."""
    store.tenants.sync([AURORA, BOREALIS])
    for tenant in ("aurora", "borealis"):
        for day in range(1, 8):
            window = Window.of_day(f"2026-01-{day:02d}")
            samples = day_of_samples(window, series=5, step=60)
            store.samples.write_window(tenant, "demo", window, **samples)  # type: ignore[arg-type]  # **: no types per name
            store.rollups.hourly(tenant, window, "run-1")
    rule = CompressionRule(HOUR, HOUR, HOUR)
    store.compression.apply(rule, datetime(2026, 1, 7, 1, tzinfo=UTC))
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute("analyze")
    return database


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield kind and table of all scans of a plan that were carried out."""
    if "Relation Name" in plan and plan.get("Actual Loops", 1) > 0:
        yield plan["Node Type"], plan["Relation Name"]
    for below in plan.get("Plans", []):
        yield from scans(below)


def explained(database: SecretStr, title: str) -> list[tuple[str, str]]:
    table, name = title.split(".")
    statement = b"explain (analyze, format json) " + load_queries(table)[name]
    with psycopg.connect(database.get_secret_value()) as connection:
        # These tables are small: a table that is read whole all the same has no index for the question.
        connection.execute("set enable_seqscan = off")
        row = connection.execute(statement, ASKED[title]).fetchone()
    assert row is not None
    document = json.loads(row[0]) if isinstance(row[0], str) else row[0]
    return list(scans(document[0]["Plan"]))


def blocks(
    connection: psycopg.Connection, statement: bytes, wanted: dict[str, object] | None = None
) -> tuple[int, dict[str, Any]]:
    """Return how many blocks a statement reads once all are in memory, and its plan."""
    explain = b"explain (analyze, buffers, format json) " + statement
    connection.execute(explain, wanted)  # the first time, the catalogue is read too
    row = connection.execute(explain, wanted).fetchone()
    assert row is not None
    plan = (json.loads(row[0]) if isinstance(row[0], str) else row[0])[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], plan


BY_HAND = {
    "raw": "select series_id, ts, value from core.sample where tenant_key = 1 and series_id in (1, 2) "
    "and ts >= '2026-01-05 23:00Z' and ts < '2026-01-06Z'",
    "minute": "select series_id, date_bin('1 minute', ts, '2000-01-01Z'), avg(value), min(value), max(value), count(*) "
    "from core.sample where tenant_key = 1 and series_id in (1, 2) "
    "and ts >= '2026-01-05 23:00Z' and ts < '2026-01-06Z' group by 1, 2",
    "hour": "select series_id, bucket, sum / n, min, max, n from core.sample_1h where tenant_key = 1 "
    "and series_id in (1, 2) and bucket >= '2026-01-05 23:00Z' and bucket < '2026-01-06Z'",
}
"""The shortest way to what the reader, or a dashboard of a tenant, asks for an hour of two of five series."""
AS_TENANT = {
    "raw": """select series_id, "timestamp", metric_value from api.metrics
        where series_id = any (array(select series_id from api.series where metric_name in ('metric0', 'metric1')))
        and "timestamp" >= '2026-01-05 23:00Z' and "timestamp" < '2026-01-06Z'""",
    "minute": """select date_trunc('minute', "timestamp"), avg(metric_value), max(metric_value) from api.metrics
        where series_id = any (array(select series_id from api.series where metric_name in ('metric0', 'metric1')))
        and "timestamp" >= '2026-01-05 23:00Z' and "timestamp" < '2026-01-06Z' group by series_id, 1""",
    "hour": """select series_id, bucket, avg_value, max_value from api.metrics_hourly
        where series_id = any (array(select series_id from api.series where metric_name in ('metric0', 'metric1')))
        and bucket >= '2026-01-05 23:00Z' and bucket < '2026-01-06Z'""",
}
NAMES = 40
"""Blocks for the names of the series and for who may see them."""


@pytest.mark.parametrize("name", BY_HAND)
def test_the_reader_touches_hardly_more_than_the_shortest_statement(week: SecretStr, name: str) -> None:
    wanted = SCOPE | {"series_ids": [1, 2], "origin": SCOPE["end"]}
    with psycopg.connect(week.get_secret_value()) as connection:
        least, _ = blocks(connection, BY_HAND[name].encode())
        ours, plan = blocks(connection, load_queries("reading")[name], wanted)
    assert least > 0
    assert ours <= 2 * least, plan


@pytest.mark.parametrize("name", AS_TENANT)
def test_a_tenants_dashboard_touches_hardly_more_than_the_shortest_statement(
    week: SecretStr, store: Store, name: str
) -> None:
    login = store.sql_roles.grant("aurora")
    assert login.password is not None
    try:
        with psycopg.connect(week.get_secret_value()) as owner:
            least, _ = blocks(owner, BY_HAND[name].encode())
        url = login_url(week, login.role, login.password.get_secret_value()).get_secret_value()
        with psycopg.connect(url) as tenant:
            ours, plan = blocks(tenant, AS_TENANT[name].encode())
            tenant.execute("set enable_seqscan = off")  # as above
            _, forced = blocks(tenant, AS_TENANT[name].encode())
    finally:
        store.sql_roles.revoke("aurora", login.role)
    assert least > 0
    assert ours <= 2 * least + NAMES, plan
    found = list(scans(forced))
    days = days_touched(found) if name != "hour" else set()
    assert len(days) <= 2, found  # a compressed chunk is two tables
    assert not [kind for kind, table in found if table in days and kind == "Seq Scan"], found


def test_the_measure_of_blocks_finds_a_full_scan(week: SecretStr) -> None:
    """Without the array the tenant's series are no condition of the index, and all of the day is read."""
    with psycopg.connect(week.get_secret_value()) as owner:
        least, _ = blocks(owner, BY_HAND["raw"].encode())
        everything, _ = blocks(owner, b"select * from core.sample where value > 1e99")
    assert everything > 2 * least + NAMES


def days_touched(found: list[tuple[str, str]]) -> set[str]:
    """Return the partitions, chunks or compressed chunks of samples among the scanned tables."""
    return {table for _, table in found if table.startswith(("sample_2026", "_hyper_1_", "compress_hyper"))}


@pytest.mark.parametrize("title", ["reading.raw", "reading.minute", "samples.newest"])
def test_samples_of_an_hour_are_found_by_index_in_their_days(week: SecretStr, title: str) -> None:
    found = explained(week, title)
    days = days_touched(found)
    assert 1 <= len(days) <= 3 * 2, found  # a compressed chunk is two tables
    assert not [kind for kind, table in found if table in days and kind == "Seq Scan"], found


def test_hours_are_found_by_index(week: SecretStr, edition: Edition) -> None:
    found = explained(week, "rollups.count_hourly")
    kept = [kind for kind, table in found if table.startswith(("sample_1h", "_hyper_"))]
    assert kept
    assert "Seq Scan" not in kept, found
