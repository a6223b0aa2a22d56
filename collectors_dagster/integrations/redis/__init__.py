"""Shared state in Redis: standalone, behind Sentinel, or a Redis Cluster.

The steps' Lua halves lie in ``scripts/``. Nothing here decides what to do without Redis: whatever goes wrong is one
error, :class:`~collectors_dagster.errors.SharedStateUnavailableError`, and it comes fast.

Names are loaded on first use, so that whoever only names the store does not load the driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collectors_dagster.integrations.redis.factory import look_around, reporting_store, shared_store
    from collectors_dagster.integrations.redis.store import RedisStore

__all__ = ["RedisStore", "look_around", "reporting_store", "shared_store"]

_HOMES = {"RedisStore": "store", "look_around": "factory", "reporting_store": "factory", "shared_store": "factory"}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that holds it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
