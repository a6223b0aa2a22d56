"""A collector made of several files: each is read by a part, and one that fails costs only its own values."""

from collections.abc import Callable
from itertools import chain
from typing import Generic, Protocol, TypeVar

from collectors_dagster.clock import Clock
from collectors_dagster.collectors.protocol import Reading, Series
from collectors_dagster.errors import CollectionError

Value = TypeVar("Value")
NAN = float("nan")
NOTHING = Reading((), ())
"""What a part says of something that this host does not have."""


class Part(Protocol):
    """Reads one file, or what belongs together."""

    def read(self) -> Reading:
        """Return the present values; the series stay the same object until they change."""
        ...

    def close(self) -> None:
        """Give descriptors back."""
        ...


class Parts:
    """Several parts as one.

    Parameters
    ----------
    parts : Part
        In the order of their values.
    """

    def __init__(self, *parts: Part) -> None:
        self._parts = parts
        self._latest = [NOTHING] * len(parts)
        self._shape: tuple[tuple[Series, ...], ...] = ()
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the values of all parts; NaN and an error for those that failed.

        Raises
        ------
        CollectionError
            If a part failed and no other had anything to say.
        """
        errors: list[CollectionError] = []
        values: list[float] = []
        for at, part in enumerate(self._parts):
            try:
                reading = part.read()
            except CollectionError as error:
                errors.append(error)
                values += [NAN] * len(self._latest[at].series)
            else:
                self._latest[at] = reading
                values += reading.values
                errors += reading.errors
        if errors and not any(value == value for value in values):  # noqa: PLR0124 - NaN alone differs from itself
            raise errors[0]
        return Reading(self._joined(), values, tuple(errors))

    def close(self) -> None:
        """Close all parts."""
        for part in self._parts:
            part.close()

    def _joined(self) -> tuple[Series, ...]:
        shape = tuple(reading.series for reading in self._latest)
        if shape != self._shape:  # compares by identity first
            self._shape, self._series = shape, tuple(chain.from_iterable(shape))
        return self._series


class Slowly(Generic[Value]):
    """What changes slowly is asked every few seconds, whatever the pace of the sweeps.

    Parameters
    ----------
    ask : callable
        Returns the present value; if it raises, the next call asks again.
    """

    __slots__ = ("_ask", "_clock", "_due", "_seconds", "_value")

    def __init__(self, ask: Callable[[], Value], clock: Clock, seconds: float) -> None:
        self._ask = ask
        self._clock = clock
        self._seconds = seconds
        self._due = float("-inf")
        self._value: Value | None = None

    def __call__(self) -> Value:
        """Return the value, at most so many seconds old."""
        now = self._clock.monotonic()
        if self._value is None or now >= self._due:
            self._value = self._ask()
            self._due = now + self._seconds
        return self._value
