"""The tenants' models."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from collectors_dagster.config.surroundings import process_environment
from collectors_dagster.records import ModelPackage
from resources.deployment import local_deployment
from resources.policies import policies_of_process

if TYPE_CHECKING:
    from collectors_dagster.integrations.mlflow import ChampionModel, Gate, ModelRegistry, PublishedModel, Wait
    from collectors_dagster.integrations.model_aliases import Aliases, ModelAliases
    from collectors_dagster.patterns.policies import Guards
    from collectors_dagster.patterns.policy import Policy


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

    def challenger(self, tenant_id: str, kind: str) -> "ChampionModel | None":
        """Return the tenant's challenger on this disk, or None if nothing challenges the champion."""
        return self._registry.challenger(tenant_id, kind, self._cache_dir)

    def publish(
        self, tenant_id: str, package: ModelPackage, bundle_dir: Path, gate: "Gate", wait: "Wait"
    ) -> "PublishedModel":
        """Log and register a trained model; `gate` says whether it may serve, `wait` whether at once."""
        return self._registry.publish(tenant_id, package, bundle_dir, gate=gate, wait=wait)

    def promote(self, tenant_id: str, kind: str, version: str) -> None:
        """Let a version serve from now on."""
        self._registry.promote(tenant_id, kind, version)

    def reject(self, tenant_id: str, kind: str, version: str, reasons: Sequence[str]) -> None:
        """Note why a challenger does not replace the champion."""
        self._registry.reject(tenant_id, kind, version, reasons)

    def note(
        self,
        tenant_id: str,
        kind: str,
        version: str,
        *,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        at: datetime,
    ) -> None:
        """Write down what became known of a version on a day."""
        self._registry.note(tenant_id, kind, version, tags, metrics, at=int(at.timestamp()))

    def prune(self, tenant_id: str, kind: str, keep: int) -> list[str]:
        """Delete old versions without an alias; return them."""
        return self._registry.prune(tenant_id, kind, keep)

    def aliases(self) -> "Aliases":
        """Return every model's aliases; MLflow's client is not loaded for it."""
        return _once().call(self._aliases.all)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version, in the same way."""
        _once().call(self._aliases.set, name, alias, version)

    @cached_property
    def _aliases(self) -> "ModelAliases":
        from collectors_dagster.integrations.model_aliases import ModelAliases

        return ModelAliases(self._tracking_uri, process_environment())

    @cached_property
    def _registry(self) -> "ModelRegistry":
        from collectors_dagster.integrations.mlflow import ModelRegistry

        return ModelRegistry(self._tracking_uri, _guards())


@cache
def _guards() -> "Guards":
    from collectors_dagster.integrations.mlflow import guarded_by

    return guarded_by(policies_of_process())


@cache
def _once() -> "Policy":
    """Return the policies of a tick: nothing is repeated, the next tick will."""
    return policies_of_process().guards("mlflow").once


@dg.resource(description="The tenants' models in MLflow.")
def registry_resource(context: dg.InitResourceContext) -> Registry:
    """Return the registry; it holds no connection between calls."""
    settings = local_deployment().settings
    return Registry(settings.mlflow.tracking_uri, settings.home / "models")
