"""What only a holder of the key can read of a record: all of it, or its sensitive part. Pure.

The schema number of a record whose payload is sealed has the bit `SEALED`. One of which a part is sealed has the bit
`PARTED`, and the payload ``length u32 | plain part | sealed part``. The plain part is

of a sample
    ``values u32``, a byte per value that says whether it is sealed, and the values that are not;
of a schema
    its JSON with ``null`` for each column that is sealed. The sealed part is their JSON, compressed.

A seal holds for the record's head and for the plain part too: neither can be exchanged.
"""

import json
import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import compress
from typing import NamedTuple

from collectors_dagster.agent.form import Form
from collectors_dagster.agent.records import (
    CONTROL,
    FLOAT_BYTES,
    LARGEST_BODY,
    PARTED,
    SEALED,
    Record,
    Schema,
    as_json,
    head_of,
    parse_control,
    schema_payload,
)
from collectors_dagster.errors import CompressionError, SecurityError, SpoolError
from collectors_dagster.patterns.compression import unpacked
from collectors_dagster.security.sealing import Sealer, UnknownKeyError

LENGTH = struct.Struct("<I")
_INVERSE = bytes.maketrans(b"\0\1", b"\1\0")


class Unpacked(NamedTuple):
    """The records of a segment.

    Attributes
    ----------
    damaged : int
        Stretches that could not be read and were skipped.
    """

    records: list[Record]
    damaged: int


class Guard:
    """Seals of one segment's records, given in their order, what its form says.

    Notes
    -----
    What it does not understand is sealed whole, so that nothing sensitive slips through.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._masks: dict[int, bytes] = {}

    def protected(self, record: Record) -> Record:
        """Return a record as it may be written."""
        sealer = self._form.sealer
        if sealer is None:
            return record
        if self._form.whole:
            return sealed(record, sealer)
        if record.schema == CONTROL:
            return self.told(record)
        mask = self.mask_of(record)
        if mask is None:
            return sealed(record, sealer)
        return _parted(record, *_cut(record.payload, mask), sealer) if 1 in mask else record

    def told(self, record: Record) -> Record:
        """Learn from a control record which values are sensitive, and return it as it may be written."""
        assert self._form.sealer is not None, "without a key there is nothing to learn"
        try:
            schema = parse_control(record.payload)
        except SpoolError:
            return sealed(record, self._form.sealer)
        if not isinstance(schema, Schema):
            return record
        hidden = [self._form.sensitive.covers(column) for column in schema.columns]
        self._masks[schema.number] = _mask(schema, hidden)
        return _parted(record, *_cut_schema(schema, hidden), self._form.sealer) if any(hidden) else record

    def mask_of(self, record: Record) -> bytes | None:
        """Return which values of a sample record are sensitive, a byte each; ``None`` if nobody knows."""
        mask = self._masks.get(record.schema)
        fits = mask is not None and len(mask) * FLOAT_BYTES == len(record.payload)
        return mask if fits else None


def opened(records: Iterable[Record], sealer: Sealer | None) -> Unpacked:
    """Return the records with plain payloads; one that was changed after it was sealed is left out and counted.

    Raises
    ------
    UnknownKeyError
        If one is sealed with a key that is not given.
    """
    plain, damaged = [], 0
    for record in records:
        try:
            plain.append(unsealed(record, sealer) if record.schema & (SEALED | PARTED) else record)
        except UnknownKeyError:
            raise
        except (SecurityError, CompressionError):
            damaged += 1
    return Unpacked(plain, damaged)


def sealed(record: Record, sealer: Sealer) -> Record:
    """Return a record whose payload is sealed to its head."""
    marked = record._replace(schema=record.schema | SEALED)
    return marked._replace(payload=sealer.seal(record.payload, head_of(marked)))


def unsealed(record: Record, sealer: Sealer | None) -> Record:
    """Return a record as it was before something of it was sealed."""
    if sealer is None:
        raise UnknownKeyError("sealed, and no key is given")
    if record.schema & SEALED:
        payload = sealer.unseal(record.payload, head_of(record))
        return record._replace(schema=record.schema & ~SEALED, payload=payload)
    plain, rest = cut_part(record.payload)
    hidden = sealer.unseal(rest, head_of(record) + plain)
    schema = record.schema & ~PARTED
    join = _joined_schema if schema == CONTROL else _joined
    return record._replace(schema=schema, payload=join(plain[LENGTH.size :], hidden))


def cut_part(content: bytes) -> tuple[bytes, bytes]:
    """Return the plain part with its length before it, and the sealed part.

    Raises
    ------
    SecurityError
        If it is shorter than it says.
    """
    end = LENGTH.size + (LENGTH.unpack_from(content)[0] if len(content) >= LENGTH.size else 0)
    if len(content) < end or end < LENGTH.size:
        raise SecurityError("a sealed part is incomplete")
    return content[:end], content[end:]


def with_length(plain: bytes) -> bytes:
    """Return a plain part with its length before it."""
    return LENGTH.pack(len(plain)) + plain


def _parted(record: Record, plain: bytes, hidden: bytes, sealer: Sealer) -> Record:
    marked = record._replace(schema=record.schema | PARTED)
    part = with_length(plain)
    return marked._replace(payload=part + sealer.seal(hidden, head_of(marked) + part))


def _mask(schema: Schema, hidden: Sequence[bool]) -> bytes:
    """Return a byte per value of a record: before those of thinned records stand two that tell of no series."""
    if not schema.thinned:
        return bytes(hidden)
    peaks = [secret for column, secret in zip(schema.columns, hidden, strict=True) if column.metric.peak]
    return bytes([False, False, *hidden, *peaks])


def _cut(payload: bytes, mask: bytes) -> tuple[bytes, bytes]:
    words = array("Q", payload)  # not as floats: every bit stays as it is
    shown = array("Q", compress(words, mask.translate(_INVERSE)))
    return LENGTH.pack(len(mask)) + mask + shown.tobytes(), array("Q", compress(words, mask)).tobytes()


def _joined(plain: bytes, hidden: bytes) -> bytes:
    width = LENGTH.unpack_from(plain)[0]
    mask, rest = plain[LENGTH.size : LENGTH.size + width], plain[LENGTH.size + width :]
    shown, secret = iter(array("Q", rest)), iter(array("Q", hidden))
    return array("Q", [next(secret if each else shown) for each in mask]).tobytes()


def _cut_schema(schema: Schema, hidden: Sequence[bool]) -> tuple[bytes, bytes]:
    columns = [
        replace(column, metric=replace(column.metric, sensitive=True)) if secret else column
        for column, secret in zip(schema.columns, hidden, strict=True)
    ]
    content = json.loads(schema_payload(schema.number, columns, thinned=schema.thinned))
    rows = content["columns"]
    content["columns"] = [None if secret else row for row, secret in zip(rows, hidden, strict=True)]
    return as_json(content), zlib.compress(as_json(list(compress(rows, hidden))))


def _joined_schema(plain: bytes, hidden: bytes) -> bytes:
    content = json.loads(plain)
    rows = iter(json.loads(unpacked(hidden, LARGEST_BODY)))
    content["columns"] = [next(rows) if row is None else row for row in content["columns"]]
    return as_json(content)
