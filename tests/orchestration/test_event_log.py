"""Dagster's event log stays small and forgets nothing that people look at."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from pydantic import SecretStr

from assets.upkeep import delete_old_runs, prune_output
from collectors_dagster.integrations.orchestrator.compute_logs import ComputeLogs
from collectors_dagster.integrations.orchestrator.event_log import EventLog, KeepFor
from tests.orchestration.conftest import dagster_storage

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-10")
NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=20)


@dg.asset(partitions_def=DAYS)
def reading(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Fail on the fourth, as long as somebody wants it to."""
    if context.partition_key == "2026-01-04" and not context.run.tags.get("well"):
        raise dg.Failure(description="not today")
    return dg.MaterializeResult(metadata={"day": context.partition_key})


@dg.asset_check(asset=reading)
def sound() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def instance(empty_database: SecretStr) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(overrides=dagster_storage(empty_database)) as opened:
        yield opened


@pytest.fixture
def log(empty_database: SecretStr) -> Iterator[EventLog]:
    with EventLog(empty_database) as opened:
        yield opened


def materialise(instance: dg.DagsterInstance, day: str, **tags: str) -> dg.ExecuteInProcessResult:
    return dg.materialize([reading, sound], instance=instance, partition_key=day, tags=tags, raise_on_error=False)


def shown(instance: dg.DagsterInstance) -> tuple[list[str], list[str]]:
    """Return the partitions the UI would show as done and as failed, counted anew."""
    cached = get_and_update_asset_status_cache_value(instance, dg.AssetKey("reading"), DAYS)
    assert cached is not None
    return (
        sorted(cached.deserialize_materialized_partition_subsets(DAYS).get_partition_keys()),
        sorted(cached.deserialize_failed_partition_subsets(DAYS).get_partition_keys()),
    )


def count(database: SecretStr, condition: str = "true") -> int:
    with psycopg.connect(database.get_secret_value()) as connection:
        row = connection.execute(f"select count(*) from event_logs where {condition}").fetchone()
    assert row
    return int(row[0])


def test_partitions_keep_their_state_and_their_newest_metadata(
    instance: dg.DagsterInstance, log: EventLog, empty_database: SecretStr
) -> None:
    for day in ("2026-01-02", "2026-01-03", "2026-01-04", "2026-01-02", "2026-01-02"):
        materialise(instance, day)
    before = count(empty_database)
    report = log.prune(LATER)
    assert report.rows["narratives"] > 0
    assert report.rows["failures"] > 0
    assert report.rows["superseded"] > 0
    assert count(empty_database) < before / 3
    with psycopg.connect(empty_database.get_secret_value()) as connection:
        connection.execute("update asset_keys set cached_status_data = null")  # what a restart may have to do
    assert shown(instance) == (["2026-01-02", "2026-01-03"], ["2026-01-04"])
    newest = instance.fetch_materializations(dg.AssetRecordsFilter(dg.AssetKey("reading")), limit=10).records
    assert [record.partition_key for record in newest] == ["2026-01-02", "2026-01-03"]
    assert newest[0].asset_materialization is not None
    assert newest[0].asset_materialization.metadata["day"].value == "2026-01-02"


def test_a_failure_that_was_mended_leaves_no_trace_and_one_that_was_not_stays_failed(
    instance: dg.DagsterInstance, log: EventLog, empty_database: SecretStr
) -> None:
    materialise(instance, "2026-01-04")
    materialise(instance, "2026-01-04", well="yes")
    log.prune(LATER)
    assert count(empty_database, "dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'") <= 1
    assert shown(instance) == (["2026-01-04"], [])


def test_the_newest_answer_of_a_check_stays(
    instance: dg.DagsterInstance, log: EventLog, empty_database: SecretStr
) -> None:
    for day in ("2026-01-02", "2026-01-03"):
        materialise(instance, day)
    assert log.prune(LATER).rows["check_executions"] > 0
    with psycopg.connect(empty_database.get_secret_value()) as connection:
        statuses = connection.execute("select execution_status from asset_check_executions").fetchall()
    assert statuses == [("SUCCEEDED",)]


def test_what_is_young_stays_untouched(instance: dg.DagsterInstance, log: EventLog, empty_database: SecretStr) -> None:
    for _ in range(2):
        materialise(instance, "2026-01-02")
    before = count(empty_database)
    assert set(log.prune(NOW + timedelta(hours=1)).rows.values()) == {0}
    assert count(empty_database) == before


def test_pruning_again_changes_nothing(instance: dg.DagsterInstance, log: EventLog) -> None:
    materialise(instance, "2026-01-02")
    log.prune(LATER)
    assert set(log.prune(LATER).rows.values()) == {0}


def test_failures_stay_readable_longer_than_successes(
    instance: dg.DagsterInstance, log: EventLog, empty_database: SecretStr
) -> None:
    good, bad = materialise(instance, "2026-01-02"), materialise(instance, "2026-01-04")
    log.prune(NOW + KeepFor().narratives + timedelta(days=1))
    assert count(empty_database, f"run_id = '{good.run_id}' and asset_key is null") == 1  # the check's answer
    assert count(empty_database, f"run_id = '{bad.run_id}' and dagster_event_type = 'STEP_FAILURE'") == 1


def test_old_runs_go_oldest_first_and_not_all_at_once(instance: dg.DagsterInstance) -> None:
    runs = [materialise(instance, "2026-01-02").run_id for _ in range(3)]
    assert delete_old_runs(instance, LATER, most=2) == 2
    assert instance.get_run_by_id(runs[0]) is None
    assert instance.get_run_by_id(runs[2]) is not None


def printed(instance: dg.DagsterInstance, run_id: str) -> Path:
    """Return where what a run printed lies; Dagster writes it there itself."""
    folder = Path(instance.storage_directory()) / run_id / "compute_logs"
    assert {path.suffix for path in folder.iterdir()} == {".out", ".err", ".complete"}
    return folder


def test_what_runs_printed_goes_with_their_narratives(instance: dg.DagsterInstance) -> None:
    good, bad = (printed(instance, materialise(instance, f"2026-01-0{day}").run_id) for day in (2, 4))
    output = ComputeLogs(Path(instance.storage_directory()))
    assert prune_output(instance, output, NOW + KeepFor().narratives - timedelta(hours=1)) == 0
    assert prune_output(instance, output, NOW + KeepFor().narratives + timedelta(days=1)) == 1
    assert (good.parent.exists(), bad.exists()) == (False, True)
    assert prune_output(instance, output, LATER) == 1
    assert not bad.parent.exists()


def test_what_a_run_prints_stays_until_it_ends_however_long_it_takes(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(
        dg.define_asset_job("j").resolve(asset_graph=dg.Definitions([reading]).resolve_asset_graph()),
        status=dg.DagsterRunStatus.STARTED,
    )
    with instance.compute_log_manager.capture_logs([run.run_id, "compute_logs", "step"]):
        pass
    output = ComputeLogs(Path(instance.storage_directory()))
    assert prune_output(instance, output, LATER + timedelta(days=365)) == 0
    assert printed(instance, run.run_id).exists()


def test_a_week_of_the_sample_tenants_fits_into_the_budget(
    instance: dg.DagsterInstance, log: EventLog, empty_database: SecretStr
) -> None:
    """Three tenants, seven assets, hourly: what is kept after a week, measured on the real tables.

    A day is 24 x 21 materialisations (and plans) with 5 kB of metadata and 40 runs of 15 narrative events. Two days
    are kept whole; of the older five, the newest materialisation of each partition.
    """
    payload = "x" * 5_000
    event = "ASSET_MATERIALIZATION"
    with psycopg.connect(empty_database.get_secret_value()) as connection:
        connection.execute(
            """
            insert into event_logs (run_id, event, dagster_event_type, "timestamp", asset_key, partition)
            select 'run-' || hour, %s, kind, now() at time zone 'UTC' - make_interval(hours => hour),
                   '["asset-' || asset || '"]', 'tenant-' || tenant || '|' || hour / 24
            from generate_series(0, 24 * 7 - 1) hour, generate_series(1, 7) asset, generate_series(1, 3) tenant,
                 unnest(array['ASSET_MATERIALIZATION_PLANNED', %s]) kind
            order by hour desc, kind desc
            """,
            (payload, event),
        )
        assert connection.execute("select count(*) from event_logs").fetchone() == (7 * 24 * 21 * 2,)
    report = log.prune(NOW)
    kept = count(empty_database)
    assert report.rows["superseded"] == 7 * 24 * 21 * 2 - kept
    assert kept <= (2 * 24 + 1) * 21 * 2 + 6 * 21
    assert kept * 7_000 < 20e6
