"""Dynamic partitions and the tenants' table equal to the configured tenants, within seconds and without a restart."""

import hashlib
from collections.abc import Iterable, Sequence

import dagster as dg

from assets.partitions import TENANT, TENANTS, check_partition_budget
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.strategies.batches import insertion_order
from collectors_dagster.strategies.offboarding import PartitionChanges, partition_changes
from collectors_dagster.tenants import Tenant, TenantDirectory
from resources.deployment import Deployment
from sensors.ranges import covered_tenants

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

LOOKING_SECONDS, PAUSE_SECONDS = 2.5, 0.5
"""Dagster's daemon comes every five seconds, never sooner. A look that lasts for half of them leaves three that a
new file may have to wait, and with the daemon's own delays the promised five are kept."""


@dg.sensor(
    name="tenants",
    minimum_interval_seconds=4,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Adds a partition for every configured tenant and takes away those that are gone.",
)
def tenant_sensor(
    context: dg.SensorEvaluationContext,
    deployment: dg.ResourceParam[Deployment],
    store: dg.ResourceParam[Store],
) -> dg.SensorResult:
    """Compare the configured tenants with the partitions; the cursor remembers what the database was told."""
    directory = _followed(deployment, context.cursor)
    changes = _changes(context.instance, directory.tenants)
    check_partition_budget(len(directory.tenants), deployment.settings.dagster.partition_days)
    told = _digest(directory)
    if told != context.cursor or changes.add or changes.remove:
        store.tenants.sync(directory.tenants)
    return dg.SensorResult(
        dynamic_partitions_requests=_requests(changes), cursor=told, skip_reason=_said(changes, directory)
    )


def _followed(deployment: Deployment, told: str | None) -> TenantDirectory:
    """Return the tenants at once if they are not what was told; look for a while if they are."""
    clock = deployment.clock
    until = clock.monotonic() + LOOKING_SECONDS
    directory = deployment.latest_directory()
    while _digest(directory) == told and clock.monotonic() < until:
        clock.sleep(PAUSE_SECONDS)
        directory = deployment.latest_directory()
    return directory


def _changes(instance: dg.DagsterInstance, tenants: Sequence[Tenant]) -> PartitionChanges:
    order = instance.get_dynamic_partitions(TENANT)
    configured = insertion_order({tenant.id: tenant.tier for tenant in tenants})
    gone = set(order) - set(configured)
    return partition_changes(configured, order, _in_use(instance, order) if gone else ())


def _in_use(instance: dg.DagsterInstance, order: Sequence[str]) -> set[str]:
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
    return {tenant for run in runs for tenant in covered_tenants(run.tags, order)}


def _requests(
    changes: PartitionChanges,
) -> list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
    add = [TENANTS.build_add_request(list(changes.add))] if changes.add else []
    return [*add, *([TENANTS.build_delete_request(list(changes.remove))] if changes.remove else [])]


def _digest(directory: TenantDirectory) -> str:
    rows: Iterable[str] = (f"{one.id} {one.name} {one.tier} {one.synthetic}" for one in directory.tenants)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def _said(changes: PartitionChanges, directory: TenantDirectory) -> str | None:
    """Say why nothing is asked for; bad tenant files are named, since their last good version is used."""
    if changes.add or changes.remove:
        return None
    waiting = f"; waiting for runs of {', '.join(changes.waiting)}" if changes.waiting else ""
    problems = f"; {len(directory.problems)} bad tenant files, see `collectors status`" if directory.problems else ""
    return f"{len(directory.tenants)} tenants have their partitions{waiting}{problems}"
