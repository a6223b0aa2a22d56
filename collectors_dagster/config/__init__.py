"""Settings and tenants: the one room that reads the environment and the files under ``config/``.

Whatever a stranger may have written is checked here, once; inside the project everything is valid. To add a
setting, write a field with unit, meaning and range in ``sections.py``; its variable, its row in ``docs/settings.md``
and its line in ``.env.example`` follow.

Names are loaded on first use: the agent takes its plan from here without the library that checks settings.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collectors_dagster.config.settings import Settings, load_settings

__all__ = ["Settings", "load_settings"]


def __getattr__(name: str) -> Any:
    """Load a public name from the module that holds it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from collectors_dagster.config import settings  # noqa: PLC0415 - see above

    return getattr(settings, name)
