"""Which of the tables' operations may be done again from their beginning."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


class Repeating(Protocol):
    """A database that can repeat a whole operation."""

    def repeated(self, operation: Callable[[], T]) -> T:
        """Call `operation`, again if its transaction failed before it was committed and the policies say so."""
        ...


def repeatable(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Mark a table's operation as one that may be done again if its transaction was not committed.

    Its arguments can be read more than once, and until the commit it changes nothing but the database.
    """

    @wraps(method)
    def repeated(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        database: Repeating = self._database
        return database.repeated(lambda: method(self, *args, **kwargs))

    return cast("Callable[Concatenate[Any, P], T]", repeated)  # its first argument keeps its place, not its name
