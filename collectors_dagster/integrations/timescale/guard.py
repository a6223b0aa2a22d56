"""Policies before the database: what its errors say of its health, what may be repeated, and who is let in.

The circuit judges whole transactions: one that reached its end was good, one that lost its connection or never got one
was bad. A probe, though, is over as soon as it has a connection that answers: a bulk load that happens to be the probe
must not keep everybody else waiting for its end.

What is repeated: getting a connection, always, as nothing was done yet; and whole operations marked
:func:`~collectors_dagster.integrations.timescale.repeating.repeatable`, as long as no commit had begun.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from collectors_dagster.errors import (
    CircuitOpenError,
    IntegrationError,
    ServiceFailedError,
    ServiceUnreachableError,
)
from collectors_dagster.patterns.circuit_breaker import Outcome
from collectors_dagster.patterns.policies import Guards, Policies

T = TypeVar("T")

_OTHERS = "40"
"""SQLSTATEs that tell of other transactions, not of the server's health."""


def meaning(error: Exception) -> Outcome:
    """Return what an error says of the database's health.

    Only what keeps everybody from working is a failure: no connection, a lost one, no answer, no resources. Statements
    that took too long or were refused are answers. Errors that are not the database's say nothing.
    """
    if not isinstance(error, IntegrationError):
        return Outcome.IGNORED
    if isinstance(error, ServiceUnreachableError):
        return Outcome.FAILURE
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return (
        Outcome.FAILURE if isinstance(error, ServiceFailedError) and not state.startswith(_OTHERS) else Outcome.SUCCESS
    )


def worth_repeating(error: Exception) -> bool:
    """Say whether to repeat what was not done: also to wait for an open circuit, if it opens a probe in time."""
    if isinstance(error, ServiceUnreachableError | ServiceFailedError):
        return not error.outcome_unknown
    return isinstance(error, CircuitOpenError)


class DatabaseGuard:
    """The policies of one process before its database.

    Parameters
    ----------
    guards : Guards
        See :func:`database_guard`.
    repeats : bool
        Whether operations are repeated. Whoever comes again anyway, a sensor or the scorer, need not wait.
    """

    def __init__(self, guards: Guards, *, repeats: bool) -> None:
        self.breaker = guards.breaker
        self.bulkhead = guards.bulkhead
        self.limiter = guards.limiter
        self.answer_seconds = guards.timeout.seconds if guards.timeout is not None else None
        self._retry = guards.retry if repeats else None
        self._thread = threading.local()

    def repeated(self, operation: Callable[[], T]) -> T:
        """Call `operation`, again if need be; within another repetition only once: that one repeats the whole."""
        retry, thread = self._retry, self._thread
        if retry is None or getattr(thread, "repeating", False):
            return operation()
        thread.repeating = True
        try:
            return retry.call(operation)
        finally:
            thread.repeating = False


def database_guard(policies: Policies, *, repeats: bool) -> DatabaseGuard:
    """Return the guard that the settings describe for ``timescaledb``; one per process."""
    guards = policies.guards("timescaledb", classify=meaning, retry_on=worth_repeating)
    return DatabaseGuard(guards, repeats=repeats)
