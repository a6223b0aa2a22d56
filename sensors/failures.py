"""Failed runs and failed tenants become alerts."""

import dagster as dg

from resources.deployment import Deployment


@dg.run_failure_sensor(
    name="failures",
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports failed runs, and the tenants that failed in them, to the tenants' alert targets.",
)
def failure_sensor(context: dg.RunFailureSensorContext) -> None:
    """Report one failed run, unless Dagster will try it again."""
