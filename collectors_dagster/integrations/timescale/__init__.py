"""The store: PostgreSQL (and later TimescaleDB), with its SQL in ``sql/``.

:class:`Store` is the platform's side; :class:`DeliveryStore` is the agent's and needs no numpy. Names
are loaded on first use, so that importing one side does not load the other.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collectors_dagster.integrations.timescale.delivery import (
        Delivered,
        DeliveryBatch,
        DeliveryNote,
        DeliveryResult,
        DeliveryStore,
    )
    from collectors_dagster.integrations.timescale.migrations import MigrationReport, migrate, status
    from collectors_dagster.integrations.timescale.store import Store

__all__ = [
    "Delivered",
    "DeliveryBatch",
    "DeliveryNote",
    "DeliveryResult",
    "DeliveryStore",
    "MigrationReport",
    "Store",
    "migrate",
    "status",
]

_HOMES = {
    "Delivered": "delivery",
    "DeliveryBatch": "delivery",
    "DeliveryNote": "delivery",
    "DeliveryResult": "delivery",
    "DeliveryStore": "delivery",
    "MigrationReport": "migrations",
    "Store": "store",
    "migrate": "migrations",
    "status": "migrations",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that holds it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
