"""The spool's wire format: framed records with checksums. Pure; files are in ``segments``.

A segment is `MAGIC` followed by records, little-endian::

    length u32 | crc32 u32 | seq u64 | wall_ns i64 | mono_ns i64 | schema u32 | payload

`length` counts what follows the checksum, which covers the same bytes. A payload is the schema's values as float64;
schema 0 marks a control record, whose payload is JSON. The highest bit of `schema` says that the payload is sealed
(``security.sealing``; the head is its context, so that a payload cannot be moved), the one below it that a part of it
is (``protection``). Control records:

``{"segment": {"version", "agent_id", "epoch", "boot_id", "host"}}``
    always the first record;
``{"schema": n, "columns": [[collector, metric, kind, unit, peak, labels, detail, sensitive], ...]}``
    before the first record of that schema in the segment, so that every segment can be read alone; with
    ``"thinned": true`` its records stand for several sweeps (``thinning``);
``{"gap": {"from_ns", "to_ns", "records", "reason"}}``
    records that could not be written, or were given up;
``{"clock": {"kind": "clock_step" | "suspend", "seconds"}}``
    between the sample record before and the one after, the wall clock was set, or the host slept.

Control records carry the sequence number of the sample record after them.
"""

import json
import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from collectors_dagster.collectors.runner import Column
from collectors_dagster.errors import SpoolError
from collectors_dagster.records import ClockEventKind
from collectors_dagster.samples import Kind, Metric

MAGIC = b"CDSPOOL1"
FORMAT_VERSION = 1
CONTROL = 0
SEALED, PARTED = 1 << 31, 1 << 30
FARTHEST_JUMP = 2**32
"""Behind a damage, a record further ahead than this is none: it only looks like one."""
LARGEST_BODY = 64 * 1024 * 1024

_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<QqqI")
FLOAT_BYTES = 8


class Record(NamedTuple):
    """One framed record; the checksum was right."""

    seq: int
    wall_ns: int
    mono_ns: int
    schema: int
    payload: bytes


class SegmentHeader(NamedTuple):
    """Where a segment comes from.

    Attributes
    ----------
    boot_id : str
        Monotonic times and counters are comparable within one boot only.
    """

    agent_id: str
    epoch: str
    boot_id: str
    host: str


class Gap(NamedTuple):
    """Records that are missing, and why."""

    from_ns: int
    to_ns: int
    records: int
    reason: str


class Schema(NamedTuple):
    """What the values of a record mean.

    Attributes
    ----------
    thinned : bool
        The records stand for several sweeps each.
    """

    number: int
    columns: tuple[Column, ...]
    thinned: bool = False


class ClockChange(NamedTuple):
    """What happened to the host's clocks before a record.

    Attributes
    ----------
    seconds : float
        How far the wall clock was set (negative: back), or how long the host slept.
    """

    kind: ClockEventKind
    seconds: float


Told = SegmentHeader | Schema | Gap | ClockChange
"""What a control record can say."""


class Scan(NamedTuple):
    """What a stretch of bytes holds.

    Attributes
    ----------
    end : int
        Offset behind the last whole record.
    damaged : bool
        The bytes at `end` are not merely incomplete: length or checksum are wrong.
    skipped : int
        Damages before `end` that were skipped to the next good record.
    """

    records: list[Record]
    end: int
    damaged: bool
    skipped: int = 0


def frame(record: Record) -> bytes:
    """Return the bytes of a record.

    Examples
    --------
    >>> record = Record(7, 1, 2, 3, b"payload")
    >>> scan(frame(record) + b"torn").records == [record]
    True
    """
    body = head_of(record) + record.payload
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def scan(data: bytes, offset: int = 0) -> Scan:
    """Return all whole records from `offset` on; what is damaged is skipped up to the next good record.

    Bytes at the end that may still become a record are left alone: a writer may be adding to them.
    """
    records: list[Record] = []
    skipped = 0
    while True:
        found = _record_at(data, offset)
        if found is None:
            after = _next_record(data, offset, records[-1].seq if records else None)
            if after is None:
                return Scan(records, offset, _is_damaged(data, offset), skipped)
            skipped += 1
            offset, found = after
        records.append(found)
        offset += _FRAME.size + _HEAD.size + len(found.payload)


def _record_at(data: bytes, offset: int) -> Record | None:
    if offset + _FRAME.size > len(data):
        return None
    length, checksum = _FRAME.unpack_from(data, offset)
    start, end = offset + _FRAME.size, offset + _FRAME.size + length
    if not _HEAD.size <= length <= LARGEST_BODY or end > len(data) or zlib.crc32(data[start:end]) != checksum:
        return None
    seq, wall_ns, mono_ns, schema = _HEAD.unpack_from(data, start)
    return Record(seq, wall_ns, mono_ns, schema, data[start + _HEAD.size : end])


def _next_record(data: bytes, offset: int, last_seq: int | None) -> tuple[int, Record] | None:
    """Return the first good record behind a damage, and where it is."""
    room = len(data) - _FRAME.size
    for at in range(offset + 1, room - _HEAD.size + 1):
        if _HEAD.size <= int.from_bytes(data[at : at + 4], "little") <= room - at:
            found = _record_at(data, at)
            if found is not None and (last_seq is None or 0 <= found.seq - last_seq <= FARTHEST_JUMP):
                return at, found
    return None


def _is_damaged(data: bytes, offset: int) -> bool:
    """Tell whether the last bytes can never become a record."""
    if offset + _FRAME.size > len(data):
        return False
    length, _ = _FRAME.unpack_from(data, offset)
    return not _HEAD.size <= length <= LARGEST_BODY or offset + _FRAME.size + length <= len(data)


def is_control(record: Record) -> bool:
    """Tell whether a record is none of a sweep, also where it is sealed."""
    return record.schema & ~(SEALED | PARTED) == CONTROL


def head_of(record: Record) -> bytes:
    """Return the bytes before a record's payload: what a sealed payload belongs to."""
    return _HEAD.pack(record.seq, record.wall_ns, record.mono_ns, record.schema)


def header_payload(header: SegmentHeader) -> bytes:
    """Return the payload of a segment's first record."""
    return as_json({"segment": {"version": FORMAT_VERSION, **header._asdict()}})


def schema_payload(schema: int, columns: Iterable[Column], *, thinned: bool = False) -> bytes:
    """Return the payload that explains the values of `schema`."""
    rows = [
        [
            column.collector,
            column.metric.name,
            column.metric.kind,
            column.metric.unit,
            column.metric.peak,
            column.labels,
            column.metric.detail,
            column.metric.cumulative,
            *([True] if column.metric.sensitive else []),
        ]
        for column in columns
    ]
    return as_json({"schema": schema, "columns": rows, **({"thinned": True} if thinned else {})})


def gap_payload(gap: Gap) -> bytes:
    """Return the payload that tells of missing records."""
    return as_json({"gap": gap._asdict()})


def clock_payload(change: ClockChange) -> bytes:
    """Return the payload that tells what happened to the clocks."""
    return as_json({"clock": change._asdict()})


def parse_control(payload: bytes) -> Told:
    """Return what a control record says.

    Raises
    ------
    SpoolError
        If it says something this version does not know.
    """
    try:
        return _parsed(json.loads(payload))
    except (ValueError, LookupError, TypeError) as error:
        raise SpoolError(f"a spool record cannot be understood: {error}") from error


def gaps_in(records: Iterable[Record]) -> list[Gap]:
    """Return the gaps that a segment tells of; control records that cannot be understood are passed over."""
    found = []
    for record in records:
        if record.schema == CONTROL:
            with suppress(SpoolError):
                told = parse_control(record.payload)
                found += [told] if isinstance(told, Gap) else []
    return found


def values_of(payload: bytes) -> tuple[float, ...]:
    """Return a sample record's values."""
    return struct.unpack(f"<{len(payload) // FLOAT_BYTES}d", payload)


def _parsed(content: dict[str, Any]) -> Told:
    if "schema" in content:
        columns = tuple(_column(row) for row in content["columns"])
        return Schema(int(content["schema"]), columns, bool(content.get("thinned", False)))
    if "gap" in content:
        return Gap(**content["gap"])
    if "clock" in content:
        return ClockChange(ClockEventKind(content["clock"]["kind"]), float(content["clock"]["seconds"]))
    segment = dict(content["segment"])
    if segment.pop("version") != FORMAT_VERSION:
        raise ValueError("another version of the format")
    return SegmentHeader(**segment)


def _column(row: list[Any]) -> Column:
    collector, name, kind, unit, peak, labels, *later = row
    detail, cumulative, sensitive = (*map(bool, later), False, False, False)[:3]  # older ones end before
    metric = Metric(name, Kind(kind), unit, "", peak=peak, detail=detail, cumulative=cumulative, sensitive=sensitive)
    return Column(collector, metric, tuple((key, value) for key, value in labels))


def as_json(content: object) -> bytes:
    """Return JSON as control records have it."""
    return json.dumps(content, separators=(",", ":")).encode()
