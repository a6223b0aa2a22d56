"""How models are trained: both on the same fortnight, both judged before they are registered."""

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets.shown import Metadata, table
from assets.work import TenantWork
from collectors_dagster.errors import InsufficientDataError
from collectors_dagster.records import Window

if TYPE_CHECKING:
    from collectors_dagster.frames import SignalFrame
    from collectors_dagster.integrations.mlflow import Gate, PublishedModel
    from collectors_dagster.models.training import TrainedDetector, TrainedForecaster

MEMORY_DAYS = 14
SEED = 20261122
"""One for all trainings, so that the same history gives the same model."""


def train_anomaly_model(work: TenantWork) -> Metadata:
    """Fit and judge a detector per host; known incidents are not learned."""
    from collectors_dagster.models.gates import anomaly_gate
    from collectors_dagster.models.training import train_detector

    threshold = work.tenant.system.anomaly_threshold

    def train() -> "TrainedDetector":
        return train_detector(
            work.tenant.id, _history(work), seed=SEED, mask=_incident_windows(work), threshold=threshold
        )

    return _trained(work, train, anomaly_gate)


def train_forecast_model(work: TenantWork) -> Metadata:
    """Fit and judge a forecaster per host."""
    from collectors_dagster.models.gates import forecast_gate
    from collectors_dagster.models.training import train_forecaster

    def train() -> "TrainedForecaster":
        return train_forecaster(work.tenant.id, _history(work), seed=SEED, mask=_incident_windows(work))

    return _trained(work, train, forecast_gate)


def _trained(work: TenantWork, train: "Callable[[], TrainedDetector | TrainedForecaster]", gate: "Gate") -> Metadata:
    """Train and register; a tenant that wants no models, or has no history yet, gets none and is told so."""
    if not work.tenant.system.ml_enabled:
        return {"note": dg.MetadataValue.text("Models are switched off for this tenant (ml_enabled: false).")}
    try:
        trained = train()
    except InsufficientDataError as error:
        return {"note": dg.MetadataValue.text(f"Nothing was trained: {error}")}
    with tempfile.TemporaryDirectory(prefix="collectors-model-") as scratch:
        trained.model.save(Path(scratch))
        published = work.tools.registry.publish(work.tenant.id, trained.package, Path(scratch), gate)
    return _shown(trained, published)


def _history(work: TenantWork) -> "dict[str, list[SignalFrame]]":
    tomorrow = Window.of_day(f"{work.now + timedelta(days=1):%Y-%m-%d}")
    past = work.tools.recall.past(work.tenant.id, tomorrow, MEMORY_DAYS)
    return {host: [frame] for host, frame in past.items()}


def _incident_windows(work: TenantWork) -> dict[str, list[Window]]:
    span = Window(work.now - timedelta(days=MEMORY_DAYS), work.now)
    windows: dict[str, list[Window]] = {}
    for incident in work.tools.store.incidents.list(work.tenant.id, span):
        window = Window(incident.opened_at, incident.resolved_at or work.now)
        windows.setdefault(incident.host, []).append(window)
    return windows


def _shown(trained: "TrainedDetector | TrainedForecaster", published: "PublishedModel") -> Metadata:
    package = trained.package
    return {
        "model": dg.MetadataValue.url(published.url),
        "version": dg.MetadataValue.text(published.version),
        "serves_as": dg.MetadataValue.text(published.alias),
        "not_promoted_because": dg.MetadataValue.text("; ".join(published.reasons) or "it was promoted"),
        "history": dg.MetadataValue.text(f"{package.tags['window_start']} to {package.tags['window_end']}"),
        "metrics": table(
            ("metric", "value"), [(name, f"{value:.4g}") for name, value in package.metrics.items()], empty="None."
        ),
        "card": dg.MetadataValue.md(package.card),
    }
