"""A champion that is another one: noticed within a minute, and told where people look."""

import json

import dagster as dg
import structlog

from collectors_dagster.errors import IntegrationError
from collectors_dagster.monitoring.alias_moves import PREVIOUS, Move, moves
from resources.deployment import Deployment
from resources.registry import Registry

ASSETS = {"anomaly": "anomaly_model", "forecast": "forecast_model"}

_log = structlog.get_logger(__name__)


@dg.sensor(
    name="champions",
    minimum_interval_seconds=29,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notices that another version of a model serves, promoted by policy or by a person in MLflow.",
)
def champion_sensor(
    context: dg.SensorEvaluationContext,
    deployment: dg.ResourceParam[Deployment],
    registry: dg.ResourceParam[Registry],
) -> dg.SensorResult:
    """Compare the aliases with those of the last look; a move is an observation of the model's asset."""
    try:
        aliases = registry.aliases()
    except IntegrationError as error:
        return dg.SensorResult(cursor=context.cursor, skip_reason=str(error))
    seen = json.loads(context.cursor) if context.cursor else {}
    found, now = moves(seen, aliases, [tenant.id for tenant in deployment.directory().tenants])
    for move in found:
        _log.warning("champion moved", tenant=move.tenant_id, model=move.name, before=move.before, after=move.after)
        if move.by_person and move.before and move.after:
            _keep_way_back(registry, move)
    return dg.SensorResult(
        cursor=json.dumps(now, sort_keys=True),
        asset_events=[_observation(move, deployment) for move in found],
        skip_reason=None if found else f"{len(now)} models serve what they did",
    )


def _keep_way_back(registry: Registry, move: Move) -> None:
    """Point ``previous`` at what served before, as a promotion by the platform does: one move leads back."""
    try:
        registry.set_alias(move.name, PREVIOUS, str(move.before))
    except IntegrationError as error:  # the version was deleted, or MLflow is away again: the move counts all the same
        _log.warning("previous not kept", tenant=move.tenant_id, model=move.name, reason=str(error))


def _observation(move: Move, deployment: Deployment) -> dg.AssetObservation:
    base = deployment.settings.mlflow.tracking_uri.rstrip("/")
    page = f"{base}/#/models/{move.name}" + (f"/versions/{move.after}" if move.after else "")
    return dg.AssetObservation(
        ASSETS[move.kind],
        partition=move.tenant_id,
        description=move.text,
        metadata={
            "champion": dg.MetadataValue.text(move.after or "none"),
            "champion_before": dg.MetadataValue.text(move.before or "none"),
            "moved_by": dg.MetadataValue.text("a person, in MLflow" if move.by_person else "the platform"),
            "model": dg.MetadataValue.url(page),
        },
    )
