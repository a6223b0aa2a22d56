"""The tenants' models."""

from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from collectors_dagster.records import ModelPackage
from resources.deployment import local_deployment
from resources.policies import policies_of_process

if TYPE_CHECKING:
    from collectors_dagster.integrations.mlflow import ChampionModel, Gate, ModelRegistry, PublishedModel
    from collectors_dagster.patterns.policies import Guards


class Registry:
    """The model registry, imported and reached when it is first asked: MLflow costs seconds to import.

    Parameters
    ----------
    cache_dir
        Where champions are kept, one directory per version.
    """

    def __init__(self, tracking_uri: str, cache_dir: Path) -> None:
        self._tracking_uri = tracking_uri
        self._cache_dir = cache_dir

    def champion(self, tenant_id: str, kind: str) -> "ChampionModel | None":
        """Return the tenant's champion on this disk, or None before the first training."""
        return self._registry.champion(tenant_id, kind, self._cache_dir)

    def publish(self, tenant_id: str, package: ModelPackage, bundle_dir: Path, gate: "Gate") -> "PublishedModel":
        """Log and register a trained model; `gate` says whether it serves from now on."""
        return self._registry.publish(tenant_id, package, bundle_dir, gate=gate)

    @cached_property
    def _registry(self) -> "ModelRegistry":
        from collectors_dagster.integrations.mlflow import ModelRegistry

        return ModelRegistry(self._tracking_uri, _guards())


@cache
def _guards() -> "Guards":
    from collectors_dagster.integrations.mlflow import guarded_by

    return guarded_by(policies_of_process())


@dg.resource(description="The tenants' models in MLflow.")
def registry_resource(context: dg.InitResourceContext) -> Registry:
    """Return the registry; it holds no connection between calls."""
    settings = local_deployment().settings
    return Registry(settings.mlflow.tracking_uri, settings.home / "models")
