"""What operators have ordered by hand: one line of JSON each, in ``<home>/logs/operator.log``."""

import getpass
import json
from pathlib import Path

from collectors_dagster.clock import Clock
from collectors_dagster.config import Settings
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.security.redaction import redactor_for


def operator_name() -> str:
    """Return the account that runs this process; under sudo that is root, and sudo's own log says who it was."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in many containers
        return "unknown"


class OperatorLog:
    """Writes orders down, so that somebody can find out later who gave them.

    Raises
    ------
    ConfigurationError
        If it cannot be written: an order that leaves no trace is not carried out.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._path: Path = settings.home / "logs" / "operator.log"
        self._redactor = redactor_for(settings)
        self._clock = clock
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:
            raise ConfigurationError(
                f"{self._path}: cannot be written ({error.strerror}), and what is ordered by hand must be noted there"
            ) from error

    def write(self, event: str, **values: object) -> None:
        """Write one line."""
        line = {"timestamp": self._clock.now().isoformat(), "level": "warning", "component": "operator", "event": event}
        with self._path.open("a", encoding="utf-8") as log:
            log.write(self._redactor.redact(json.dumps({**line, "operator": operator_name(), **values})) + "\n")
