"""New incident events become alerts."""

import dagster as dg

from collectors_dagster.integrations.timescale import Store
from resources.deployment import Deployment
from resources.notifier import Outbox


@dg.sensor(
    name="anomalies",
    minimum_interval_seconds=9,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Turns the live scorer's incident events into alerts: one per incident and target, updated, resolved.",
)
def anomaly_sensor(
    context: dg.SensorEvaluationContext,
    deployment: dg.ResourceParam[Deployment],
    store: dg.ResourceParam[Store],
    outbox: dg.ResourceParam[Outbox],
) -> dg.SensorResult:
    """Deliver what happened after the cursor; the ledger in the store keeps anything from being said twice."""
    from collectors_dagster.monitoring.alerting import deliver_alerts

    report = deliver_alerts(
        store,
        deployment.directory().tenants,
        int(context.cursor or 0),
        sender=outbox,
        clock=deployment.clock,
    )
    said = f"{report.events} new events, {report.delivered} alerts delivered"
    if report.failed or report.waiting:
        said += f", {report.failed} failed, {report.waiting} waiting: they are tried again"
    return dg.SensorResult(cursor=str(report.cursor), skip_reason=said)
