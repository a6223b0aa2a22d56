"""Sensors: partitions follow the tenants, incidents become alerts, failures reach those they concern."""

from collections.abc import Iterator

import dagster as dg
import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock
from collectors_dagster.definitions import composed
from collectors_dagster.integrations.notify import Notifier
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.patterns.policies import Policies
from collectors_dagster.records import Incident, IncidentEventKind, Severity
from collectors_dagster.tenants import Tenant
from resources.deployment import Deployment
from sensors.anomalies import anomaly_sensor
from sensors.failures import WILL_RETRY, failure_sensor
from sensors.ranges import RANGE_END, RANGE_START
from sensors.tenants import tenant_sensor
from tests.orchestration.conftest import AURORA, BOREALIS, CIRRUS, DAY, FolderRegistry, Tenants


@pytest.fixture
def resources(deployment: Deployment, store: Store, registry: FolderRegistry) -> Iterator[dict[str, object]]:
    """Return everything the definitions need."""
    with Notifier(
        Policies(deployment.settings.patterns, clock=deployment.clock, random=lambda: 0.5), clock=deployment.clock
    ) as sender:
        yield {"deployment": deployment, "store": store, "registry": registry, "outbox": sender}


def tick(
    instance: dg.DagsterInstance, deployment: Deployment, store: Store, cursor: str | None = None
) -> dg.SensorResult:
    """Let the tenant sensor look once, and do what it asks for."""
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"deployment": deployment, "store": store}
    )
    result = tenant_sensor(context)
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or ():
        if isinstance(request, dg.AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        else:
            for key in request.partition_keys:
                instance.delete_dynamic_partition(request.partitions_def_name, key)
    return result


def test_every_configured_tenant_gets_a_partition_and_a_row_at_the_first_look(
    instance: dg.DagsterInstance, deployment: Deployment, store: Store
) -> None:
    tick(instance, deployment, store)
    assert instance.get_dynamic_partitions("tenant") == ["aurora", "borealis", "cirrus"]
    assert sorted(store.tenants.ids()) == ["aurora", "borealis", "cirrus"]


def test_a_new_tenant_is_added_at_the_next_look_behind_the_others(
    instance: dg.DagsterInstance, deployment: Deployment, store: Store, tenants: Tenants
) -> None:
    cursor = tick(instance, deployment, store).cursor
    tenants.tenants = (*tenants.tenants, Tenant("acme", "Acme"))
    tick(instance, deployment, store, cursor)
    assert instance.get_dynamic_partitions("tenant") == ["aurora", "borealis", "cirrus", "acme"]
    assert "acme" in store.tenants.ids()


def test_nothing_new_asks_for_nothing_and_says_so(
    instance: dg.DagsterInstance, deployment: Deployment, store: Store
) -> None:
    cursor = tick(instance, deployment, store).cursor
    result = tick(instance, deployment, store, cursor)
    assert not result.dynamic_partitions_requests
    assert "3 tenants have their partitions" in str(result.skip_reason)


def test_an_offboarded_tenant_keeps_its_partition_until_the_runs_over_it_end(
    instance: dg.DagsterInstance, deployment: Deployment, store: Store, tenants: Tenants
) -> None:
    cursor = tick(instance, deployment, store).cursor
    tags = {RANGE_START: f"aurora|{DAY}", RANGE_END: f"cirrus|{DAY}"}
    job = composed({"deployment": None, "store": None, "registry": None, "outbox": None}).resolve_job_def("tenant_day")
    run = instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    tenants.tenants = (AURORA, CIRRUS)
    cursor = tick(instance, deployment, store, cursor).cursor
    assert "borealis" in instance.get_dynamic_partitions("tenant")
    assert "borealis" not in store.tenants.ids()
    instance.report_run_canceled(run)
    tick(instance, deployment, store, cursor)
    assert instance.get_dynamic_partitions("tenant") == ["aurora", "cirrus"]


def incident(clock: ManualClock) -> Incident:
    """Return an incident that opens now."""
    return Incident(
        id=None,
        tenant_id="aurora",
        host="host-1",
        opened_at=clock.now(),
        updated_at=clock.now(),
        resolved_at=None,
        severity=Severity.WARNING,
        peak_score=0.97,
        title="CPU utilization 97 %",
        contributions=(),
        model_version="1",
    )


def test_an_incident_is_told_once_whatever_becomes_of_the_cursor(
    instance: dg.DagsterInstance, resources: dict[str, object], store: Store, clock: ManualClock, database: SecretStr
) -> None:
    store.tenants.sync((AURORA,))
    store.incidents.apply("aurora", [(IncidentEventKind.OPENED, incident(clock))])
    used = {name: resources[name] for name in ("deployment", "store", "outbox")}

    def look(cursor: str | None) -> dg.SensorResult:
        result = anomaly_sensor(dg.build_sensor_context(instance=instance, cursor=cursor, resources=used))
        assert isinstance(result, dg.SensorResult)
        return result

    first = look(None)
    assert "1 new events, 1 alerts delivered" in str(first.skip_reason)
    assert "0 new events, 0 alerts delivered" in str(look(first.cursor).skip_reason)
    assert "1 new events, 0 alerts delivered" in str(look(None).skip_reason)
    with psycopg.connect(database.get_secret_value()) as connection:
        assert connection.execute("select status, attempts from core.alert").fetchall() == [("delivered", 1)]


@pytest.fixture
def failed_batch(
    instance: dg.DagsterInstance, resources: dict[str, object], store: Store, registry: FolderRegistry
) -> dg.ExecuteInProcessResult:
    """Return a run over three tenants in which the one in the middle failed."""
    store.tenants.sync((AURORA, BOREALIS, CIRRUS))
    instance.add_dynamic_partitions("tenant", ["aurora", "borealis", "cirrus"])
    broken = registry.folder / "borealis" / "anomaly" / "1"
    broken.mkdir(parents=True)
    return (
        composed(resources)
        .resolve_job_def("tenant_day")
        .execute_in_process(
            instance=instance,
            tags={RANGE_START: f"aurora|{DAY}", RANGE_END: f"cirrus|{DAY}"},
            asset_selection=[dg.AssetKey("anomaly_scores")],
            raise_on_error=False,
        )
    )


def report(
    result: dg.ExecuteInProcessResult,
    instance: dg.DagsterInstance,
    resources: dict[str, object],
    tags: dict[str, str] | None = None,
) -> None:
    """Let the failure sensor see a run."""
    [event] = [one for one in result.all_events if one.event_type is dg.DagsterEventType.RUN_FAILURE]
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    context = dg.build_run_status_sensor_context(
        sensor_name="failures",
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=run.with_tags({**run.tags, **(tags or {})}) if tags else run,
        partition_key=None,
        resources={name: resources[name] for name in ("deployment", "store", "outbox")},
    ).for_run_failure()
    failure_sensor(context)


def test_the_failed_tenant_is_told_and_nobody_else(
    failed_batch: dg.ExecuteInProcessResult,
    instance: dg.DagsterInstance,
    resources: dict[str, object],
    database: SecretStr,
) -> None:
    assert not failed_batch.success
    report(failed_batch, instance, resources)
    report(failed_batch, instance, resources)
    with psycopg.connect(database.get_secret_value()) as connection:
        told = connection.execute(
            "select t.tenant_id, f.what, f.error from core.failure f join core.tenant t using (tenant_key)"
        ).fetchall()
    assert [(tenant, what) for tenant, what, _ in told] == [("borealis", "tenant_day")]
    assert "anomaly_scores" in told[0][2]


def test_a_run_that_is_tried_again_alarms_nobody(
    failed_batch: dg.ExecuteInProcessResult,
    instance: dg.DagsterInstance,
    resources: dict[str, object],
    database: SecretStr,
) -> None:
    report(failed_batch, instance, resources, {WILL_RETRY: "true"})
    with psycopg.connect(database.get_secret_value()) as connection:
        assert connection.execute("select count(*) from core.failure").fetchone() == (0,)
