"""Debug switches of the agent, which cost nothing while they are off: their libraries are loaded when one is on."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol

from collectors_dagster.clock import Clock
from collectors_dagster.config.settings_watcher import SettingsWatcher


class _Session(Protocol):
    def tick(self) -> None: ...

    def close(self) -> None: ...


class AgentDebug:
    """Follows ``debug.components.agent``; for the sampling thread.

    Parameters
    ----------
    gauges : callable
        Figures of the agent's own, added to the detailed metrics.
    """

    def __init__(self, watcher: SettingsWatcher, clock: Clock, gauges: Callable[[], Mapping[str, float]]) -> None:
        self._watcher, self._clock, self._gauges = watcher, clock, gauges
        self._session: _Session | None = None

    def tick(self) -> None:
        """Follow the switches and write what is due."""
        if self._session is None and self._wanted:
            module = import_module("collectors_dagster.monitoring.debug")
            self._session = module.DebugSession("agent", self._watcher, self._clock, self._gauges)
        if self._session is not None:
            self._session.tick()

    def close(self) -> None:
        """Stop what is on."""
        if self._session is not None:
            self._session.close()

    @property
    def _wanted(self) -> bool:
        switches = self._watcher.current().debug.of("agent")
        return switches.metrics or switches.profile or switches.memory
