"""Deadline: one budget of time that every wait, every retry and every question to shared state respects.

Whoever is asked for something within five seconds says so once; what is called below need not be told. No wait is
begun that would end after it, a question to shared state waits no longer than it lasts, and when it is over nobody asks
shared state any more. (gRPC calls this deadline propagation.) It does not stop code that computes: that is
:class:`~collectors_dagster.patterns.policy.Timeout`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from collectors_dagster.clock import Clock, SystemClock
from collectors_dagster.errors import DeadlineExceededError

_SYSTEM_CLOCK = SystemClock()
_BUDGET: ContextVar[tuple[float, Clock] | None] = ContextVar("deadline", default=None)
deadline_set = _BUDGET.get
"""Return something if there is a deadline, else ``None``: for those whom a call more would cost too much."""


@contextmanager
def deadline(seconds: float, *, clock: Clock = _SYSTEM_CLOCK) -> Iterator[None]:
    """Allow the body so many seconds, or what an outer deadline leaves of them.

    Examples
    --------
    >>> with deadline(5.0):
    ...     with deadline(60.0):
    ...         remaining_seconds() <= 5.0
    True
    >>> remaining_seconds()
    inf
    """
    if not seconds > 0:
        raise ValueError(f"a deadline lies ahead: seconds must be above 0, not {seconds}")
    token = _BUDGET.set((clock.monotonic() + min(seconds, remaining_seconds()), clock))
    try:
        yield
    finally:
        _BUDGET.reset(token)


@contextmanager
def beyond_deadline() -> Iterator[None]:
    """Let the body do what is done however late it is: a report of what happened, or something given back.

    Examples
    --------
    >>> with deadline(5.0), beyond_deadline():
    ...     remaining_seconds()
    inf
    """
    token = _BUDGET.set(None)
    try:
        yield
    finally:
        _BUDGET.reset(token)


def remaining_seconds() -> float:
    """Return the seconds left, never negative; infinity without a deadline."""
    budget = _BUDGET.get()
    return math.inf if budget is None else max(0.0, budget[0] - budget[1].monotonic())


def check_wait(seconds: float) -> None:
    """Refuse a wait that would end after the deadline.

    Raises
    ------
    DeadlineExceededError
        Before any of it was waited.
    """
    if _BUDGET.get() is not None and seconds >= (left := remaining_seconds()):
        raise DeadlineExceededError(f"a wait of {seconds:.3g} s does not fit into the {left:.3g} s that are left")
