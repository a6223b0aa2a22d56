"""A deployment of three tenants on a real database, with a clock moved by hand and models kept in a folder."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock
from collectors_dagster.config import load_settings
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import ModelPackage, Window
from collectors_dagster.samples import Kind, SeriesKey
from collectors_dagster.tenants import AlertTarget, Tenant, TenantDirectory, Tier
from resources.deployment import Deployment

if TYPE_CHECKING:
    from collectors_dagster.integrations.mlflow import ChampionModel, Gate, PublishedModel, Wait

_NOW = datetime.now(UTC)  # the partitions end with the real day, so the day under test lies near it
DAY = f"{_NOW - timedelta(days=1):%Y-%m-%d}"
"""Today, for the deployment's clock."""
EVE = f"{_NOW - timedelta(days=2):%Y-%m-%d}"
"""Yesterday."""
LOG = AlertTarget("log", "log")
AURORA = Tenant("aurora", "Aurora", Tier.PREMIUM, alerts=(LOG,))
BOREALIS = Tenant("borealis", "Borealis", alerts=(LOG,))
CIRRUS = Tenant("cirrus", "Cirrus", alerts=(LOG,))


class Tenants:
    """The configured tenants, as a test wants them."""

    def __init__(self, *tenants: Tenant) -> None:
        self.tenants = tenants

    def current(self) -> TenantDirectory:
        return TenantDirectory(self.tenants)

    def latest(self) -> TenantDirectory:
        return self.current()


@dataclass
class FolderRegistry:
    """Keeps what is published in a folder; the newest is the champion."""

    folder: Path
    published: list[tuple[str, ModelPackage]] = field(default_factory=list)

    def champion(self, tenant_id: str, kind: str) -> "ChampionModel | None":
        from collectors_dagster.integrations.mlflow import ChampionModel

        found = sorted((self.folder / tenant_id / kind).glob("*"))
        return ChampionModel(found[-1], found[-1].name, {}) if found else None

    def challenger(self, tenant_id: str, kind: str) -> "ChampionModel | None":
        return None

    def prune(self, tenant_id: str, kind: str, keep: int) -> list[str]:
        return []

    def publish(
        self, tenant_id: str, package: ModelPackage, bundle_dir: Path, gate: "Gate", wait: "Wait"
    ) -> "PublishedModel":
        from collectors_dagster.integrations.mlflow import PublishedModel

        self.published.append((tenant_id, package))
        version = str(len(self.published))
        shutil.copytree(bundle_dir, self.folder / tenant_id / package.kind / version)
        return PublishedModel(f"{tenant_id}.{package.kind}", version, "run", "http://models.test", "champion", ())


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock in the afternoon of the day under test."""
    return ManualClock(Window.of_day(DAY).start.replace(hour=15, minute=30, second=20))


@pytest.fixture
def tenants() -> Tenants:
    return Tenants(AURORA, BOREALIS, CIRRUS)


@pytest.fixture
def deployment(clock: ManualClock, tenants: Tenants) -> Deployment:
    return Deployment(load_settings(), clock, tenants)


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    return FolderRegistry(tmp_path / "models")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as opened:
        yield opened


def write_minutes(store: Store, tenant_id: str, end_minute: int, minutes: int = 1, day: str = DAY) -> None:
    """Store some minutes of processor use at 10 s, up to a minute of the day."""
    window = Window.of_day(day)
    metrics = {"cpu_busy_seconds_per_second": 0.5, "cpu_count": 2.0, "load1": 0.7}
    start = np.datetime64(window.start.replace(tzinfo=None), "s") + np.timedelta64(60 * (end_minute - minutes), "s")
    ts = start + 10 * np.arange(1, 6 * minutes + 1)
    series = [SeriesKey("host-1", "cpu", metric, unit="ratio", kind=Kind.GAUGE) for metric in metrics]
    store.samples.write_window(
        tenant_id,
        "test",
        window,
        series=series,
        index=np.repeat(np.arange(len(metrics)), len(ts)),
        ts=np.tile(ts, len(metrics)),
        values=np.repeat(list(metrics.values()), len(ts)) + np.tile(0.001 * np.sin(np.arange(len(ts))), len(metrics)),
        run_id="test-run",
    )


def dagster_storage(database: SecretStr) -> dict[str, object]:
    """Return the part of ``dagster.yaml`` that puts an instance into `database`: our storage, the driver named."""
    url = database.get_secret_value().replace("postgresql://", "postgresql+psycopg2://")
    ours = {"module": "resources.instance_storage", "class": "PooledPostgresStorage", "config": {"postgres_url": url}}
    return {"storage": {"custom": ours}}
