"""New incident events become alerts."""

import dagster as dg

from collectors_dagster.integrations.timescale import Store
from resources.deployment import Deployment


@dg.sensor(
    name="anomalies",
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Turns new incident events of the live scorer into alerts: one per incident and target, updated and resolved.",
)
def anomaly_sensor(
    context: dg.SensorEvaluationContext,
    deployment: dg.ResourceParam[Deployment],
    store: dg.ResourceParam[Store],
) -> dg.SensorResult:
    """Deliver what happened after the cursor."""
    return dg.SensorResult(cursor=context.cursor)
