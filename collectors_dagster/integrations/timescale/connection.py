"""What the tables need of a database, whichever driver stands behind it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self


class Cursor(Protocol):
    """Runs statements and holds the rows of the last one."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement found or changed."""
        ...

    def execute(self, query: bytes, params: Mapping[str, Any] | None = None) -> Self:
        """Run a statement with named parameters; return this cursor."""
        ...

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, if there is one."""
        ...

    def fetchall(self) -> Sequence[tuple[Any, ...]]:
        """Return the remaining rows."""
        ...

    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...


class Transactions(Protocol):
    """A database in which something can be done whole or not at all."""

    def transaction(self, operation: str) -> AbstractContextManager[Cursor]:
        """Yield a cursor; commit at the end, roll back on any exception.

        Parameters
        ----------
        operation : str
            What is being tried, for the error's message.
        """
        ...
