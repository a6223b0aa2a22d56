"""Columns of numbers: exact to the last bit, whatever the numbers; damage is an error, never a number."""

import math
import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.columns import DIVISORS, pack_columns, unpack_columns
from collectors_dagster.errors import SpoolError

ANY_FLOAT = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
COUNTERS = st.builds(
    lambda start, steps, divisor: [(start + sum(steps[:n])) / divisor for n in range(len(steps))],
    st.integers(0, 2**50),
    st.lists(st.integers(0, 2**20), min_size=70, max_size=70),
    st.sampled_from(DIVISORS),
)
INT64 = st.integers(-(2**63), 2**63 - 1)


def tables(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[list[float]]]:
    return st.integers(1, 9).flatmap(
        lambda length: st.lists(st.lists(values, min_size=length, max_size=length), min_size=1, max_size=5)
    )


@given(tables(ANY_FLOAT | st.floats() | st.sampled_from([0.0, -0.0, math.nan, math.inf, 0.01, 1e300])), st.data())
def test_any_numbers_come_back_to_the_last_bit(columns: list[list[float]], data: st.DataObject) -> None:
    length = len(columns[0])
    floats = [array("d", column) for column in columns]
    times = [array("q", data.draw(st.lists(INT64, min_size=length, max_size=length))) for _ in range(2)]
    back_times, back = unpack_columns(pack_columns(times, floats), length, 2, len(floats))
    assert back_times == times
    assert [column.tobytes() for column in back] == [column.tobytes() for column in floats]


@given(COUNTERS)
def test_counters_take_a_fraction_of_their_size(values: list[float]) -> None:
    column = array("d", values)
    packed = pack_columns([], [column])
    assert unpack_columns(packed, len(column), 0, 1)[1][0].tobytes() == column.tobytes()
    assert len(packed) <= len(values) * 4 + 100


@given(tables(st.floats()), st.data())
def test_what_is_cut_off_is_an_error(columns: list[list[float]], data: st.DataObject) -> None:
    packed = pack_columns([], [array("d", column) for column in columns])
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(SpoolError):
        unpack_columns(packed[:cut], len(columns[0]), 0, len(columns))


@given(st.binary(max_size=200), st.integers(1, 20), st.integers(0, 3), st.integers(0, 5))
def test_any_bytes_are_columns_or_an_error_of_ours(noise: bytes, length: int, times: int, columns: int) -> None:
    try:
        found = unpack_columns(noise, length, times, columns)
    except SpoolError:
        return
    assert all(len(column) == length for column in found[1])
