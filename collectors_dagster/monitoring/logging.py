"""Logs of every process: structured JSON in files, readable lines on a terminal.

Tenant, run and component travel in context variables (:func:`log_context`), so that a line written deep inside
carries them. Lines of libraries that use the standard library's logging take the same way.
"""

import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from collectors_dagster.config import Settings
from collectors_dagster.monitoring.structured import structlog
from collectors_dagster.security.redaction import Redactor, redactor_for

if TYPE_CHECKING:
    from structlog.types import EventDict, Processor

_TOO_TALKATIVE = ("httpx", "httpcore", "urllib3", "watchfiles", "alembic", "matplotlib")


def configure_logging(component: str, settings: Settings, run: str | None = None) -> None:
    """Send this process' log lines to standard output, where the supervisor keeps and rotates them.

    What ends the process, or a thread, without being caught is a line too.

    Parameters
    ----------
    component, run : str
        Stand in every line; `run` if the process is one run's.
    """
    always = {"component": component} | ({"run": run} if run else {})
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_described(always),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    root = logging.getLogger()
    root.handlers[:] = [_handler(always, settings)]
    root.setLevel(settings.log.level.upper())
    for name in _TOO_TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


class RedactingFormatter(logging.Formatter):
    """Removes secrets from what another formatter made of a record: message, arguments and traceback."""

    def __init__(self, inner: logging.Formatter, redactor: Redactor) -> None:
        super().__init__()
        self._inner = inner
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return the redacted line."""
        return self._redactor.redact(self._inner.format(record))


@contextmanager
def log_context(**names: str | None) -> Iterator[None]:
    """Add e.g. ``tenant`` and ``run`` to every line written inside; names without a value are left out."""
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in names.items() if value}):
        yield


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        structlog.get_logger().critical("ended by an error", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and not issubclass(told.exc_type, SystemExit):
        name = told.thread.name if told.thread else ""
        trouble = (told.exc_type, told.exc_value, told.exc_traceback)
        structlog.get_logger().critical("a thread was ended by an error", thread=name, exc_info=trouble)


def _described(always: Mapping[str, str]) -> "list[Processor]":
    """Return what is added to each line, whoever wrote it, in whichever thread."""

    def add_names(logger: object, method: str, event: "EventDict") -> "EventDict":
        for name, value in always.items():
            event.setdefault(name, value)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_names,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _handler(always: Mapping[str, str], settings: Settings) -> logging.Handler:
    redactor = redactor_for(settings)
    handler = logging.StreamHandler(sys.stdout)
    lines = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_described(always),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redactor,  # whole values, before a renderer cuts them into text
            *_rendering(readable=sys.stdout.isatty()),
        ],
    )
    handler.setFormatter(RedactingFormatter(lines, redactor))
    return handler


def _rendering(*, readable: bool) -> "list[Processor]":
    if readable:
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
