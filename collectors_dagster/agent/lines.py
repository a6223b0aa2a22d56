"""The agent's log: one JSON object per line, as the platform's other processes write; readable on a terminal.

Written here, because the libraries that the others use for it would be a tenth of the agent's memory.
"""

import json
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from collectors_dagster.logs import get_logger, send_lines_to
from collectors_dagster.security.redaction import Redactor

log = get_logger("agent")

LEVELS = ("debug", "info", "warning", "error")


class Lines:
    """Writes log lines to a stream; for any thread.

    Parameters
    ----------
    level : callable
        Returns the least important level that is written, at this moment.
    """

    def __init__(self, component: str, stream: TextIO, redactor: Redactor, level: Callable[[], str]) -> None:
        self._component = component
        self._stream = stream
        self._redactor = redactor
        self._level = level
        self._readable = stream.isatty()

    def __call__(self, name: str, level: str, event: str, values: dict[str, Any]) -> None:
        """Write one line, without secrets."""
        shown = "error" if level == "exception" else level
        if LEVELS.index(shown) < LEVELS.index(self._level()):
            return
        line: dict[str, Any] = {**values, "event": event, "component": self._component, "level": shown, "logger": name}
        line["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        if level == "exception":
            line["exception"] = traceback.format_exc().rstrip()
        safe = self._redactor.redact_value(line)
        text = _for_people(safe) if self._readable else json.dumps(safe, default=repr)
        with suppress(OSError):  # on a full disk sampling goes on; the status tells of it
            self._stream.write(self._redactor.redact(text) + "\n")
            self._stream.flush()


def _for_people(line: dict[str, Any]) -> str:
    said = {name: value for name, value in line.items() if name not in ("event", "level", "timestamp", "exception")}
    del said["component"]
    pairs = " ".join(f"{name}={value!r}" for name, value in said.items())
    trace = f"\n{line['exception']}" if "exception" in line else ""
    return f"{line['timestamp']} [{line['level']:7}] {line['event']:40} {pairs}{trace}"


def write_lines(component: str, redactor: Redactor, level: Callable[[], str]) -> None:
    """Send this process' log lines to standard output; what ends a thread or the process uncaught is one too."""
    send_lines_to(Lines(component, sys.stdout, redactor, level))
    sys.excepthook = _ended
    threading.excepthook = _thread_ended


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        _tell("ended by an error", error)


def _thread_ended(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and not issubclass(told.exc_type, SystemExit):
        _tell("a thread was ended by an error", told.exc_value, thread=told.thread.name if told.thread else "")


def _tell(event: str, error: BaseException, **values: str) -> None:
    log.error(event, exception="".join(traceback.format_exception(error)).rstrip(), **values)
