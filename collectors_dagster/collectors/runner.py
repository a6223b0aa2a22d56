"""The frame around collectors: it times, isolates, limits and counts each of them."""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import structlog

from collectors_dagster.clock import Clock
from collectors_dagster.collectors.protocol import Collector, Reading, Series
from collectors_dagster.errors import InvalidSampleError
from collectors_dagster.samples import Labels, Metric

MAX_SERIES = 2000
"""Series that one collector may report; the rest is refused and counted, the sweep goes on."""

log = structlog.get_logger("collectors")
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Column:
    """One value's place in a sweep: which collector reports which series."""

    collector: str
    metric: Metric
    labels: Labels = ()


class Sweep(NamedTuple):
    """All values of one instant.

    Attributes
    ----------
    columns : tuple of Column
        The same object as last time unless the set of series changed.
    values : array of float
        One per column; NaN where the collector failed.
    """

    columns: tuple[Column, ...]
    values: "array[float]"


@dataclass(slots=True)
class Tally:
    """What became of one collector's readings so far."""

    readings: int = 0
    points: int = 0
    refused_series: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    last_error: str | None = None
    last_success: datetime | None = None
    last_seconds: float = 0.0
    total_seconds: float = 0.0


class _Slot:
    """A collector with its series, its tally and its latest failure."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.tally = Tally()
        self.series: tuple[Series, ...] = ()
        self.columns: tuple[Column, ...] = ()

    def adopt(self, series: tuple[Series, ...]) -> None:
        """Take over a new set of series, within the limit."""
        self.series = series
        self.tally.refused_series = max(0, len(series) - MAX_SERIES)
        name = self.collector.name
        self.columns = tuple(Column(name, one.metric, one.labels) for one in series[:MAX_SERIES])
        if self.tally.refused_series:
            log.warning("series refused", collector=name, refused=self.tally.refused_series, limit=MAX_SERIES)

    def fail(self, error: Exception) -> None:
        """Count a failure; log the first of a kind in a row."""
        kind, text = type(error).__name__, str(error)
        self.tally.errors[kind] += 1
        if self.tally.last_error != text:
            log.warning("collector failed", collector=self.collector.name, error_type=kind, error=text)
        self.tally.last_error = text


def _checked(reading: Reading, source: str) -> Reading:
    if len(reading.values) != len(reading.series):
        message = f"{source}: {len(reading.values)} values for {len(reading.series)} series"
        raise InvalidSampleError(message, source=source)
    return reading


class Runner:
    """Runs every collector once per sweep; one that fails costs no other.

    Parameters
    ----------
    collectors : iterable of Collector
        Run in this order. The runner closes them.
    """

    def __init__(self, collectors: Iterable[Collector], clock: Clock) -> None:
        self._slots = [_Slot(collector) for collector in collectors]
        self._clock = clock
        self._columns: tuple[Column, ...] = ()

    @property
    def tallies(self) -> dict[str, Tally]:
        """Counts per collector."""
        return {slot.collector.name: slot.tally for slot in self._slots}

    def sweep(self) -> Sweep:
        """Read every collector once."""
        values: array[float] = array("d")
        changed = False
        for slot in self._slots:
            before = slot.columns
            values.extend(self._read(slot))
            changed |= slot.columns is not before
        if changed:
            self._columns = tuple(column for slot in self._slots for column in slot.columns)
        return Sweep(self._columns, values)

    def close(self) -> None:
        """Close the collectors."""
        for slot in self._slots:
            slot.collector.close()

    def _read(self, slot: _Slot) -> Sequence[float]:
        started = self._clock.monotonic()
        try:
            reading = _checked(slot.collector.read(), slot.collector.name)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in one source must not cost another
            slot.fail(error)
            return [NAN] * len(slot.columns)
        finally:
            self._time(slot.tally, started)
        return self._accept(slot, reading)

    def _time(self, tally: Tally, started: float) -> None:
        tally.readings += 1
        tally.last_seconds = self._clock.monotonic() - started
        tally.total_seconds += tally.last_seconds

    def _accept(self, slot: _Slot, reading: Reading) -> Sequence[float]:
        if reading.series is not slot.series:
            slot.adopt(reading.series)
        for error in reading.errors:
            slot.fail(error)
        slot.tally.points += len(slot.columns)
        slot.tally.last_success = self._clock.now()
        if not reading.errors:
            slot.tally.last_error = None
        return reading.values if len(slot.columns) == len(slot.series) else reading.values[: len(slot.columns)]
