"""A tenant's day from collection to health and review, in one step.

One step for eight assets, because a run costs seconds and a step that serves fifty tenants costs them once; and
because a tenant that fails must not stop the others. Any subset can be launched. The models stand between
``feature_table`` and ``anomaly_scores`` in the graph, though they are trained by runs of their own: a day is scored
with the champion there is.
"""

from collections.abc import Iterator

import dagster as dg

from assets.aggregates import daily_metrics, hourly_metrics
from assets.batch import Event, serve_batch
from assets.catalog import declared
from assets.champions import Champions
from assets.collection import seal_collection
from assets.features import feature_rows
from assets.partitions import TENANT_DAY
from assets.recall import Recall
from assets.review import review_models
from assets.scoring import forecast_day, judge_health, score_day
from assets.work import TenantDay, Tools
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import Window
from resources.deployment import Deployment
from resources.registry import Registry

STAGES = {
    "collection_run": seal_collection,
    "metrics_hourly": hourly_metrics,
    "metrics_daily": daily_metrics,
    "feature_table": feature_rows,
    "anomaly_scores": score_day,
    "load_forecast": forecast_day,
    "health_report": judge_health,
    "model_review": review_models,
}

SPECS = [
    declared(
        "collection_run",
        TENANT_DAY,
        group="collection",
        description="The day's samples counted per host and source against what should have come: gaps, late rows, "
        "duplicates refused. The agent writes the samples all day; this asset keeps the books.",
        kinds={"postgres"},
    ),
    declared(
        "metrics_hourly",
        TENANT_DAY,
        group="aggregates",
        description="Count, sum, minimum, maximum, sum of squares and last value of every series and hour.",
        deps=["collection_run"],
        kinds={"postgres"},
    ),
    declared(
        "metrics_daily",
        TENANT_DAY,
        group="aggregates",
        description="The same figures per series and UTC day, from the hours.",
        deps=["metrics_hourly"],
        kinds={"postgres"},
    ),
    declared(
        "feature_table",
        TENANT_DAY,
        group="features",
        description="One row per host and minute: level, seasonal normal, residual, rate, roughness and missingness "
        "of fourteen signals. Causal: no row knows what came after it. Versioned.",
        deps=["collection_run"],
        kinds={"postgres", "numpy"},
    ),
    declared(
        "anomaly_scores",
        TENANT_DAY,
        group="scoring",
        description="A score 0..1 for every host and minute by the champion model, and the incidents it makes: the "
        "record to which the live scorer is compared. Never alerts.",
        deps=["feature_table", "anomaly_model"],
        kinds={"postgres", "scikitlearn"},
    ),
    declared(
        "load_forecast",
        TENANT_DAY,
        group="scoring",
        description="What the next 24 hours of every host will look like, with intervals of 80 and 95 %.",
        deps=["feature_table", "forecast_model"],
        kinds={"postgres", "numpy"},
    ),
    declared(
        "health_report",
        TENANT_DAY,
        group="scoring",
        description="Health of every host, 0 to 100, with the reasons for each missing point and what to do about it.",
        deps=["anomaly_scores", "load_forecast"],
        kinds={"postgres"},
    ),
    declared(
        "model_review",
        TENANT_DAY,
        group="models",
        description="The challenger beside the champion on a day that neither has seen: alerts, planted faults found, "
        "and how far the scores differ. After its shadow days it is promoted or rejected, as the settings say.",
        deps=["anomaly_scores", "anomaly_model"],
        kinds={"mlflow", "scikitlearn"},
    ),
]


@dg.multi_asset(
    name="tenant_day_chain",
    specs=SPECS,
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def tenant_day_chain(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    registry: dg.ResourceParam[Registry],
    deployment: dg.ResourceParam[Deployment],
) -> Iterator[Event]:
    """Serve every tenant and day of the run."""
    tools = Tools(store, registry, deployment, Recall(store), Champions(registry), context.run.run_id)
    yield from serve_batch(context, STAGES, lambda key: _work(tools, key), deployment)


def _work(tools: Tools, partition: str) -> TenantDay:
    tenant_id, day = partition.split("|")
    tenant = tools.deployment.directory().find(tenant_id)
    return TenantDay(tools, tenant, tools.deployment.clock.now(), Window.of_day(day))
