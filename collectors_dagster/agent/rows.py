"""What the sample records of a segment stand for: one sweep, or several that were thinned to one. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from collectors_dagster.agent.records import CONTROL, FLOAT_BYTES, Record, Schema, Told, parse_control, values_of
from collectors_dagster.collectors.runner import Column
from collectors_dagster.errors import SpoolError


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


class Read(NamedTuple):
    """A record and what was understood of it: a row with its schema, or what a control record told (None: nothing)."""

    record: Record
    schema: Schema
    row: Row | None = None
    told: Told | None = None


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


def read_rows(records: Iterable[Record]) -> Iterator[Read]:
    """Yield a segment's records with their meaning; samples that cannot be understood are left out."""
    schemas: dict[int, Schema] = {}
    nothing = Schema(CONTROL, ())
    for record in records:
        if record.schema == CONTROL:
            told = _told(record)
            if isinstance(told, Schema):
                schemas[told.number] = told
            yield Read(record, nothing, told=told)
            continue
        schema = schemas.get(record.schema)
        row = None if schema is None else _row(record, schema)
        if schema is not None and row is not None:
            yield Read(record, schema, row)


def _row(record: Record, schema: Schema) -> Row | None:
    try:
        return row_of(record, schema)
    except SpoolError:
        return None


def _told(record: Record) -> Told | None:
    try:
        return parse_control(record.payload)
    except SpoolError:
        return None
