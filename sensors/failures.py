"""Failed runs and failed tenants become alerts: one per tenant, to its own targets."""

from collections.abc import Mapping, Sequence
from datetime import UTC

import dagster as dg
import structlog

from assets.batch import FAILED_PARTITIONS
from assets.partitions import TENANT
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import RunFailure
from resources.deployment import Deployment
from resources.notifier import Outbox
from sensors.ranges import covered_tenants

WILL_RETRY = "dagster/will_retry"

_log = structlog.get_logger(__name__)


@dg.run_failure_sensor(
    name="failures",
    minimum_interval_seconds=29,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports failed runs to the alert targets of the tenants that failed in them.",
)
def failure_sensor(
    context: dg.RunFailureSensorContext,
    deployment: dg.ResourceParam[Deployment],
    store: dg.ResourceParam[Store],
    outbox: dg.ResourceParam[Outbox],
) -> dg.SkipReason | None:
    """Report one failed run, unless Dagster is going to try it again."""
    run = context.dagster_run
    if run.tags.get(WILL_RETRY) == "true":
        return dg.SkipReason(f"run {run.run_id} failed and is tried again")
    steps = context.get_step_failure_events()
    order = context.instance.get_dynamic_partitions(TENANT)
    reasons = _failed_partitions(steps) or dict.fromkeys(covered_tenants(run.tags, order), "")
    told = _by_tenant(reasons) or {}
    error = _message(context)
    _log.error("run failed", job=run.job_name, run_id=run.run_id, tenants=sorted(told), error=error)
    for tenant_id, reason in told.items():
        _tell(_failure(run, tenant_id, reason or error, deployment), deployment, store, outbox)
    return None


def _tell(failure: RunFailure, deployment: Deployment, store: Store, outbox: Outbox) -> None:
    from collectors_dagster.monitoring.alerting import deliver_failure

    tenants = deployment.directory().tenants
    deliver_failure(store, tenants, failure, sender=outbox, clock=deployment.clock)


def _failed_partitions(steps: Sequence[dg.DagsterEvent]) -> dict[str, str]:
    """Return partition -> reason of what our steps say failed; empty if a step died without a word."""
    found: dict[str, str] = {}
    for step in steps:
        said = step.step_failure_data.user_failure_data
        told = said.metadata.get(FAILED_PARTITIONS) if said else None
        if isinstance(told, dg.JsonMetadataValue) and isinstance(told.data, Mapping):
            found |= {str(partition): str(reason) for partition, reason in told.data.items()}
    return found


def _by_tenant(reasons: Mapping[str, str]) -> dict[str, str]:
    """Return tenant -> reason; of several days of one tenant, the last."""
    return {partition.split("|")[0]: reason for partition, reason in sorted(reasons.items())}


def _message(context: dg.RunFailureSensorContext) -> str:
    """Return the run's error in one line: what the step raised rather than that a step failed."""
    errors = [event.step_failure_data.error for event in context.get_step_failure_events()]
    causes = [error.cause or error for error in errors if error]
    text = causes[0].message if causes else context.failure_event.message or "the run failed without a message"
    return " ".join(text.split())


def _failure(run: dg.DagsterRun, tenant_id: str, error: str, deployment: Deployment) -> RunFailure:
    return RunFailure(
        tenant_id=tenant_id,
        key=f"{run.run_id}",
        run_id=run.run_id,
        what=run.job_name,
        error=error,
        at=deployment.clock.now().astimezone(UTC),
        url=f"{deployment.settings.dagster.webserver_url.rstrip('/')}/runs/{run.run_id}",
    )
