"""SIGHUP: settings and tenants are read at once, and the log says what came of it."""

import threading

from collectors_dagster.config import Settings
from collectors_dagster.config.settings_watcher import SettingsWatcher, changed_settings
from collectors_dagster.config.tenants import TenantWatcher
from collectors_dagster.logs import get_logger

log = get_logger("agent")

FOLLOWED = ("log.level", "debug.components")
"""Settings that hold from the next moment on; everything else is read when the agent starts."""


class Reload:
    """Reads everything anew when asked. :meth:`tick` belongs to the thread that owns the settings watcher.

    Parameters
    ----------
    asked : threading.Event
        Set it to ask; a signal handler may.
    running : Settings
        What the agent was started with.
    """

    def __init__(
        self, asked: threading.Event, running: Settings, settings: SettingsWatcher, tenants: TenantWatcher
    ) -> None:
        self._asked = asked
        self._running = running
        self._settings = settings
        self._tenants = tenants

    def tick(self) -> bool:
        """Reload if asked; return whether it was."""
        if not self._asked.is_set():
            return False
        self._asked.clear()
        self._settings.hurry()
        self._tenants.hurry()  # the delivery's thread reads them within its next turn
        self._tell(self._settings.current())
        return True

    def _tell(self, found: Settings) -> None:
        problems = self._settings.problems
        changed = changed_settings(self._running, found)
        waiting = [name for name in changed if name not in FOLLOWED]
        log.info("settings and tenants read again", differing_from_start=list(changed), problems=len(problems))
        if waiting:
            log.warning("these settings hold after a restart", settings=waiting, remedy="restart the agent")
