"""The settings as they are now, for what may change without a restart: log level and debug switches."""

from collectors_dagster.clock import Clock
from collectors_dagster.config.settings import Settings, settings_files
from collectors_dagster.config.watching import POLL_SECONDS, Fingerprint
from collectors_dagster.errors import ConfigurationError


class SettingsWatcher:
    """Follows the settings files. For one thread.

    Addresses, ports and directories that a process has already used stay as they were: only who asks again, sees
    a change. A bad file keeps the settings that were good and says so in `problems`.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._current = settings
        self._clock = clock
        self._fingerprint = Fingerprint(clock)
        self._fingerprint.changed(settings_files(settings))
        self._next_look = clock.monotonic()
        self._problems: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """One line per thing that is wrong with the files as they are; empty when all is well."""
        return self._problems

    def current(self) -> Settings:
        """Return the settings; the same object for as long as nothing changed."""
        if self._clock.monotonic() >= self._next_look:
            self._next_look = self._clock.monotonic() + POLL_SECONDS
            self._look()
        return self._current

    def _look(self) -> None:
        if not self._fingerprint.changed(settings_files(self._current)):
            return
        try:
            found = self._current.reload()
        except ConfigurationError as error:
            self._problems = tuple(f"{line}; keeping the settings as they were" for line in str(error).splitlines())
        else:
            self._problems = ()
            self._current = found if found != self._current else self._current
