"""Checks: over all tenants at once, naming who fails, and saying when there is nothing to judge."""

from datetime import timedelta

import dagster as dg
import numpy as np
import pytest

from assets.checks import CHECKS
from assets.spotify_checks import SPOTIFY_CHECKS
from assets.verdicts import Verdict, judged
from collectors_dagster.clock import ManualClock
from collectors_dagster.definitions import composed
from collectors_dagster.errors import ServiceUnreachableError
from collectors_dagster.features.feature_set import COLUMNS, VERSION
from collectors_dagster.frames import FeatureFrame
from collectors_dagster.integrations.timescale import DeliveryBatch, DeliveryStore, Store
from collectors_dagster.records import ForecastPoint, ModelState, ScoredMinute, Window
from collectors_dagster.samples import Sample, SeriesKey
from collectors_dagster.tenants import Tenant
from resources.deployment import Deployment
from tests.orchestration.conftest import AURORA, BOREALIS, CIRRUS, DAY, Tenants, write_minutes

SYNTHETIC = Tenant("showcase", "Showcase", synthetic=True)


@pytest.fixture
def store(store: Store, tenants: Tenants) -> Store:
    """Return the store; aurora and borealis are configured, and a synthetic tenant."""
    tenants.tenants = (AURORA, BOREALIS, SYNTHETIC)
    store.tenants.sync(tenants.tenants)
    return store


def verdicts(name: str, store: Store, deployment: Deployment) -> tuple[dg.AssetCheckResult, dict[str, str]]:
    """Run one check; return its result and the word on each tenant."""
    [check] = [one for one in CHECKS if next(iter(one.check_keys)).name == name]
    result = check(store=store, deployment=deployment)
    assert isinstance(result, dg.AssetCheckResult)
    table = str(result.metadata["tenants"].value).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return result, {row[0]: row[1] for row in cells}


def scored(minute: int, score: float, version: str = "1") -> ScoredMinute:
    at = Window.of_day(DAY).start + timedelta(minutes=minute)
    return ScoredMinute("host-1", at, score, ModelState.READY, version)


def test_stopped_data_are_noticed_with_the_tenant_named(
    store: Store, deployment: Deployment, clock: ManualClock
) -> None:
    write_minutes(store, "aurora", end_minute=930)
    write_minutes(store, "borealis", end_minute=920)
    result, said = verdicts("fresh", store, deployment)
    assert said == {"aurora": "passes", "borealis": "FAILS", "showcase": "not judged"}
    assert not result.passed
    assert result.description == "fails for borealis"
    assert result.severity is dg.AssetCheckSeverity.WARN
    clock.move(3600)
    assert verdicts("fresh", store, deployment)[0].severity is dg.AssetCheckSeverity.ERROR


def test_holes_in_the_last_hour_are_noticed(store: Store, deployment: Deployment) -> None:
    write_minutes(store, "aurora", end_minute=929, minutes=70)
    write_minutes(store, "borealis", end_minute=890, minutes=40)
    assert verdicts("complete", store, deployment)[1] == {
        "aurora": "passes",
        "borealis": "FAILS",
        "showcase": "not judged",
    }


def test_a_source_that_sends_what_cannot_be_right_is_named(
    store: Store, deployment: Deployment, delivery_store: DeliveryStore
) -> None:
    write_minutes(store, "aurora", end_minute=929)
    at = Window.of_day(DAY).start + timedelta(minutes=900)
    sample = Sample(SeriesKey("host-7", "disk", "disk_busy_ratio"), at, float("inf"))
    delivery_store.deliver(DeliveryBatch("agent-7", "epoch-1", "borealis", 1, 1, [sample]))
    result, said = verdicts("storable", store, deployment)
    assert said == {"aurora": "passes", "borealis": "FAILS", "showcase": "passes"}
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert "1 of host-7/disk: infinite" in str(result.metadata["tenants"].value)


def test_hours_that_miss_samples_are_noticed(store: Store, deployment: Deployment, clock: ManualClock) -> None:
    day = Window.of_day(DAY)
    for tenant, in_hours in (("aurora", 18), ("borealis", 17)):
        store.ledger.record(tenant, "collection_run", day, "run", rows=18)
        store.ledger.record(tenant, "metrics_hourly", day, "run", rows=3, detail={"raw_rows": in_hours})
    clock.move(86_400)
    assert verdicts("adds_up", store, deployment)[1] == {
        "aurora": "passes",
        "borealis": "FAILS",
        "showcase": "not judged",
    }


def test_infinite_features_are_noticed(store: Store, deployment: Deployment) -> None:
    day = Window.of_day(DAY)
    ts = np.datetime64(day.start.replace(tzinfo=None), "s") + 60 * np.arange(1, 3)
    values = np.zeros((2, len(COLUMNS)))
    store.features.write("aurora", day, [FeatureFrame("host-1", VERSION, ts, COLUMNS, values)], "run")
    broken = FeatureFrame("host-1", VERSION, ts, COLUMNS, np.where(np.eye(2, len(COLUMNS)) > 0, np.inf, values))
    store.features.write("borealis", day, [broken], "run")
    result, said = verdicts("well_formed", store, deployment)
    assert said == {"aurora": "passes", "borealis": "FAILS", "showcase": "not judged"}
    assert "infinite values" in str(result.metadata["tenants"].value)


def test_an_alarm_that_always_rings_is_noticed(store: Store, deployment: Deployment) -> None:
    store.scores.write("aurora", "batch", [scored(m, 0.95 if m == 7 else 0.1) for m in range(1, 61)])
    store.scores.write("borealis", "batch", [scored(m, 0.95 if m % 3 else 0.1) for m in range(1, 61)])
    said = verdicts("plausible", store, deployment)[1]
    assert said == {"aurora": "passes", "borealis": "FAILS", "showcase": "not judged"}


def test_a_stream_that_judges_otherwise_is_noticed_but_not_one_of_another_model(
    store: Store, deployment: Deployment
) -> None:
    quiet = [scored(m, 0.1) for m in range(1, 61)]
    for tenant in ("aurora", "borealis", "showcase"):
        store.scores.write(tenant, "batch", quiet)
    store.scores.write("aurora", "stream", quiet)
    store.scores.write("borealis", "stream", [scored(m, 0.99 if m % 5 == 0 else 0.1) for m in range(1, 61)])
    store.scores.write("showcase", "stream", [scored(m, 0.99, version="2") for m in range(1, 61)])
    said = verdicts("agrees_with_stream", store, deployment)[1]
    assert said == {"aurora": "passes", "borealis": "FAILS", "showcase": "not judged"}


def test_scores_that_are_spread_otherwise_than_last_week_are_noticed(
    store: Store, deployment: Deployment, clock: ManualClock
) -> None:
    """Aurora's stay as they were, Borealis' rise, and of the showcase there is no week before."""
    spread = [0.0, 0.2, 0.31, 0.55]

    def minutes(first: int, count: int, rise: float) -> list[ScoredMinute]:
        return [scored(first + n, spread[n % 4] + rise) for n in range(count)]

    for tenant, rise in (("aurora", 0.0), ("borealis", 0.12)):
        store.scores.write(tenant, "batch", minutes(-2 * 1440, 1440, 0.0))
        store.scores.write(tenant, "batch", minutes(0, 800, rise))
    store.scores.write("showcase", "batch", minutes(0, 800, 0.0))
    assert verdicts("steady", store, deployment)[1] == {
        "aurora": "passes",
        "borealis": "FAILS",
        "showcase": "not judged",
    }


def test_intervals_that_do_not_hold_are_noticed(store: Store, deployment: Deployment) -> None:
    day = Window.of_day(DAY)
    ts = np.datetime64(day.start.replace(tzinfo=None), "s") + 60 * np.arange(1, 61)
    frame = FeatureFrame("host-1", VERSION, ts, COLUMNS, np.full((60, len(COLUMNS)), 0.5))
    for tenant, low in (("aurora", 0.4), ("borealis", 0.6)):
        store.features.write(tenant, day, [frame], "run")
        points = [
            ForecastPoint(
                "host-1",
                "cpu_utilization_ratio",
                day.start,
                day.start + timedelta(minutes=m),
                low,
                low,
                low + 0.2,
                low,
                low + 0.3,
            )
            for m in range(1, 61)
        ]
        store.forecasts.write(tenant, points, "1")
    said = verdicts("covers", store, deployment)[1]
    assert said == {"aurora": "passes", "borealis": "FAILS", "showcase": "not judged"}


def test_live_hosts_without_a_health_report_are_noticed(store: Store, deployment: Deployment) -> None:
    write_minutes(store, "aurora", end_minute=930)
    assert verdicts("up_to_date", store, deployment)[1]["aurora"] == "FAILS"


def test_a_tenant_that_cannot_be_judged_fails_alone() -> None:
    def judge(tenant: Tenant) -> Verdict:
        if tenant.id == "borealis":
            raise ServiceUnreachableError("the database is away", service="postgres", operation="read")
        return Verdict(passed=True, said="fine")

    result = judged((AURORA, BOREALIS, CIRRUS), judge)
    assert result.description == "fails for borealis"
    assert result.severity is dg.AssetCheckSeverity.ERROR


def test_the_scheduled_job_runs_every_check_and_none_blocks(
    store: Store, deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    resources = {"store": store, "deployment": deployment, "registry": None, "outbox": None}
    result = composed(resources).resolve_job_def("checks").execute_in_process(instance=instance)
    assert result.success
    assert len(result.get_asset_check_evaluations()) == len(CHECKS) + len(SPOTIFY_CHECKS)
