"""Settings and tenants: the one room that reads the environment and the files under ``config/``.

Whatever a stranger may have written is checked here, once; inside the project everything is valid. To add a
setting, write a field with unit, meaning and range in ``sections.py``; its variable, its row in ``docs/settings.md``
and its line in ``.env.example`` follow.
"""

from collectors_dagster.config.settings import Settings, load_settings

__all__ = ["Settings", "load_settings"]
