"""A collector made of several files: each is read by a part, and one that fails costs only its own values."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Generic, Protocol, TypeVar

from collectors_dagster.clock import Clock
from collectors_dagster.collectors.procfs import ProcFile
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
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the values of all parts; NaN and an error for those that failed.

        Raises
        ------
        CollectionError
            If a part failed and no other had anything to say.
        """
        errors: tuple[CollectionError, ...] = ()
        values: list[float] = []
        latest = self._latest
        changed = False
        for at, part in enumerate(self._parts):
            try:
                reading = part.read()
            except CollectionError as error:
                errors += (error,)
                values += [NAN] * len(latest[at].series)
                continue
            changed |= reading.series is not latest[at].series
            latest[at] = reading
            values += reading.values
            errors += reading.errors
        if errors and not any(value == value for value in values):  # noqa: PLR0124 - NaN alone differs from itself
            raise errors[0]
        if changed or len(self._series) != len(values):
            self._series = self._joined()
        return Reading(self._series, values, errors)

    def close(self) -> None:
        """Close all parts."""
        for part in self._parts:
            part.close()

    def _joined(self) -> tuple[Series, ...]:
        """Return the series of all parts, the same object as before if they are equal."""
        series = tuple(chain.from_iterable(reading.series for reading in self._latest))
        return self._series if series == self._series else series


class Layout(Protocol):
    """Knows where the numbers stand in a file."""

    @property
    def present(self) -> tuple[bytes, ...]:
        """Which keys the file has; replaced when it changed shape."""
        ...


LayoutKind = TypeVar("LayoutKind", bound=Layout)


class Picked(Generic[LayoutKind]):
    """Numbers picked out of one file. All such files are read by the same few lines: at 1 Hz each line is cold once.

    Parameters
    ----------
    parse : callable
        Returns the numbers of the keys that the layout found.
    series_of : callable
        Returns what a key's number is.
    """

    __slots__ = ("_file", "_layout", "_parse", "_present", "_series", "_series_of")

    def __init__(
        self,
        file: ProcFile,
        layout: LayoutKind,
        parse: Callable[[bytes, LayoutKind], Sequence[float]],
        series_of: Callable[[bytes], Series],
    ) -> None:
        self._file = file
        self._layout = layout
        self._parse = parse
        self._series_of = series_of
        self._present: tuple[bytes, ...] = ()
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        values = self._parse(self._file.read(), self._layout)
        present = self._layout.present
        if present is not self._present:
            self._series = tuple(map(self._series_of, present))
            self._present = present
        return Reading(self._series, values)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
