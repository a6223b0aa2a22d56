"""Making old samples fewer without making them wrong. Pure.

The records of one stretch of the wall clock (10 s, then 60 s) become one, at the instant of the last of them: gauges
as their mean, the maximum beside it where a peak matters, counters as the exact cumulative value at that instant.
Where something begins anew (after a pause, or where a counter went back) the record is kept as it is, so that a rate
over what is kept is the rate over what was seen. A thinned record's payload is ``sweeps, span in ns, values...,
maxima...``: how many sweeps it stands for, and the time from the first to the last of them.
"""

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from collectors_dagster.agent.packed import Summary, summarised
from collectors_dagster.agent.records import (
    CONTROL,
    FLOAT_BYTES,
    Record,
    Schema,
    parse_control,
    schema_payload,
    values_of,
)
from collectors_dagster.collectors.runner import Column
from collectors_dagster.errors import SpoolError
from collectors_dagster.samples import Kind

LEVELS = (10, 60)
"""Seconds that one record stands for, level after level."""
PAUSE_FACTOR = 1.5
"""A pause longer than this many sampling intervals ends a stretch."""
_NS = 1_000_000_000


class Row(NamedTuple):
    """One record with what it stands for.

    Attributes
    ----------
    sweeps : int
        How many looks at the host.
    span_ns : int
        Time from the first of them to the last, which is the record's instant.
    peaks : sequence of float
        Maxima of the columns whose peak matters, in their order.
    """

    record: Record
    sweeps: int
    span_ns: int
    values: Sequence[float]
    peaks: Sequence[float]


def companions(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns of the maxima that thinned records carry behind their values.

    Examples
    --------
    >>> from collectors_dagster.samples import Metric
    >>> load = Column("load", Metric("load1", Kind.GAUGE, "processes", "", peak=True))
    >>> [column.metric.name for column in companions([load])]
    ['load1_max']
    """
    return tuple(
        replace(column, metric=replace(column.metric, name=f"{column.metric.name}_max", peak=False))
        for column in columns
        if column.metric.peak
    )


def row_of(record: Record, schema: Schema) -> Row:
    """Return a sample record's values.

    Raises
    ------
    SpoolError
        If the record does not fit its schema.
    """
    values = values_of(record.payload)
    width, peaks = len(schema.columns), [at for at, column in enumerate(schema.columns) if column.metric.peak]
    if len(record.payload) != FLOAT_BYTES * (width + (2 + len(peaks)) * schema.thinned):
        raise SpoolError(f"record {record.seq} has not the values that its schema promises")
    if not schema.thinned:
        return Row(record, 1, 0, values, [values[at] for at in peaks])
    return Row(record, int(values[0]), int(values[1]), values[2 : 2 + width], values[2 + width :])


def thinned(
    records: Iterable[Record], level_seconds: int, sample_interval_seconds: float, *, continues: bool
) -> list[Record]:
    """Return a segment's records with one sample per `level_seconds`; what cannot be understood is left out.

    Parameters
    ----------
    continues : bool
        The segment before ends where this one begins. If not, its first record is kept as it is: a rate begins there.
    """
    schemas: dict[int, Schema] = {}
    pause_ns = round(PAUSE_FACTOR * sample_interval_seconds * _NS)
    found: list[Record] = []
    stretch: list[Row] = []
    previous: Row | None = None
    for record in records:
        if record.schema == CONTROL:
            found += [*_joined(stretch, schemas), _marked(record, schemas)]
            stretch = []
            continue
        try:
            row = row_of(record, schemas[record.schema])
        except (SpoolError, KeyError):
            continue
        breaks = not continues if previous is None else _breaks(schemas, previous, row, pause_ns)
        if breaks or (stretch and not _together(stretch[-1], row, level_seconds * _NS)):
            found += _joined(stretch, schemas)
            stretch = []
        if breaks:
            found += _joined([row], schemas)
        else:
            stretch.append(row)
        previous = row
    return [*found, *_joined(stretch, schemas)]


def thinned_summary(before: Summary, records: list[Record], level_seconds: int) -> Summary | None:
    """Return the summary of a thinned segment, which stands for the same sweeps as before."""
    summary = summarised(records, level_seconds)
    return None if summary is None else before._replace(level_seconds=level_seconds)


def _marked(record: Record, schemas: dict[int, Schema]) -> Record:
    """Learn a schema, and say in its record that what follows is thinned."""
    try:
        told = parse_control(record.payload)
    except SpoolError:
        return record
    if not isinstance(told, Schema):
        return record
    schemas[told.number] = told
    return record._replace(payload=schema_payload(told.number, told.columns, thinned=True))


def _together(before: Row, row: Row, level_ns: int) -> bool:
    """Tell whether two rows lie in one stretch of the wall clock."""
    same_schema = row.record.schema == before.record.schema
    return same_schema and row.record.wall_ns // level_ns == before.record.wall_ns // level_ns


def _breaks(schemas: dict[int, Schema], before: Row, row: Row, pause_ns: int) -> bool:
    """Tell whether a row begins something new, after a pause or because a counter went back: it stays as it is."""
    if row.record.mono_ns - row.span_ns - before.record.mono_ns > pause_ns:
        return True
    if row.record.schema != before.record.schema:
        return False
    pairs = zip(schemas[row.record.schema].columns, before.values, row.values, strict=True)
    return any(later < earlier for column, earlier, later in pairs if column.metric.kind is Kind.COUNTER)


def _joined(stretch: list[Row], schemas: dict[int, Schema]) -> Iterator[Record]:
    if not stretch:
        return
    last = stretch[-1]
    columns = schemas[last.record.schema].columns
    sweeps = sum(row.sweeps for row in stretch)
    span_ns = last.record.mono_ns - stretch[0].record.mono_ns + stretch[0].span_ns
    weights = [row.sweeps for row in stretch]
    series = zip(*(row.values for row in stretch), strict=True)
    values = [
        last_of if column.metric.kind is Kind.COUNTER else _mean(readings, weights)
        for column, readings, last_of in zip(columns, series, last.values, strict=True)
    ]
    peaks = [_maximum(readings) for readings in zip(*(row.peaks for row in stretch), strict=True)]
    row = [float(sweeps), float(span_ns), *values, *peaks]
    payload = struct.pack(f"<{len(row)}d", *row)
    yield last.record._replace(payload=payload)


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
