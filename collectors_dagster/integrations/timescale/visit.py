"""One operation's way to a connection and back, under the policies; errors of the driver leave it as ours."""

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg.rows import TupleRow

from collectors_dagster.errors import IntegrationError
from collectors_dagster.integrations.timescale.border import cause_to_show, translated
from collectors_dagster.integrations.timescale.pool import Pool

if TYPE_CHECKING:  # who is not guarded, a command say, does not load the policies
    from collectors_dagster.integrations.timescale.guard import DatabaseGuard
    from collectors_dagster.patterns.circuit_breaker import Ticket

Connection = psycopg.Connection[TupleRow]


class Visit:
    """A connection for the time of a ``with`` block.

    Attributes
    ----------
    committing : bool
        To be set before the commit is sent: what fails from then on may have been done.
    """

    __slots__ = ("_guard", "_operation", "_place", "_pool", "_ticket", "committing", "connection")

    connection: Connection

    def __init__(self, pool: Pool[Connection], operation: str, guard: "DatabaseGuard | None") -> None:
        self._pool = pool
        self._operation = operation
        self._guard = guard
        self._place: AbstractContextManager[None] | None = None
        self._ticket: Ticket | None = None
        self.committing = False

    def __enter__(self) -> Self:
        if self._guard is None:
            self.connection = self._taken()
        else:
            self._guard.repeated(self._admitted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.give_back(self.connection)
        ours = self._translated(error) if isinstance(error, psycopg.Error) else None
        if self._guard is not None:
            self._leave(self._guard, ours or error)
        if ours is not None:
            raise ours

    def _admitted(self) -> None:
        """Pass the circuit, wait for a turn and a place, get a connection that answers."""
        guard = self._guard
        assert guard is not None
        ticket = guard.breaker.begin()
        try:
            if guard.limiter is not None:
                guard.limiter.call(_nothing)
            place = guard.bulkhead.protect()
            place.__enter__()
            try:
                self.connection = self._taken()
            except BaseException:
                place.__exit__(*sys.exc_info())
                raise
        except BaseException as error:
            guard.breaker.failed(ticket, error)
            raise
        self._place = place
        if ticket[0].probe:
            guard.breaker.finish(ticket)
        else:
            self._ticket = ticket

    def _leave(self, guard: "DatabaseGuard", error: BaseException | None) -> None:
        if self._place is not None:
            self._place.__exit__(None, None, None)
        if self._ticket is None:
            return
        if error is None:
            guard.breaker.finish(self._ticket)
        else:
            guard.breaker.failed(self._ticket, error)

    def _taken(self) -> Connection:
        try:
            return self._pool.take(self._operation)
        except psycopg.Error as error:
            raise self._translated(error) from cause_to_show(error)

    def _translated(self, error: psycopg.Error) -> Exception:
        ours = translated(error, self._operation)
        ours.__cause__ = cause_to_show(error)  # the circuit looks at it, before anything is raised
        ours.__suppress_context__ = True
        if self.committing and isinstance(ours, IntegrationError):
            ours.outcome_unknown = True
        return ours


def _nothing() -> None:
    """Stand for a call whose turn was waited for."""
