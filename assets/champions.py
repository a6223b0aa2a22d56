"""The champion models of a tenant, as a run serves with them."""

from typing import TYPE_CHECKING

from resources.registry import Registry

if TYPE_CHECKING:
    from collectors_dagster.models.anomaly import TenantDetector
    from collectors_dagster.models.forecast import TenantForecaster

ANOMALY = "anomaly"
FORECAST = "forecast"
UNTRAINED = "untrained"


class Champions:
    """One tenant's champions at a time, asked for and loaded once: a run over many days uses the same for all."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._tenant = ""
        self._detector: TenantDetector | None = None
        self._forecaster: tuple[TenantForecaster, str] | None = None

    def detector(self, tenant_id: str) -> "TenantDetector":
        """Return the champion detector; before the first training one that knows only physical limits."""
        self._turn_to(tenant_id)
        if self._detector is None:
            self._detector = self._load_detector(tenant_id)
        return self._detector

    def forecaster(self, tenant_id: str) -> "tuple[TenantForecaster, str]":
        """Return the champion forecaster and its version; before the first training one of recent minutes only."""
        self._turn_to(tenant_id)
        if self._forecaster is None:
            self._forecaster = self._load_forecaster(tenant_id)
        return self._forecaster

    def _turn_to(self, tenant_id: str) -> None:
        if tenant_id != self._tenant:
            self._tenant, self._detector, self._forecaster = tenant_id, None, None

    def _load_detector(self, tenant_id: str) -> "TenantDetector":
        from collectors_dagster.models.anomaly import TenantDetector

        champion = self._registry.champion(tenant_id, ANOMALY)
        return TenantDetector.load(champion.path, champion.version) if champion else TenantDetector({}, UNTRAINED)

    def _load_forecaster(self, tenant_id: str) -> "tuple[TenantForecaster, str]":
        from collectors_dagster.models.forecast import TenantForecaster

        champion = self._registry.champion(tenant_id, FORECAST)
        if champion is None:
            return TenantForecaster({}), UNTRAINED
        return TenantForecaster.load(champion.path), champion.version
