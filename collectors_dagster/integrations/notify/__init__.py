"""Where alerts leave the house: the log, and webhooks. One file per kind of target.

Names are loaded on first use, so that whoever only plans alerts does not load the HTTP client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collectors_dagster.integrations.notify.message import AlertMessage
    from collectors_dagster.integrations.notify.notifier import Notifier

__all__ = ["AlertMessage", "Notifier"]

_HOMES = {"AlertMessage": "message", "Notifier": "notifier"}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that holds it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
