"""Where the counters of a segment begin anew: a reset, a pause, a device that came. Pure.

What is thinned must show the same beginnings as what was seen (``intervals`` looks for them reading by reading): the
last reading before each and the first one after it are kept. From one segment to the next only the last sweep is known:
a counter of a source that is read less often than the host, and was not read in it, is in doubt and begins anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from collectors_dagster.agent.intervals import BEGINS_ANEW, INTERVAL, LONGEST_STEP, source_interval_ns
from collectors_dagster.agent.records import ClockChange, Record, Schema
from collectors_dagster.agent.rows import Read, Row, read_rows
from collectors_dagster.agent.timing import NANOSECONDS
from collectors_dagster.collectors.runner import Column
from collectors_dagster.records import ClockEventKind
from collectors_dagster.samples import Kind

PAUSE_FACTOR = 1.5
"""A pause longer than this many sampling intervals ends a stretch."""
_BEFORE = -1
"""The row before a segment's first one."""


class Before(NamedTuple):
    """The last sweep of the segment before.

    Attributes
    ----------
    adjoins : bool
        That segment ends where this one begins.
    """

    row: Row
    schema: Schema
    adjoins: bool


@dataclass(frozen=True, slots=True)
class Breaks:
    """Where stretches of a segment begin and end, by the number of the row in it.

    Attributes
    ----------
    begins : set of int
        Rows that are kept as they are.
    ends : set of int
        Rows after which nothing may be joined to them.
    doubts : dict
        By row, the counters whose next reading cannot be compared with any before.
    """

    begins: set[int] = field(default_factory=set)
    ends: set[int] = field(default_factory=set)
    doubts: dict[int, set[Column]] = field(default_factory=dict)


class _Reading(NamedTuple):
    value: float
    mono_ns: int
    row: int


_UNKNOWN = _Reading(BEGINS_ANEW, 0, _BEFORE)
"""There may have been a reading, and it is not known."""


def last_sweep(records: Iterable[Record], *, adjoins: bool) -> Before | None:
    """Return the last sweep of a segment, for the one that follows it; None if none can be read."""
    found = None
    for read in read_rows(records):
        found = read if read.row else found
    return None if found is None or found.row is None else Before(found.row, found.schema, adjoins)


def breaks_in(reads: Iterable[Read], sample_interval_seconds: float, before: Before | None) -> Breaks:
    """Return where counters begin anew in a segment, and where nothing was seen for a while."""
    found, readings = Breaks(), _Readings(round(sample_interval_seconds * NANOSECONDS), before)
    pause_ns = round(PAUSE_FACTOR * sample_interval_seconds * NANOSECONDS)
    previous = before.row if before is not None and before.adjoins else None
    number = 0
    for read in reads:
        row = read.row
        if row is None:
            if isinstance(read.told, ClockChange) and read.told.kind is ClockEventKind.SUSPEND:
                readings.interrupt()
            continue
        if previous is None or row.record.mono_ns - row.span_ns - previous.record.mono_ns > pause_ns:
            found.begins.add(number)
        readings.compare(number, row, read.schema, found)
        previous, number = row, number + 1
    readings.end(number - 1, found)
    return found


class _Readings:
    """The latest reading of each counter: none if there was none since it can be compared with anything."""

    def __init__(self, sample_ns: int, before: Before | None) -> None:
        self._sample_ns = sample_ns
        self._schema: Schema | None = None
        self._columns: list[tuple[int, Column]] = []
        self._last: list[_Reading | None] = []
        self._told: dict[str, int] = {}
        self._intervals: dict[str, int] = {}
        self._is_first = before is None
        if before is not None:
            self._begin(before)

    def interrupt(self) -> None:
        """Forget them: nobody knows what counters did while the host slept."""
        self._last = [None] * len(self._last)

    def compare(self, number: int, row: Row, schema: Schema, found: Breaks) -> None:
        """Note which counters begin anew in a row."""
        if schema is not self._schema:
            self._adopt(schema)
        steps = self._longest_steps(row)
        mono_ns = row.record.mono_ns
        for slot, (at, column) in enumerate(self._columns):
            value = row.values[at]
            if value != value:  # noqa: PLR0124 - the fastest way to ask for NaN
                continue
            last, self._last[slot] = self._last[slot], _Reading(value, mono_ns, number)
            if last is _UNKNOWN:
                found.doubts.setdefault(max(number - 1, 0), set()).add(column)
            elif last is None:
                found.begins.add(number)
            elif value != BEGINS_ANEW and not (
                value >= last.value and 0 < mono_ns - last.mono_ns <= steps[column.collector] + row.span_ns
            ):
                found.begins.add(number)
                found.ends.add(last.row)
        if self._is_first:  # whatever was before, its first row is kept; what was not in it may have been before
            self._is_first = False
            self._last = [last or _UNKNOWN for last in self._last]

    def end(self, number: int, found: Breaks) -> None:
        """Put counters in doubt that were read, but not in the last row: what follows does not know their reading."""
        for (_, column), last in zip(self._columns, self._last, strict=True):
            if last is not None and last.row not in {number, _BEFORE}:
                found.doubts.setdefault(number, set()).add(column)

    def _begin(self, before: Before) -> None:
        self._adopt(before.schema)
        self._longest_steps(before.row)
        for slot, (at, _) in enumerate(self._columns):
            value = before.row.values[at]
            is_known = value == value  # noqa: PLR0124 - as above
            self._last[slot] = _Reading(value, before.row.record.mono_ns, _BEFORE) if is_known else _UNKNOWN

    def _adopt(self, schema: Schema) -> None:
        """Follow a change of the series: those that are not there any more begin anew when they come again."""
        known = {column: last for (_, column), last in zip(self._columns, self._last, strict=True)}
        self._columns = [(at, one) for at, one in enumerate(schema.columns) if one.metric.kind is Kind.COUNTER]
        self._last = [known.get(column) for _, column in self._columns]
        self._told = {
            source: at
            for at, one in enumerate(schema.columns)
            if one.metric.name == INTERVAL and (source := dict(one.labels).get("source"))
        }
        self._schema = schema

    def _longest_steps(self, row: Row) -> dict[str, int]:
        """Return by source how far apart two readings may be, as :class:`Intervals` has it."""
        steps = {}
        for source in {column.collector for _, column in self._columns}:
            earlier_ns = self._intervals.get(source, 0)
            told = row.values[self._told[source]] if source in self._told else float("nan")
            interval_ns = self._intervals[source] = source_interval_ns(told, earlier_ns, self._sample_ns)
            steps[source] = round(LONGEST_STEP * max(earlier_ns, interval_ns))
        return steps
