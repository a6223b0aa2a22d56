"""Models: trained per tenant on what its hosts did, evaluated, and handed to the registry."""

from collections.abc import Iterator

import dagster as dg

from assets.batch import Event, serve_batch
from assets.catalog import declared
from assets.champions import Champions
from assets.partitions import TENANTS
from assets.recall import Recall
from assets.training import train_anomaly_model, train_forecast_model
from assets.work import TenantWork, Tools
from collectors_dagster.integrations.timescale import Store
from resources.deployment import Deployment
from resources.registry import Registry

STAGES = {"anomaly_model": train_anomaly_model, "forecast_model": train_forecast_model}

SPECS = [
    declared(
        "anomaly_model",
        TENANTS,
        group="models",
        description="The tenant's detectors, one per host, trained on the last 14 days, evaluated with planted "
        "anomalies and registered in MLflow; the better of champion and challenger serves.",
        deps=["feature_table"],
        kinds={"mlflow", "scikitlearn"},
    ),
    declared(
        "forecast_model",
        TENANTS,
        group="models",
        description="The tenant's forecasters, one per host, backtested and registered in MLflow.",
        deps=["feature_table"],
        kinds={"mlflow", "scikitlearn"},
    ),
]


@dg.multi_asset(
    name="tenant_models",
    specs=SPECS,
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def tenant_models(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    registry: dg.ResourceParam[Registry],
    deployment: dg.ResourceParam[Deployment],
) -> Iterator[Event]:
    """Train for every tenant of the run."""
    tools = Tools(store, registry, deployment, Recall(store), Champions(registry), context.run.run_id)
    clock = deployment.clock

    def work(tenant_id: str) -> TenantWork:
        return TenantWork(tools, deployment.directory().find(tenant_id), clock.now())

    yield from serve_batch(context, STAGES, work, deployment)
