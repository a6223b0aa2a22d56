"""Everything Dagster loads, wired. The only file of the core that knows Dagster."""

from collections.abc import Mapping

import dagster as dg

from assets.chain import tenant_day_chain
from assets.checks import CHECKS
from assets.jobs import JOBS
from assets.models import tenant_models
from assets.partitions import check_partition_budget
from assets.spotify import tenant_spotify, tenant_spotify_day
from assets.spotify_checks import SPOTIFY_CHECKS
from assets.upkeep import compression, event_log, tenant_retention
from collectors_dagster.config.tenants import tenant_directory
from resources.deployment import deployment_resource, local_deployment
from resources.notifier import outbox_resource
from resources.registry import registry_resource
from resources.shared_state import shared_state_resource
from resources.spotify import spotify_resource
from resources.store import store_resource
from sensors.anomalies import anomaly_sensor
from sensors.champions import champion_sensor
from sensors.failures import failure_sensor
from sensors.schedules import SCHEDULES
from sensors.spotify import SPOTIFY_SCHEDULES, spotify_resume_sensor
from sensors.tenants import tenant_sensor

RESOURCES: Mapping[str, object] = {
    "deployment": deployment_resource,
    "store": store_resource,
    "registry": registry_resource,
    "outbox": outbox_resource,
    "shared_state": shared_state_resource,
    "spotify": spotify_resource,
}


def composed(resources: Mapping[str, object] = RESOURCES) -> dg.Definitions:
    """Return the definitions over `resources`, which take the place of ours: plain objects do, as in tests.

    Raises
    ------
    ConfigurationError
        If the configured tenants and days make more partitions than Dagster can show.
    """
    settings = local_deployment().settings
    # Counted, not read: every run is a process that loads this, and reading 50 files costs a tenth of a second.
    files = sum(1 for _ in tenant_directory(settings).glob("*.yml"))
    check_partition_budget(files, settings.dagster.partition_days)
    return dg.Definitions(
        assets=[
            *(tenant_day_chain, tenant_models, tenant_spotify, tenant_spotify_day),
            *(tenant_retention, compression, event_log),
        ],
        asset_checks=[*CHECKS, *SPOTIFY_CHECKS],
        jobs=JOBS,
        schedules=[*SCHEDULES, *SPOTIFY_SCHEDULES],
        sensors=[tenant_sensor, anomaly_sensor, champion_sensor, failure_sensor, spotify_resume_sensor],
        resources={**RESOURCES, **resources},
        # One step per run: a process of its own for each would double the cost of a run.
        executor=dg.in_process_executor,
    )


defs = composed()
