"""Lines for the log, whoever writes it: structlog by default, something smaller where memory is counted.

Rooms that run in the agent, too, take their loggers from here: the agent lives on every host, and the library for logs
would be a tenth of its memory. ``monitoring.logging`` sets up the one, ``agent.lines`` the other.
"""

from collections.abc import Callable
from typing import Any

Write = Callable[[str, str, str, dict[str, Any]], None]
"""Takes the logger's name, the level (``exception`` too, inside a handler), the event and its values."""


def _to_structlog(name: str, level: str, event: str, values: dict[str, Any]) -> None:
    import structlog  # noqa: PLC0415 - whoever sends lines elsewhere does not load it

    getattr(structlog.get_logger(name), level)(event, **values)


_write: Write = _to_structlog


def send_lines_to(write: Write) -> None:
    """Let all lines of this process go to `write`."""
    global _write  # noqa: PLW0603 - where a process' log goes is a property of the process
    _write = write


class Logger:
    """Writes events with their values; the names of the methods are structlog's."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **values: Any) -> None:
        """Write what only somebody who searches wants to know."""
        _write(self._name, "debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        """Write what is as it should be."""
        _write(self._name, "info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        """Write what somebody should look at."""
        _write(self._name, "warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        """Write what went wrong."""
        _write(self._name, "error", event, values)

    def exception(self, event: str, **values: Any) -> None:
        """Write what went wrong, with the exception that is being handled."""
        _write(self._name, "exception", event, values)


def get_logger(name: str) -> Logger:
    """Return the logger of a part of the program.

    Examples
    --------
    >>> seen = []
    >>> send_lines_to(lambda *line: seen.append(line))
    >>> get_logger("spool").info("segment closed", bytes=10)
    >>> send_lines_to(_to_structlog)
    >>> seen
    [('spool', 'info', 'segment closed', {'bytes': 10})]
    """
    return Logger(name)
