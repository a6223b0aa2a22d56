"""Rows as bytes: PostgreSQL's binary COPY format written from arrays, and packed results read into arrays.

All fields have a fixed size, so a whole load is one numpy structured array
(https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format").
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.frames import Floats, Times

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
EPOCH = np.datetime64("2000-01-01T00:00:00", "us")
FLOAT8_OID = 701

Column = tuple[str | np.dtype[np.void], NDArray[np.generic] | int | bytes]
"""A field's big-endian type (``>i4``, ``>i8``, ``>f8``, ``S5``) and its values, one or one per row."""


def copy_rows(columns: Sequence[Column], n: int) -> bytes:
    """Return `n` rows in the binary COPY format, without header and trailer."""
    rows = _framed([kind for kind, _ in columns], n)
    for i, (_, values) in enumerate(columns):
        rows[f"value{i}"] = values
    return rows.tobytes()


def copy_blocks(columns: Sequence[Column], n: int, block_rows: int) -> Iterator[bytes]:
    """Yield `n` rows in the binary COPY format block by block."""
    rows = _framed([kind for kind, _ in columns], min(n, block_rows))
    for start in range(0, n, block_rows):
        part = slice(start, min(start + block_rows, n))
        block = rows[: part.stop - start]
        for i, (_, values) in enumerate(columns):
            block[f"value{i}"] = values[part] if isinstance(values, np.ndarray) else values
        yield block.tobytes()


def _framed(kinds: Sequence[str | np.dtype[np.void]], n: int) -> NDArray[np.void]:
    """Return `n` rows whose values are still to be filled in."""
    fields: list[tuple[str, str | np.dtype[np.void]]] = [("count", ">i2")]
    for i, kind in enumerate(kinds):
        fields += [(f"size{i}", ">i4"), (f"value{i}", kind)]
    rows = np.zeros(n, dtype=np.dtype(fields))
    rows["count"] = len(kinds)
    for i, kind in enumerate(kinds):
        rows[f"size{i}"] = np.dtype(kind).itemsize
    return rows


def array_type(m: int) -> np.dtype[np.void]:
    """Return the layout of a ``double precision[]`` of `m` items without nulls."""
    item = np.dtype([("size", ">i4"), ("value", ">f8")])
    head = [(name, ">i4") for name in ("dimensions", "nulls", "oid", "length", "lower")]
    return np.dtype([*head, ("items", item, (m,))])


def float_arrays(values: Floats) -> tuple[np.dtype[np.void], NDArray[np.void]]:
    """Return one ``double precision[]`` field per row of `values`, shape (n, m)."""
    n, m = values.shape
    kind = array_type(m)
    fields = np.zeros(n, dtype=kind)
    fields["dimensions"], fields["oid"], fields["length"], fields["lower"] = 1, FLOAT8_OID, m, 1
    fields["items"]["size"] = 8
    fields["items"]["value"] = values
    return kind, fields


def microseconds(ts: Times) -> NDArray[np.int64]:
    """Return PostgreSQL's timestamps: microseconds since 2000-01-01 UTC."""
    return (ts.astype("datetime64[us]") - EPOCH).astype(np.int64)


def seconds_axis(microseconds_since_2000: NDArray[np.generic]) -> Times:
    """Return a ``datetime64[s]`` axis of PostgreSQL's timestamps."""
    return (EPOCH + microseconds_since_2000.astype("timedelta64[us]")).astype("datetime64[s]")


def as_datetime64(instant: datetime) -> np.datetime64:
    """Return an aware datetime as ``datetime64[us]`` in UTC."""
    return np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "us")


def days_of(ts: Times) -> list[datetime]:
    """Return the UTC days that the times touch, as their first instants."""
    days = np.unique(ts.astype("datetime64[D]"))
    return [day.astype("datetime64[s]").item().replace(tzinfo=UTC) for day in days]
