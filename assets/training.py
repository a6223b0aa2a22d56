"""How models are trained: both on the same fortnight, both judged before they are registered."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets.shown import Metadata, table
from assets.work import TenantWork
from collectors_dagster.errors import InsufficientDataError
from collectors_dagster.patterns.metrics import process_metrics
from collectors_dagster.records import Window

if TYPE_CHECKING:
    from collectors_dagster.frames import SignalFrame
    from collectors_dagster.integrations.mlflow import Gate, PublishedModel, Wait
    from collectors_dagster.models.training import TrainedDetector, TrainedForecaster
    from collectors_dagster.monitoring.feedback import TrainingWindows

MEMORY_DAYS = 14
SEED = 20261122
"""One for all trainings, so that the same history gives the same model."""


def train_anomaly_model(work: TenantWork) -> Metadata:
    """Fit and judge a detector per host; known incidents are not learned."""
    from collectors_dagster.models.gates import anomaly_gate, waits_for
    from collectors_dagster.models.training import train_detector

    threshold, windows = work.tenant.system.anomaly_threshold, _windows(work)

    def train() -> "TrainedDetector":
        return train_detector(
            work.tenant.id,
            _history(work, windows.real),
            seed=SEED,
            mask=windows.masked,
            normal=windows.normal,
            threshold=threshold,
        )

    promotion = work.tools.deployment.settings.mlflow.promotion
    return _trained(work, train, anomaly_gate, partial(waits_for, promotion))


def train_forecast_model(work: TenantWork) -> Metadata:
    """Fit and judge a forecaster per host."""
    from collectors_dagster.models.gates import forecast_gate, waits_for
    from collectors_dagster.models.training import train_forecaster

    windows = _windows(work)

    def train() -> "TrainedForecaster":
        return train_forecaster(work.tenant.id, _history(work, windows.real), seed=SEED, mask=windows.masked)

    # Forecasts are tried in their backtest, on what came; there is no other trial than the gate's.
    promotion = "review" if work.tools.deployment.settings.mlflow.promotion == "review" else "gate"
    return _trained(work, train, forecast_gate, partial(waits_for, promotion))


def _trained(
    work: TenantWork, train: "Callable[[], TrainedDetector | TrainedForecaster]", gate: "Gate", wait: "Wait"
) -> Metadata:
    """Train and register; a tenant that wants no models, or has no history yet, gets none and is told so."""
    if not work.tenant.system.ml_enabled:
        return {"note": dg.MetadataValue.text("Models are switched off for this tenant (ml_enabled: false).")}
    clock = work.tools.deployment.clock
    started = clock.monotonic()
    try:
        trained = train()
    except InsufficientDataError as error:
        return {"note": dg.MetadataValue.text(f"Nothing was trained: {error}")}
    seconds = clock.monotonic() - started
    process_metrics().observe("ml_model_training_duration_seconds", trained.package.kind, value=seconds)
    with tempfile.TemporaryDirectory(prefix="collectors-model-") as scratch:
        trained.model.save(Path(scratch))
        published = work.tools.registry.publish(work.tenant.id, trained.package, Path(scratch), gate, wait)
    kept = work.tools.deployment.settings.mlflow.kept_versions
    deleted = work.tools.registry.prune(work.tenant.id, trained.package.kind, kept)
    return {
        **_shown(trained, published, seconds),
        "versions_deleted": dg.MetadataValue.text(", ".join(deleted) or "none"),
    }


def _history(work: TenantWork, real: "Mapping[str, Sequence[Window]]") -> "dict[str, list[SignalFrame]]":
    """Return every host's minutes; those that a person called a real incident are blank in them."""
    from collectors_dagster.features.timeline import joined

    tomorrow = Window.of_day(f"{work.now + timedelta(days=1):%Y-%m-%d}")
    past = work.tools.recall.past(work.tenant.id, tomorrow, MEMORY_DAYS)
    return {
        host: [joined([frame], days=MEMORY_DAYS).without(real[host]).frame(host) if host in real else frame]
        for host, frame in past.items()
    }


def _windows(work: TenantWork) -> "TrainingWindows":
    from collectors_dagster.monitoring.feedback import training_windows

    span, tenant_id = Window(work.now - timedelta(days=MEMORY_DAYS), work.now), work.tenant.id
    store = work.tools.store
    return training_windows(store.incidents.list(tenant_id, span), store.feedback.list(tenant_id, span), work.now)


def _shown(trained: "TrainedDetector | TrainedForecaster", published: "PublishedModel", seconds: float) -> Metadata:
    package = trained.package
    return {
        "model": dg.MetadataValue.url(published.url),
        "version": dg.MetadataValue.text(published.version),
        "serves_as": dg.MetadataValue.text(published.alias or "nothing: another version is on trial"),
        "not_promoted_because": dg.MetadataValue.text("; ".join(published.reasons) or "it was promoted"),
        "history": dg.MetadataValue.text(f"{package.tags['window_start']} to {package.tags['window_end']}"),
        "training_seconds": dg.MetadataValue.float(round(seconds, 3)),
        "metrics": table(
            ("metric", "value"), [(name, f"{value:.4g}") for name, value in package.metrics.items()], empty="None."
        ),
        "card": dg.MetadataValue.md(package.card),
    }
