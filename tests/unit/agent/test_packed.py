"""Closed segments: what was written comes back, and damage costs a block, never a number."""

import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.form import Form, compressor_of
from collectors_dagster.agent.packed import (
    BLOCK_RECORDS,
    PACKED_MAGIC,
    SUMMARY_BYTES,
    Summary,
    is_damaged,
    pack,
    read_summary,
    summarised,
    unpack,
)
from collectors_dagster.agent.protection import Unpacked
from collectors_dagster.agent.records import CONTROL, Record, gap_payload, schema_payload
from collectors_dagster.agent.records import Gap as RecordedGap
from collectors_dagster.errors import UnknownCodecError
from collectors_dagster.security.sealing import Sealer, UnknownKeyError
from tests.support.spools import COLUMNS

KEY, OTHER = bytes(range(32)), bytes(32)
BITS = st.integers(0, 2**64 - 1)


@st.composite
def segments(draw: st.DrawFn) -> list[Record]:
    """Records with rising numbers, of changing schemas, any bits as values, control records between them."""
    records, seq = [], draw(st.integers(0, 2**40))
    for _ in range(draw(st.integers(1, 5))):
        schema, width = draw(st.integers(1, 3)), draw(st.integers(0, 4))
        records.append(Record(seq, 0, 0, CONTROL, draw(st.binary(max_size=30))))
        for _ in range(draw(st.integers(0, 5))):
            seq += draw(st.integers(1, 3))
            payload = struct.pack(f"<{width}Q", *(draw(BITS) for _ in range(width)))
            wall, mono = draw(st.integers(-(2**62), 2**62)), draw(st.integers(-(2**62), 2**62))
            records.append(Record(seq, wall, mono, schema, payload))
    return records


def minute_of(series: int) -> list[Record]:
    """A minute of so many series that begin with the explanation of what they are."""
    columns = tuple(replace(COLUMNS[0], labels=(("n", str(n)),)) for n in range(series))
    rows = [struct.pack(f"<{series}d", *(n * second / 4 for n in range(series))) for second in range(60)]
    told = Record(1, 0, 0, CONTROL, schema_payload(1, columns))
    return [told, *(Record(n, n, n, 1, row) for n, row in enumerate(rows, 1))]


def summary_of(records: list[Record]) -> Summary:
    found = summarised(records)
    assert found is not None
    return found


def packed(records: list[Record], sealer: Sealer | None = None) -> bytes:
    summary = summarised([*records, Record(2**41, 0, 0, 1, b"")])
    assert summary is not None
    return pack(7, records, summary, Form(sealer))


@given(segments())
def test_a_segment_comes_back(records: list[Record]) -> None:
    found = unpack(7, packed(records), None)
    assert found.records == records
    assert not found.damaged


@given(segments(), st.data())
def test_damage_leaves_only_records_that_were_written(records: list[Record], data: st.DataObject) -> None:
    whole = bytearray(packed(records))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    found = unpack(7, bytes(whole), None)
    rest = iter(records)
    assert all(any(record == written for written in rest) for record in found.records)
    assert found.damaged


@given(segments(), st.data())
def test_a_torn_segment_gives_a_beginning(records: list[Record], data: st.DataObject) -> None:
    whole = packed(records)
    found = unpack(7, whole[: data.draw(st.integers(0, len(whole)))], None)
    assert found.records == records[: len(found.records)]


@given(st.binary(max_size=300))
def test_bytes_that_nobody_wrote_hold_no_records(noise: bytes) -> None:
    assert unpack(7, PACKED_MAGIC + noise, None).records == []


def test_a_damaged_block_costs_its_own_records_only() -> None:
    records = [Record(n, n, n, 1, struct.pack("<d", n)) for n in range(1, 4 * BLOCK_RECORDS + 1)]
    whole = bytearray(packed(records))
    second = [at for at in range(len(whole)) if whole[at : at + 4] == b"BLOK"][1]
    whole[second + 20] ^= 1
    found = unpack(7, bytes(whole), None)
    assert found.damaged == 1
    assert found.records == records[:BLOCK_RECORDS] + records[2 * BLOCK_RECORDS :]


@pytest.mark.parametrize("name", ["none", "gzip", "lz4", "zstd", "auto"])
def test_a_segment_of_any_codec_is_read_without_saying_which(name: str) -> None:
    records = minute_of(50)
    whole = pack(7, records, summary_of(records), Form(None, compressor_of(name)))
    assert unpack(7, whole, None) == Unpacked(records, 0)
    assert not is_damaged(whole)
    bodies = {"none": b"\x00", "gzip": b"\x78", "lz4": b"\x02", "zstd": b"\x03", "auto": b"\x78"}
    assert whole[SUMMARY_BYTES + 12 :][:1] == bodies[name]


def test_a_segment_of_before_there_were_codecs_is_read() -> None:
    records = minute_of(50)
    plain = pack(7, records, summary_of(records), Form(None, compressor_of("none")))
    older, at = bytearray(plain[:SUMMARY_BYTES]), SUMMARY_BYTES
    while at < len(plain):
        mark, length, _ = struct.unpack_from("<4sII", plain, at)
        body = zlib.compress(plain[at + 12 + 1 : at + 12 + length], 6)
        older += struct.pack("<4sII", mark, len(body), zlib.crc32(body)) + body
        at += 12 + length
    assert unpack(7, bytes(older), None) == Unpacked(records, 0)


def test_a_block_of_an_unknown_codec_is_no_damage_that_may_be_skipped() -> None:
    records = minute_of(2)
    body = b"\x4dfrom another version"
    block = struct.pack("<4sII", b"BLOK", len(body), zlib.crc32(body)) + body
    with pytest.raises(UnknownCodecError, match="codec 77, which this version does not know"):
        unpack(7, packed(records) + block, None)


def test_the_summary_is_read_from_the_beginning() -> None:
    records = [Record(n, 10 * n, n, 1, struct.pack("<d", n)) for n in range(5, 9)]
    summary = summarised(records)
    assert summary is not None
    assert (summary.first_seq, summary.last_seq, summary.from_ns, summary.to_ns, summary.records) == (5, 8, 50, 80, 4)
    assert read_summary(pack(5, records, summary, Form())[:100]) == summary
    assert summarised([Record(1, 0, 0, CONTROL, gap_payload(RecordedGap(1, 2, 3, "x")))]) is None


@given(segments(), st.data())
def test_a_sealed_segment_opens_with_its_key_only_and_tells_of_every_change(
    records: list[Record], data: st.DataObject
) -> None:
    whole = packed(records, Sealer([KEY]))
    assert unpack(7, whole, Sealer([OTHER, KEY])).records == records
    with pytest.raises(UnknownKeyError, match=r"not among those given"):
        unpack(7, whole, Sealer([OTHER]))
    with pytest.raises(UnknownKeyError, match="no key is given"):
        unpack(7, whole, None)
    assert unpack(8, whole, Sealer([KEY])).records == []  # moved to another name


def test_a_sealed_segment_shows_nothing() -> None:
    records = [
        Record(1, 0, 0, CONTROL, schema_payload(1, COLUMNS)),
        *(Record(n, n, n, 1, struct.pack("<2d", n, 0.5)) for n in range(1, 61)),
    ]
    assert b"load1" not in packed(records, Sealer([KEY]))
