"""Logs of every process: structured JSON in files, readable lines on a terminal.

Tenant, run and component travel in context variables (:func:`log_context`), so that a line written deep inside
carries them. Lines of libraries that use the standard library's logging take the same way.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog.types import EventDict, Processor

from collectors_dagster.config import Settings
from collectors_dagster.security.redaction import RedactingFormatter, redactor_for

_TOO_TALKATIVE = ("httpx", "httpcore", "urllib3", "watchfiles", "alembic", "matplotlib")


def configure_logging(component: str, settings: Settings) -> None:
    """Send this process' log lines to standard output, where the supervisor keeps and rotates them.

    Parameters
    ----------
    component : str
        Stands in every line.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_described(component),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    root = logging.getLogger()
    root.handlers[:] = [_handler(component, settings)]
    root.setLevel(settings.log.level.upper())
    for name in _TOO_TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


@contextmanager
def log_context(**names: str | None) -> Iterator[None]:
    """Add e.g. ``tenant`` and ``run`` to every line written inside; names without a value are left out."""
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in names.items() if value}):
        yield


def _described(component: str) -> list[Processor]:
    """Return what is added to each line, whoever wrote it, in whichever thread."""

    def add_component(logger: object, method: str, event: EventDict) -> EventDict:
        event.setdefault("component", component)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_component,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _handler(component: str, settings: Settings) -> logging.Handler:
    redactor = redactor_for(settings)
    handler = logging.StreamHandler(sys.stdout)
    lines = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_described(component),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redactor,  # whole values, before a renderer cuts them into text
            *_rendering(readable=sys.stdout.isatty()),
        ],
    )
    handler.setFormatter(RedactingFormatter(lines, redactor))
    return handler


def _rendering(*, readable: bool) -> list[Processor]:
    if readable:
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
