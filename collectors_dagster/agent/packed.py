"""Closed segments as they lie on disk: a summary, then blocks of records in columns. Pure; files are in ``segments``.

Little-endian::

    "CDPACK1" and a line feed | summary | crc32 of the summary u32 | block | block | ...
    block:   "BLOK", "SEAL" or "PART" | length u32 | crc32 u32 | body

A body is compressed (``patterns.compression``: a codec byte first; zlib's own first byte is one, so that segments of
before there were other codecs are read like the others), and in a ``SEAL`` block sealed after that. It holds either
control records as frames, or up to `BLOCK_RECORDS` sample records of one schema as columns. A ``PART`` block holds the
columns that are not sensitive as they are, and behind them the others, sealed: ``length u32 | the first | the others``.
A damaged block costs its own records only.
"""

import re
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import compress, groupby
from typing import NamedTuple

from collectors_dagster.agent.columns import pack_columns, unpack_columns
from collectors_dagster.agent.form import Form
from collectors_dagster.agent.protection import LENGTH, Guard, Unpacked, cut_part, opened, with_length
from collectors_dagster.agent.records import CONTROL, FLOAT_BYTES, LARGEST_BODY, Record, frame, is_control, scan
from collectors_dagster.errors import CompressionError, SecurityError, SpoolError, UnknownCodecError
from collectors_dagster.patterns.compression import unpacked
from collectors_dagster.security.sealing import Sealer, UnknownKeyError

PACKED_MAGIC = b"CDPACK1\n"
BLOCK_RECORDS = 64

_SUMMARY = struct.Struct("<QQqqII")
_CHECKSUM = struct.Struct("<I")
_BLOCK = struct.Struct("<4sII")
_ROWS = struct.Struct("<BIII")
_PLAIN, _SEALED, _PARTED = b"BLOK", b"SEAL", b"PART"
_MARKS = frozenset({_PLAIN, _SEALED, _PARTED})
_MARK = re.compile(b"BLOK|SEAL|PART")
_CONTROLS, _SAMPLES = 0, 1
_KINDS = ("controls", "samples", "sensitive")
SUMMARY_BYTES = len(PACKED_MAGIC) + _SUMMARY.size + _CHECKSUM.size


class Summary(NamedTuple):
    """What a segment holds.

    Attributes
    ----------
    records : int
        Sweeps; after thinning, those that its records stand for.
    level_seconds : int
        Distance of its records after thinning; 0 at full resolution.
    """

    first_seq: int
    last_seq: int
    from_ns: int
    to_ns: int
    records: int
    level_seconds: int = 0


def summarised(records: Iterable[Record], level_seconds: int = 0) -> Summary | None:
    """Return a summary of the sample records; None if there are none."""
    samples = [record for record in records if not is_control(record)]
    if not samples:
        return None
    first, last = samples[0], samples[-1]
    walls = [record.wall_ns for record in samples]
    return Summary(first.seq, last.seq, min(walls), max(walls), len(samples), level_seconds)


def pack(first_seq: int, records: list[Record], summary: Summary, form: Form) -> bytes:
    """Return the packed form of a segment's records, none of them sealed.

    Parameters
    ----------
    first_seq : int
        The number in the segment's name: sealed blocks belong to it, and to their offset.
    """
    head = _SUMMARY.pack(*summary)
    packed = bytearray(PACKED_MAGIC + head + _CHECKSUM.pack(zlib.crc32(head)))
    for body in _bodies(records, form):
        content = _content(body, form, _context(first_seq, len(packed)))
        packed += _BLOCK.pack(body.mark, len(content), zlib.crc32(content)) + content
    return bytes(packed)


class _Body(NamedTuple):
    """What a block holds, and how.

    Attributes
    ----------
    hidden : bytes
        The part of a ``PART`` block that is sealed.
    """

    mark: bytes
    plain: bytes
    hidden: bytes = b""


def _content(body: _Body, form: Form, context: bytes) -> bytes:
    """Return a block's content, compressed and sealed."""
    plain = form.compressor.packed(body.plain, _KINDS[body.plain[0]])
    if body.mark == _PLAIN:
        return plain
    assert form.sealer is not None, "without a key there is nothing to seal"
    if body.mark == _SEALED:
        return form.sealer.seal(plain, context)
    part = with_length(plain)
    return part + form.sealer.seal(form.compressor.packed(body.hidden, _KINDS[-1]), context + part)


def read_summary(data: bytes) -> Summary | None:
    """Return the summary at the beginning of a packed segment; None if it is damaged."""
    head = data[len(PACKED_MAGIC) : SUMMARY_BYTES]
    if not data.startswith(PACKED_MAGIC) or len(head) < _SUMMARY.size + _CHECKSUM.size:
        return None
    head, checksum = head[: _SUMMARY.size], head[_SUMMARY.size :]
    return Summary(*_SUMMARY.unpack(head)) if _CHECKSUM.pack(zlib.crc32(head)) == checksum else None


def is_damaged(data: bytes) -> bool:
    """Tell whether anything of a packed segment cannot be read, by its checksums alone: quick, and without a key."""
    return read_summary(data) is None or any(block is None for block in _blocks(data))


def unpack(first_seq: int, data: bytes, sealer: Sealer | None) -> Unpacked:
    """Return all records that can be read.

    Raises
    ------
    UnknownKeyError
        If a block is sealed with a key that is not given: that is no damage, and nothing may be skipped for it.
    UnknownCodecError
        If a block is compressed with what is not known or installed here: no damage either.
    """
    records: list[Record] = []
    skipped = 0
    for block in _blocks(data):
        try:
            found, damaged = _records(_opened(block, first_seq, sealer), sealer) if block is not None else ([], 1)
            records += found
            skipped += damaged
        except (UnknownKeyError, UnknownCodecError):
            raise
        except (SpoolError, SecurityError, CompressionError, struct.error, ValueError, IndexError):
            skipped += 1
    if not skipped and read_summary(data) is None:
        skipped = 1
    return Unpacked(records, skipped)


class _Block(NamedTuple):
    """A block whose checksum was right."""

    offset: int
    mark: bytes
    body: bytes


def _blocks(data: bytes) -> Iterator[_Block | None]:
    """Yield good blocks, and None for each stretch that is none."""
    at = SUMMARY_BYTES
    while at < len(data):
        block = _block_at(data, at)
        yield block
        if block is not None:
            at += _BLOCK.size + len(block.body)
        else:
            at = _next_block(data, at + 1)


def _block_at(data: bytes, at: int) -> _Block | None:
    if at + _BLOCK.size > len(data):
        return None
    mark, length, checksum = _BLOCK.unpack_from(data, at)
    body = data[at + _BLOCK.size : at + _BLOCK.size + length]
    good = mark in _MARKS and len(body) == length and zlib.crc32(body) == checksum
    return _Block(at, mark, body) if good else None


def _next_block(data: bytes, at: int) -> int:
    """Return where the next good block begins; the end if there is none."""
    return next((m.start() for m in _MARK.finditer(data, at) if _block_at(data, m.start()) is not None), len(data))


def _opened(block: _Block, first_seq: int, sealer: Sealer | None) -> _Body:
    """Return what a block holds as it was before :func:`_content`."""
    context, content, hidden = _context(first_seq, block.offset), block.body, b""
    if block.mark != _PLAIN and sealer is None:
        raise UnknownKeyError("sealed, and no key is given")
    if block.mark == _SEALED and sealer is not None:
        content = sealer.unseal(content, context)
    if block.mark == _PARTED and sealer is not None:
        part, rest = cut_part(content)
        content, hidden = part[LENGTH.size :], unpacked(sealer.unseal(rest, context + part), LARGEST_BODY)
    return _Body(block.mark, unpacked(content, LARGEST_BODY), hidden)


def _context(first_seq: int, offset: int) -> bytes:
    return struct.pack("<QQ", first_seq, offset)


def _bodies(records: list[Record], form: Form) -> Iterator[_Body]:
    """Cut records into blocks: control records as they are, samples of one shape as columns."""
    guard, whole = Guard(form), form.sealer is not None and form.whole
    for shape, run in groupby(records, key=_shape):
        rows = list(run)
        if shape is None:
            told = rows if form.sealer is None or whole else [guard.told(row) for row in rows]
            yield _Body(_SEALED if whole else _PLAIN, bytes([_CONTROLS]) + b"".join(map(frame, told)))
            continue
        mask = None if whole else b"" if form.sealer is None else guard.mask_of(rows[0])
        for at in range(0, len(rows), BLOCK_RECORDS):
            yield _columnar(rows[at : at + BLOCK_RECORDS], mask)


def _shape(record: Record) -> tuple[int, int] | None:
    size = len(record.payload)
    return None if record.schema == CONTROL or not size or size % FLOAT_BYTES else (record.schema, size)


def _columnar(rows: list[Record], mask: bytes | None) -> _Body:
    """Return rows as columns.

    Parameters
    ----------
    mask : bytes or None
        A byte per column that says whether it is sensitive; ``None`` if everything is to be sealed.
    """
    width = len(rows[0].payload) // FLOAT_BYTES
    values = array("d", b"".join(row.payload for row in rows))
    times = [
        array("q", [row.seq for row in rows]),
        array("q", [row.wall_ns for row in rows]),
        array("q", [row.mono_ns for row in rows]),
    ]
    head = _ROWS.pack(_SAMPLES, rows[0].schema, len(rows), width)
    columns = [values[at::width] for at in range(width)]
    if not mask or not any(mask):
        return _Body(_PLAIN if mask is not None else _SEALED, head + pack_columns(times, columns))
    shown = [column for column, secret in zip(columns, mask, strict=True) if not secret]
    return _Body(_PARTED, head + mask + pack_columns(times, shown), pack_columns([], list(compress(columns, mask))))


def _records(body: _Body, sealer: Sealer | None) -> Unpacked:
    if body.plain[0] == _CONTROLS:
        return opened(scan(body.plain, 1).records, sealer)
    _, schema, count, width = _ROWS.unpack_from(body.plain)
    (seqs, walls, monos), columns = _columns(body, count, width)
    values = array("d", bytes(count * width * FLOAT_BYTES))
    for at, column in enumerate(columns):
        values[at::width] = column
    data, size = values.tobytes(), width * FLOAT_BYTES
    return Unpacked(
        [
            Record(seqs[row], walls[row], monos[row], schema, data[row * size : (row + 1) * size])
            for row in range(count)
        ],
        0,
    )


def _columns(body: _Body, count: int, width: int) -> "tuple[list[array[int]], list[array[float]]]":
    """Return times and values of a block, the sealed ones at their places."""
    if body.mark != _PARTED:
        return unpack_columns(body.plain[_ROWS.size :], count, 3, width)
    mask = body.plain[_ROWS.size : _ROWS.size + width]
    times, shown = unpack_columns(body.plain[_ROWS.size + width :], count, 3, mask.count(0))
    _, hidden = unpack_columns(body.hidden, count, 0, width - mask.count(0))
    rest, secrets = iter(shown), iter(hidden)
    return times, [next(secrets if secret else rest) for secret in mask]
