"""Runs for many tenants: who fails is shown failed, alone; what is done is stored; young tenants hear the truth."""

from collections.abc import Iterable
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from assets.chain import STAGES
from assets.partitions import TENANT_DAY, TENANTS
from collectors_dagster.clock import ManualClock
from collectors_dagster.config import load_settings
from collectors_dagster.definitions import composed
from collectors_dagster.integrations.timescale import DeliveryBatch, DeliveryStore, Store
from collectors_dagster.integrations.timescale.edition import Edition
from collectors_dagster.integrations.timescale.reading import Resolution, Selection
from collectors_dagster.records import ClockEvent, ClockEventKind, Window
from collectors_dagster.samples import Sample, SeriesKey
from resources.deployment import Deployment
from sensors.ranges import RANGE_END, RANGE_START
from tests.orchestration.conftest import AURORA, BOREALIS, CIRRUS, DAY, EVE, FolderRegistry, Tenants, write_minutes

ALL = (AURORA, BOREALIS, CIRRUS)
ORDER = ("borealis", "aurora", "cirrus")


@pytest.fixture
def platform(
    store: Store, deployment: Deployment, registry: FolderRegistry, instance: dg.DagsterInstance
) -> dict[str, object]:
    """Return the resources; every tenant has one minute of samples and a partition."""
    store.tenants.sync(ALL)
    for tenant in ALL:
        write_minutes(store, tenant.id, end_minute=930)
    instance.add_dynamic_partitions("tenant", list(ORDER))
    return {"store": store, "deployment": deployment, "registry": registry, "outbox": None}


def run(
    job: str,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    keys: tuple[str, str] | None,
    assets: Iterable[str] = (),
) -> dg.ExecuteInProcessResult:
    """Run a job over a range of partitions."""
    return (
        composed(resources)
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            tags={} if keys is None else {RANGE_START: keys[0], RANGE_END: keys[1]},
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
            raise_on_error=False,
        )
    )


def states(instance: dg.DagsterInstance, asset: str, partitions: dg.PartitionsDefinition) -> tuple[set[str], set[str]]:
    """Return the partitions that the UI shows as materialised and as failed."""
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        cached = get_and_update_asset_status_cache_value(instance, dg.AssetKey(asset), partitions)
        assert cached is not None
        done = cached.deserialize_materialized_partition_subsets(partitions)
        failed = cached.deserialize_failed_partition_subsets(partitions)
        return set(done.get_partition_keys()), set(failed.get_partition_keys())


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    """Return what the only materialisation of an asset shows."""
    events = result.get_asset_materialization_events()
    [event] = [one for one in events if one.asset_key == dg.AssetKey(asset)]
    shown = event.step_materialization_data.materialization.metadata
    return {name: value.value for name, value in shown.items()}


def test_metrics_that_the_settings_choose_get_quantiles_of_hours_and_days(
    platform: dict[str, object], store: Store, clock: ManualClock, tenants: Tenants, instance: dg.DagsterInstance
) -> None:
    chosen = load_settings(aggregates={"quantile_metrics": ["load1"]})
    platform["deployment"] = Deployment(chosen, clock, tenants)
    assert run("tenant_day", platform, instance, (f"borealis|{DAY}", f"cirrus|{DAY}")).success
    for resolution in (Resolution.HOUR, Resolution.DAY):
        (found,) = store.reader.read(Selection("aurora", Window.of_day(DAY), resolution, quantiles=True))
        assert found.series.metric == "load1"
        assert found.numbers["p95"].tolist() == pytest.approx([0.7], rel=0.012)


def test_a_batch_stores_every_stage_of_every_tenant(platform: dict[str, object], instance: dg.DagsterInstance) -> None:
    assert run("tenant_day", platform, instance, (f"borealis|{DAY}", f"cirrus|{DAY}")).success
    for asset in STAGES:
        assert states(instance, asset, TENANT_DAY) == ({f"{tenant}|{DAY}" for tenant in ORDER}, set())


def test_a_failing_tenant_alone_is_shown_failed_and_the_others_are_stored(
    platform: dict[str, object], instance: dg.DagsterInstance, tenants: Tenants, store: Store
) -> None:
    tenants.tenants = (BOREALIS, CIRRUS)  # aurora's file is gone, but her partition still lies in the range
    result = run("tenant_day", platform, instance, (f"borealis|{DAY}", f"cirrus|{DAY}"))
    assert not result.success
    for asset in STAGES:
        done, failed = states(instance, asset, TENANT_DAY)
        assert done == {f"borealis|{DAY}", f"cirrus|{DAY}"}
        assert failed == {f"aurora|{DAY}"}
    assert store.health.latest("cirrus")
    [step] = [event for event in result.all_events if event.is_step_failure]
    said = step.step_failure_data.user_failure_data
    assert said is not None
    assert f"1 of 3 failed, the others are stored; aurora|{DAY}: " in (said.description or "")


def test_a_tenant_that_fails_halfway_keeps_what_was_done(
    platform: dict[str, object], instance: dg.DagsterInstance, registry: FolderRegistry
) -> None:
    broken = registry.folder / "aurora" / "anomaly" / "1"
    broken.mkdir(parents=True)
    (broken / "bundle.json").write_text("not a model")
    assert not run("tenant_day", platform, instance, (f"borealis|{DAY}", f"cirrus|{DAY}")).success
    everybody = {f"{tenant}|{DAY}" for tenant in ORDER}
    assert states(instance, "feature_table", TENANT_DAY) == (everybody, set())
    assert states(instance, "anomaly_scores", TENANT_DAY) == (everybody - {f"aurora|{DAY}"}, {f"aurora|{DAY}"})


def test_one_minute_of_data_is_enough_for_every_stage_and_none_pretends(
    platform: dict[str, object], instance: dg.DagsterInstance
) -> None:
    one = (f"aurora|{DAY}", f"aurora|{DAY}")
    result = run("tenant_day", platform, instance, one)
    assert metadata(result, "collection_run")["dagster/row_count"] == 18
    assert metadata(result, "feature_table")["dagster/row_count"] == 1
    assert metadata(result, "feature_table")["history_days"] == 0
    assert "no model yet" in str(metadata(result, "anomaly_scores")["model_state"])
    assert run("training", platform, instance, ("aurora", "aurora")).success
    judged = run("tenant_day", platform, instance, one, assets=("anomaly_scores", "load_forecast", "health_report"))
    assert metadata(judged, "anomaly_scores")["model_state"] == "host-1: learning"
    assert metadata(judged, "anomaly_scores")["dagster/row_count"] == 1
    assert "data:image/svg+xml;base64," in str(metadata(judged, "anomaly_scores")["scores host-1"])
    assert metadata(judged, "load_forecast")["dagster/row_count"] != 0
    assert "100" in str(metadata(judged, "health_report")["lowest"])


def test_a_clock_that_was_set_is_shown_with_the_day(
    platform: dict[str, object], instance: dg.DagsterInstance, delivery_store: DeliveryStore
) -> None:
    noon = Window.of_day(DAY).start + timedelta(hours=12)
    event = ClockEvent("host-1", noon, ClockEventKind.STEP, -3600.0)
    delivery_store.deliver(DeliveryBatch("agent-1", "epoch-1", "aurora", 1, 1, (), (), [event]))
    result = run("tenant_day", platform, instance, (f"aurora|{DAY}", f"aurora|{DAY}"), assets=("collection_run",))
    told = str(metadata(result, "collection_run")["clocks"])
    assert "the clock was set" in told
    assert "-3600.0" in told


def test_what_was_refused_is_shown_with_the_day(
    platform: dict[str, object], instance: dg.DagsterInstance, delivery_store: DeliveryStore
) -> None:
    noon = Window.of_day(DAY).start + timedelta(hours=12)
    samples = [Sample(SeriesKey("host-9", "disk", "disk_busy_ratio"), noon, float("nan"))]
    delivery_store.deliver(DeliveryBatch("agent-9", "epoch-1", "aurora", 1, 1, samples))
    shown = []
    for tenant in ("aurora", "borealis"):
        one = (f"{tenant}|{DAY}", f"{tenant}|{DAY}")
        result = run("tenant_day", platform, instance, one, assets=("collection_run",))
        shown.append(metadata(result, "collection_run"))
    assert [one["refused"] for one in shown] == [1, 0]
    assert "| host-9 | disk | 1 | not a number | disk_busy_ratio = nan" in str(shown[0]["refusals"])
    assert shown[1]["refusals"] == "Everything that came could be stored."


def test_a_tenant_without_any_data_is_served_too(platform: dict[str, object], instance: dg.DagsterInstance) -> None:
    yesterday = (f"aurora|{EVE}", f"aurora|{EVE}")
    result = run("tenant_day", platform, instance, yesterday)
    assert result.success
    assert "Nothing has arrived for this day" in str(metadata(result, "collection_run")["sources"])
    assert "No host's clock was set" in str(metadata(result, "collection_run")["clocks"])
    assert metadata(result, "health_report")["lowest"] == "unknown: no data"


def test_a_range_of_days_walks_them_in_order_and_learns_from_the_first_for_the_second(
    platform: dict[str, object], instance: dg.DagsterInstance, store: Store, clock: ManualClock
) -> None:
    write_minutes(store, "aurora", end_minute=1440, minutes=1440, day=EVE)
    result = run("tenant_day", platform, instance, (f"aurora|{EVE}", f"aurora|{DAY}"))
    assert result.success
    days = {
        event.partition: event.step_materialization_data.materialization.metadata["history_days"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("feature_table")
    }
    assert days == {f"aurora|{EVE}": 0, f"aurora|{DAY}": 1}


def test_any_part_of_the_chain_can_be_launched_alone(platform: dict[str, object], instance: dg.DagsterInstance) -> None:
    result = run("tenant_day", platform, instance, (f"aurora|{DAY}", f"aurora|{DAY}"), assets=("metrics_daily",))
    assert result.success
    assert [event.asset_key for event in result.get_asset_materialization_events()] == [dg.AssetKey("metrics_daily")]


def test_models_are_trained_per_tenant_and_one_without_data_is_told_so(
    platform: dict[str, object], instance: dg.DagsterInstance, registry: FolderRegistry
) -> None:
    assert run("tenant_day", platform, instance, (f"aurora|{DAY}", f"aurora|{DAY}")).success
    result = run("training", platform, instance, ("borealis", "cirrus"))
    assert result.success
    assert sorted((tenant, package.kind) for tenant, package in registry.published) == [
        ("aurora", "anomaly"),
        ("aurora", "forecast"),
    ]
    assert states(instance, "anomaly_model", TENANTS) == (set(ORDER), set())
    notes = [
        event.step_materialization_data.materialization.metadata.get("note")
        for event in result.get_asset_materialization_events()
        if event.partition == "cirrus"
    ]
    assert all(note and "Nothing was trained" in str(note.value) for note in notes)


def test_retention_reports_what_left(
    platform: dict[str, object], instance: dg.DagsterInstance, clock: ManualClock
) -> None:
    clock.move(9 * 86_400)
    result = run("retention", platform, instance, ("aurora", "aurora"))
    assert result.success
    assert metadata(result, "retention")["rows_deleted"] == 18


@pytest.mark.every_edition
def test_compression_shows_what_became_of_each_chunk_or_that_there_are_none(
    platform: dict[str, object], instance: dg.DagsterInstance, clock: ManualClock, edition: Edition
) -> None:
    def hours_later() -> dict[str, object]:
        clock.move(3 * 3_600)
        result = run("chunk_compression", platform, instance, None)
        return metadata(result, "compression")

    shown = hours_later()
    clock.move(2 * 86_400)
    for _ in range(5):  # the server's statistics of writes may follow by a moment: then the chunk counts as written to
        shown = hours_later()
        if shown["chunks_compressed"]:
            break
    assert shown["edition"] == edition.value
    if edition is Edition.FULL:
        assert shown["chunks_compressed"] == 1
        assert "| samples | " in str(shown["chunks"])
        assert "| compress |" in str(shown["chunks"])
        assert shown["chunk_interval"] == "24 hours"
    else:
        assert str(shown["compression"]).startswith("none: ")
        assert shown["chunks_compressed"] == 0
        assert shown["bytes_before"] == shown["bytes_after"]
