"""Making old samples fewer without making them wrong. Pure.

The records of one stretch of the wall clock (10 s, then 60 s) become one, at the instant of the last of them: gauges
as their mean, the maximum beside it where a peak matters, counters as the exact cumulative value at that instant.
Where something begins anew (after a pause, or where a counter went back) the record is kept as it is, and so is the
last one before, so that a rate over what is kept is the rate over what was seen (``continuity``). A thinned record's
payload is ``sweeps, span in ns, values..., maxima...``: how many sweeps it stands for, and the time from the first to
the last of them. A counter of minus infinity in it says: what follows cannot be compared with what came before.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from collectors_dagster.agent.continuity import Before, breaks_in
from collectors_dagster.agent.intervals import BEGINS_ANEW
from collectors_dagster.agent.packed import Summary, summarised
from collectors_dagster.agent.records import Record, Schema, schema_payload
from collectors_dagster.agent.rows import Read, Row, read_rows
from collectors_dagster.collectors.runner import Column
from collectors_dagster.samples import Kind

LEVELS = (10, 60)
"""Seconds that one record stands for, level after level."""
_NS = 1_000_000_000


def thinned(
    records: Sequence[Record], level_seconds: int, sample_interval_seconds: float, before: Before | None
) -> list[Record]:
    """Return a segment's records with one sample per `level_seconds`; what cannot be understood is left out.

    Parameters
    ----------
    before : Before or None
        The sweep before the segment. If it does not adjoin, the segment's first record is kept as it is: a rate begins
        there.
    """
    breaks = breaks_in(read_rows(records), sample_interval_seconds, before)
    found: list[Record] = []
    stretch = _Stretch()
    number = 0
    for read in read_rows(records):
        if read.row is None:
            found += [*stretch.joined(), _marked(read)]
            continue
        begins = number in breaks.begins
        if begins or not stretch.takes(read.row, level_seconds * _NS):
            found += stretch.joined()
        stretch.add(read.row, read.schema, breaks.doubts.get(number))
        if begins or number in breaks.ends:
            found += stretch.joined()
        number += 1
    return [*found, *stretch.joined()]


def thinned_summary(before: Summary, records: list[Record], level_seconds: int) -> Summary | None:
    """Return the summary of a thinned segment, which stands for the same sweeps as before."""
    summary = summarised(records, level_seconds)
    return None if summary is None else before._replace(level_seconds=level_seconds)


def _marked(read: Read) -> Record:
    """Return a control record; that of a schema says that what follows is thinned."""
    told = read.told
    if not isinstance(told, Schema):
        return read.record
    return read.record._replace(payload=schema_payload(told.number, told.columns, thinned=True))


@dataclass(slots=True)
class _Stretch:
    """Rows that become one.

    Attributes
    ----------
    doubts : set of Column
        Counters that begin anew behind it.
    """

    rows: list[Row] = field(default_factory=list)
    columns: tuple[Column, ...] = ()
    doubts: set[Column] = field(default_factory=set)

    def takes(self, row: Row, level_ns: int) -> bool:
        """Tell whether a row lies in the same stretch of the wall clock."""
        if not self.rows:
            return True
        before = self.rows[-1].record
        return row.record.schema == before.schema and row.record.wall_ns // level_ns == before.wall_ns // level_ns

    def add(self, row: Row, schema: Schema, doubts: set[Column] | None) -> None:
        self.rows.append(row)
        self.columns = schema.columns
        if doubts:
            self.doubts |= doubts

    def joined(self) -> Iterator[Record]:
        """Yield its one record, if there is any, and begin the next stretch."""
        rows, self.rows = self.rows, []
        doubts, self.doubts = self.doubts, set()
        if rows:
            yield _joined(rows, self.columns, doubts)


def _joined(stretch: list[Row], columns: tuple[Column, ...], doubts: set[Column]) -> Record:
    last = stretch[-1]
    sweeps = sum(row.sweeps for row in stretch)
    span_ns = last.record.mono_ns - stretch[0].record.mono_ns + stretch[0].span_ns
    weights = [row.sweeps for row in stretch]
    series = zip(*(row.values for row in stretch), strict=True)
    values = [
        _standing(readings) if column.metric.kind is Kind.COUNTER else _mean(readings, weights)
        for column, readings in zip(columns, series, strict=True)
    ]
    if doubts:
        values = [BEGINS_ANEW if one in doubts else value for one, value in zip(columns, values, strict=True)]
    peaks = [_maximum(readings) for readings in zip(*(row.peaks for row in stretch), strict=True)]
    row = [float(sweeps), float(span_ns), *values, *peaks]
    return last.record._replace(payload=struct.pack(f"<{len(row)}d", *row))


def _standing(readings: Sequence[float]) -> float:
    """Return what a counter stood at in the end, unless it began anew on the way."""
    return BEGINS_ANEW if BEGINS_ANEW in readings else readings[-1]


def _mean(readings: Sequence[float], weights: Sequence[int]) -> float:
    known = [(value, weight) for value, weight in zip(readings, weights, strict=True) if not math.isnan(value)]
    if not known:
        return math.nan
    first = known[0][0]
    if all(value == first for value, _ in known):  # also infinities, and without rounding
        return first
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known)


def _maximum(readings: Sequence[float]) -> float:
    return max((value for value in readings if not math.isnan(value)), default=math.nan)
