"""A week of running stays under 2 GB: the arithmetic of docs/capacity.md, from the code and from measured row sizes.

The reference host has 16 cores; the sample tenants observe it as they are shipped. Row sizes are measured on the real
server, counts come from the collectors' own catalogue and the tenants' files, bounds from the settings.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors import COLLECTORS
from collectors_dagster.collectors.cpu import MODES
from collectors_dagster.collectors.protocol import Host
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.config.tenants import load_tenants
from collectors_dagster.features.feature_set import COLUMNS, VERSION
from collectors_dagster.frames import FeatureFrame
from collectors_dagster.integrations.orchestrator.compute_logs import MOST_BYTES
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import Contribution, ModelState, ScoredMinute
from collectors_dagster.samples import Metric, SeriesKey
from collectors_dagster.supervisor.logfiles import MOST_UNREAD_BYTES
from collectors_dagster.tenants import Tenant
from tests.support.store_data import DAY, after, axis

ROOT = Path(__file__).resolve().parents[2]
DAYS = 7
LIMIT = 2_000_000_000
CORES, DISKS, FILESYSTEMS, INTERFACES, GPUS = 16, 2, 3, 3, 0
LABELLED = {
    # Metrics with one series per label that is the same on every host.
    "cpu_guest_seconds_total": 2,
    "softirqs_total": 10,
    "memory_scanned_pages_total": 2,
    "memory_reclaimed_pages_total": 2,
    "memory_refaults_total": 2,
    "sockets_in_use": 8,
    "socket_memory_bytes": 2,
    "ip_fragments_in_use": 2,
    "ip_fragment_memory_bytes": 2,
}
MEASURED = {
    # Measured on a running stack, per day; docs/capacity.md says how.
    "Dagster's runs and events": 20_000_000,
    "models in MLflow": 20_000_000,
}
PROCESSES = 9


@dataclass(frozen=True)
class RowBytes:
    """Bytes per row, indexes included."""

    sample: float
    feature: float
    score: float


def series_per_metric(metric: Metric) -> int:
    """Return how many series a metric has on the reference host."""
    name, stored = metric.name, 2 if metric.peak else 1
    if name == "cpu_seconds_total":
        return CORES * len(MODES)
    if name.startswith("filesystem_"):
        return FILESYSTEMS * stored
    if name.startswith("disk_"):
        return DISKS * stored
    if name.startswith("network_"):
        return INTERFACES * stored
    if name.startswith("gpu_"):
        return GPUS
    return LABELLED.get(name, 1) * stored


def series_of(tenant: Tenant) -> int:
    """Return the number of delivered series of a tenant."""
    sources = [
        source for factory in COLLECTORS if (source := factory(Host(SystemClock()))).name in tenant.system.collectors
    ]
    stored = [metric for source in sources for metric in source.metrics if tenant.system.detail or not metric.detail]
    return sum(map(series_per_metric, stored))


def size_of(database: SecretStr, pattern: str) -> int:
    """Return bytes of the tables whose name is like `pattern`."""
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute(
            "select sum(pg_total_relation_size(c.oid))::bigint from pg_class c"
            " where c.relnamespace = 'core'::regnamespace and c.relkind = 'r' and c.relname ~ %s",
            (pattern,),
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def row_bytes(store: Store, database: SecretStr) -> RowBytes:
    """Write a day as the platform does and measure what it takes."""
    store.tenants.sync([Tenant("aurora", "Aurora")])
    rng, series, step = np.random.default_rng(1), 20, 10
    ts, rows = axis(DAY, step), int(DAY.seconds) // step * 20
    store.samples.write_window(
        "aurora",
        "samples",
        DAY,
        series=[SeriesKey("host-1", "cpu", f"metric{number}") for number in range(series)],
        index=np.repeat(np.arange(series), len(ts)),
        ts=np.tile(ts, series),
        values=rng.normal(50, 20, rows),
        run_id="run",
    )
    minutes = axis(DAY, 60)
    frame = FeatureFrame("host-1", VERSION, minutes, COLUMNS, rng.normal(size=(len(minutes), len(COLUMNS))))
    store.features.write("aurora", DAY, [frame], "run")
    reasons = tuple(Contribution("cpu_utilization_ratio", 0.9, 0.1, 0.4, 8.0) for _ in range(3))
    scored = [
        ScoredMinute("host-1", after(60 * n, DAY.start), 0.95, ModelState.READY, "aurora.anomaly/1", reasons)
        for n in range(1, 1441)
    ]
    store.scores.write("aurora", "stream", scored)
    return RowBytes(
        size_of(database, "^sample_2") / rows,
        size_of(database, "^feature$") / 1440,
        size_of(database, "^score$") / 1440,
    )


def setting_in_bytes(name: str) -> int:
    """Return a size from the embedded server's configuration."""
    text = (ROOT / "collectors_dagster/supervisor/postgresql.conf").read_text()
    found = re.search(rf"^{name} = (\d+)MB", text, re.MULTILINE)
    assert found
    return int(found[1]) * 1024**2


def week(settings: Settings, size: RowBytes) -> Mapping[str, float]:
    """Return bytes on disk after a week, by what they are for."""
    tenants = load_tenants(settings).tenants
    observing = [tenant for tenant in tenants if tenant.system.enabled]
    showcase = 14 * 1440 * 2
    days_of = {tenant.id: min(DAYS, tenant.retention.raw_days + 1) for tenant in observing}
    samples = sum(
        series_of(tenant) * 86_400 / tenant.system.collection_interval_seconds * days_of[tenant.id]
        for tenant in observing
    )
    minutes = DAYS * 1440 * len(observing)
    return {
        "samples of the sample tenants": samples * size.sample,
        "hourly and daily aggregates": sum(map(series_of, observing)) * 25 * DAYS * 150,
        "features": (minutes + showcase) * size.feature,
        "scores, stream and batch": (2 * minutes + showcase) * size.score,
        "the synthetic tenant's samples": showcase / 2 * 40 * size.sample,
        "write-ahead log": setting_in_bytes("max_wal_size"),
        "flight recorder": settings.agent.spool_max_bytes,
        "refused batches": settings.agent.quarantine_max_bytes,
        "logs": PROCESSES * (settings.log.max_bytes * (settings.log.backups + 1) + MOST_UNREAD_BYTES),
        "what runs print": MOST_BYTES,
        **{name: DAYS * each for name, each in MEASURED.items()},
    }


def documented() -> dict[str, float]:
    """Return the table of docs/capacity.md, in bytes."""
    rows = re.findall(r"^\| ([^|]+?) \| .* \| (\d+) \|$", (ROOT / "docs/capacity.md").read_text(), re.MULTILINE)
    return {name: float(number) * 1e6 for name, number in rows}


def test_a_week_stays_under_two_gigabytes_and_the_page_says_how(row_bytes: RowBytes) -> None:
    expected = week(load_settings(), row_bytes)
    assert sum(expected.values()) < LIMIT, expected
    page = documented()
    assert page.pop("**sum**") == pytest.approx(sum(page.values()), abs=1e6)
    assert set(page) == set(expected)
    for name, size in expected.items():
        assert page[name] == pytest.approx(size, rel=0.1, abs=1.5e6), name
