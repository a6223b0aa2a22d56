"""What a stage is given: one tenant's turn in a run, and one tenant's day."""

from dataclasses import dataclass
from datetime import datetime

from assets.champions import Champions
from assets.recall import Recall
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import Window
from collectors_dagster.tenants import Tenant
from resources.deployment import Deployment
from resources.registry import Registry


@dataclass(frozen=True, slots=True)
class Tools:
    """What every stage of a run may use."""

    store: Store
    registry: Registry
    deployment: Deployment
    recall: Recall
    champions: Champions
    run_id: str


@dataclass(frozen=True, slots=True)
class TenantWork:
    """One tenant's turn in a run."""

    tools: Tools
    tenant: Tenant
    now: datetime


@dataclass(frozen=True, slots=True)
class TenantDay(TenantWork):
    """One tenant's day, `window`, which may not be over yet."""

    window: Window

    @property
    def elapsed(self) -> Window:
        """The whole minutes of the day that have happened."""
        now = max(self.now, self.window.start).replace(second=0, microsecond=0)
        return Window(self.window.start, min(self.window.end, now))

    @property
    def is_over(self) -> bool:
        """Whether the whole day has happened."""
        return self.now >= self.window.end
