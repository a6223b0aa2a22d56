"""The champion models of a tenant."""

from typing import TYPE_CHECKING

from assets.work import TenantWork

if TYPE_CHECKING:
    from collectors_dagster.models.anomaly import TenantDetector
    from collectors_dagster.models.forecast import TenantForecaster

ANOMALY = "anomaly"
FORECAST = "forecast"
UNTRAINED = "untrained"


def detector_of(work: TenantWork) -> "TenantDetector":
    """Return the champion detector; before the first training one that knows only physical limits."""
    from collectors_dagster.models.anomaly import TenantDetector

    champion = work.tools.registry.champion(work.tenant.id, ANOMALY)
    return TenantDetector.load(champion.path, champion.version) if champion else TenantDetector({}, UNTRAINED)


def forecaster_of(work: TenantWork) -> "tuple[TenantForecaster, str]":
    """Return the champion forecaster and its version; before the first training one that knows only recent minutes."""
    from collectors_dagster.models.forecast import TenantForecaster

    champion = work.tools.registry.champion(work.tenant.id, FORECAST)
    if champion is None:
        return TenantForecaster({}), UNTRAINED
    return TenantForecaster.load(champion.path), champion.version
