"""The wire format: what is written comes back, what is damaged is seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.records import (
    Gap,
    Record,
    Schema,
    SegmentHeader,
    frame,
    gap_payload,
    header_payload,
    parse_control,
    scan,
    schema_payload,
)
from collectors_dagster.collectors.runner import Column
from collectors_dagster.errors import SpoolError
from collectors_dagster.samples import Kind, Metric

INT64 = st.integers(-(2**63), 2**63 - 1)
RECORDS = st.lists(
    st.builds(Record, st.integers(0, 2**64 - 1), INT64, INT64, st.integers(0, 2**32 - 1), st.binary(max_size=40)),
    max_size=6,
)
NAMES = st.text(max_size=12)
COLUMNS = st.lists(
    st.builds(
        Column,
        NAMES,
        st.builds(
            Metric,
            NAMES,
            st.sampled_from(Kind),
            NAMES,
            st.just(""),
            peak=st.booleans(),
            detail=st.booleans(),
            cumulative=st.booleans(),
        ),
        st.lists(st.tuples(NAMES, NAMES), max_size=2).map(tuple),
    ),
    max_size=4,
)


@given(RECORDS)
def test_records_come_back_in_order(records: list[Record]) -> None:
    found = scan(b"".join(map(frame, records)))
    assert found.records == records
    assert not found.damaged


@given(RECORDS, st.data())
def test_a_torn_tail_costs_only_the_torn_record(records: list[Record], data: st.DataObject) -> None:
    frames = [frame(record) for record in records]
    whole = b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    found = scan(whole[:cut])
    assert found.records == records[: len(found.records)]
    assert found.end == len(b"".join(frames[: len(found.records)])) <= cut
    assert sum(map(len, frames[: len(found.records) + 1])) > cut or len(found.records) == len(records)
    assert not found.damaged


@given(RECORDS.filter(bool), st.data())
def test_a_changed_byte_is_never_read_as_a_value(records: list[Record], data: st.DataObject) -> None:
    whole = bytearray(b"".join(map(frame, records)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    found = scan(bytes(whole))
    assert len(found.records) < len(records)
    rest = iter(records)
    assert all(any(record == written for written in rest) for record in found.records)


@given(st.lists(st.binary(max_size=40), min_size=3, max_size=8), st.data())
def test_behind_a_damage_the_next_good_record_is_found(payloads: list[bytes], data: st.DataObject) -> None:
    records = [Record(seq, seq, seq, 1, payload) for seq, payload in enumerate(payloads, 1)]
    frames = [frame(record) for record in records]
    hit = data.draw(st.integers(0, len(records) - 2))
    at = data.draw(st.integers(0, len(frames[hit]) - 1))
    broken = bytearray(frames[hit])
    broken[at] ^= data.draw(st.integers(1, 255))
    found = scan(b"".join((*frames[:hit], bytes(broken), *frames[hit + 1 :])))
    assert found.records == records[:hit] + records[hit + 1 :]
    assert found.skipped == 1
    assert not found.damaged


@given(st.binary(max_size=400))
def test_bytes_that_nobody_wrote_are_no_records(noise: bytes) -> None:
    assert scan(noise).records == []


@given(COLUMNS, st.integers(1, 2**32 - 1))
def test_a_schema_comes_back(columns: list[Column], schema: int) -> None:
    assert parse_control(schema_payload(schema, columns)) == Schema(schema, tuple(columns))
    assert parse_control(schema_payload(schema, columns, thinned=True)) == Schema(schema, tuple(columns), thinned=True)


def test_a_schema_written_before_there_was_detail_is_understood() -> None:
    payload = b'{"schema":7,"columns":[["load","load1","gauge","processes",false,[]]]}'
    assert parse_control(payload) == Schema(7, (Column("load", Metric("load1", Kind.GAUGE, "processes", "")),))


def test_a_header_and_a_gap_come_back() -> None:
    header, gap = SegmentHeader("agent", "epoch", "boot", "host"), Gap(1, 2, 3, "no space left")
    assert parse_control(header_payload(header)) == header
    assert parse_control(gap_payload(gap)) == gap


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b'{"segment": {"version": 99}}',
        b'{"segment": {"version": 1, "agent_id": "a"}}',
        b'{"gap": {"x": 1}}',
        b'{"schema": 1, "columns": [[1]]}',
        b"\xff",
    ],
)
def test_what_cannot_be_understood_is_an_error_of_ours(payload: bytes) -> None:
    with pytest.raises(SpoolError, match="understood"):
        parse_control(payload)
