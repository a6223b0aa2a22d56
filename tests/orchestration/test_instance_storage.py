"""Dagster's storage as we keep it: the same rows as stock, over one connection."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from pydantic import SecretStr

from assets.partitions import tenant_days
from tests.orchestration.conftest import dagster_storage
from tests.support.postgres import PostgresServer, restarted

TENANT_DAYS = tenant_days(datetime.now(UTC), 3)
DAY = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
NAMES = ("delta", "alpha", "charlie")
RANGE = {
    "dagster/asset_partition_range_start": f"{NAMES[0]}|{DAY}",
    "dagster/asset_partition_range_end": f"{NAMES[-1]}|{DAY}",
}
ROWS = {
    "event_logs": "select dagster_event_type, step_key, asset_key, partition from event_logs",
    "asset_keys": "select asset_key, last_run_id is not null, last_materialization is not null, "
    "last_materialization_timestamp is not null, asset_details from asset_keys",
    "asset_event_tags": "select asset_key, key, case key when 'dagster/data_version' then null else value end "
    "from asset_event_tags",  # that version is a hash of the run's random name
    "runs": "select status, pipeline_name from runs",
}


@dg.multi_asset(
    specs=[dg.AssetSpec(name, partitions_def=TENANT_DAYS) for name in ("first", "second")],
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def both() -> Iterator[dg.MaterializeResult[None]]:
    """Do nothing, twice."""
    yield dg.MaterializeResult(asset_key="first")
    yield dg.MaterializeResult(asset_key="second")


def stock_storage(database: SecretStr) -> dict[str, object]:
    url = database.get_secret_value().replace("postgresql://", "postgresql+psycopg2://")
    return {"storage": {"postgres": {"postgres_url": url}}}


def launch(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenant", NAMES)
    assert dg.materialize([both], instance=instance, tags=RANGE).success


def rows(database: SecretStr) -> dict[str, list[str]]:
    with psycopg.connect(database.get_secret_value()) as connection:
        return {name: sorted(map(repr, connection.execute(query).fetchall())) for name, query in ROWS.items()}


@pytest.fixture(autouse=True)
def batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch events, as in every process of the stack."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "200")


def test_a_batch_leaves_the_same_rows_as_the_stock_storage(postgres: PostgresServer, empty_database: SecretStr) -> None:
    postgres.create_database("stock")
    try:
        for database, storage in ((empty_database, dagster_storage), (postgres.conninfo("stock"), stock_storage)):
            with dg.instance_for_test(overrides=storage(database)) as instance:
                launch(instance)
        ours, stock = rows(empty_database), rows(postgres.conninfo("stock"))
    finally:
        postgres.drop_database("stock")
    assert ours == stock
    planned = [row for row in ours["event_logs"] if "'ASSET_MATERIALIZATION_PLANNED'" in row]
    assert len(planned) == 2 * len(NAMES)


def test_an_instance_keeps_one_connection(postgres: PostgresServer, empty_database: SecretStr) -> None:
    with dg.instance_for_test(overrides=dagster_storage(empty_database)) as instance:
        launch(instance)
        with psycopg.connect(postgres.conninfo("postgres", "postgres").get_secret_value()) as connection:
            name = empty_database.get_secret_value().rsplit("/", 1)[1]
            found = connection.execute("select count(*) from pg_stat_activity where datname = %s", (name,)).fetchone()
    assert found == (1,)


def test_a_restarted_database_costs_no_call(postgres: PostgresServer, empty_database: SecretStr) -> None:
    with dg.instance_for_test(overrides=dagster_storage(empty_database)) as instance:
        launch(instance)
        with restarted(postgres):
            pass
        assert sorted(instance.get_dynamic_partitions("tenant")) == sorted(NAMES)
        assert len(instance.get_runs()) == 1
