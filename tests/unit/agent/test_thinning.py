"""Thinning: fewer records, and nothing that a tenant is told becomes wrong."""

import math
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.continuity import last_sweep
from collectors_dagster.agent.intervals import Intervals
from collectors_dagster.agent.reader import Observation
from collectors_dagster.agent.records import CONTROL, Record, Schema, parse_control, schema_payload
from collectors_dagster.agent.rows import Row, companions, row_of
from collectors_dagster.agent.thinning import thinned
from collectors_dagster.samples import Sample
from tests.support.spools import COLUMNS, sweep

SECOND = 10**9
START = 1_767_225_600 * SECOND
VALUES = st.floats(-1e6, 1e6)
STEPS = st.lists(st.tuples(VALUES, st.integers(-3, 50), st.sampled_from([1, 1, 1, 1, 5])), min_size=1, max_size=150)


def recorded(rows: Iterable[tuple[float, float, int]]) -> list[Record]:
    """Return a segment of sweeps: a gauge, a counter, the second."""
    records = [Record(1, 0, 0, CONTROL, schema_payload(1, COLUMNS))]
    for seq, (gauge, counter, second) in enumerate(rows, 1):
        at = second * SECOND
        records.append(Record(seq, START + at + SECOND // 2, at, 1, sweep(gauge, counter).values.tobytes()))
    return records


def walked(steps: Sequence[tuple[float, int, int]]) -> list[tuple[float, float, int]]:
    """Return rows whose counter and clock go forward by steps; below zero, the counter begins anew."""
    counter, second, rows = 100.0, 0, []
    for gauge, increase, pause in steps:
        second += pause
        counter = counter + increase if increase >= 0 else float(-increase)
        rows.append((gauge, counter, second))
    return rows


JUST_BEFORE = last_sweep(recorded([(0.0, -7.0, -1)]), adjoins=True)


def rows_in(records: Iterable[Record]) -> list[Row]:
    schema = None
    found = []
    for record in records:
        if record.schema == CONTROL:
            told = parse_control(record.payload)
            assert isinstance(told, Schema)
            schema = told
        else:
            assert schema is not None
            found.append(row_of(record, schema))
    return found


def delivered(records: Iterable[Record], resolution: float) -> tuple[dict[tuple[str, float], float], float]:
    """Return what a tenant gets by metric and second, and the gaps."""
    intervals = Intervals("host", ["load", "disk"], resolution_seconds=resolution, sample_interval_seconds=1)
    rows = rows_in(records)
    columns = (*COLUMNS, *companions(COLUMNS)) if rows and len(rows[0].record.payload) > 16 else COLUMNS
    closed = []
    for row in rows:
        values = (*row.values, *row.peaks)[: len(columns)]
        record = row.record
        seen = Observation(
            record.seq, record.wall_ns, record.mono_ns, "boot", columns, values, (), row.sweeps, row.span_ns
        )
        closed.append(intervals.add(seen))
    last = rows[-1].record
    later = Observation(
        last.seq + 1, last.wall_ns + 3600 * SECOND, last.mono_ns + 3600 * SECOND, "boot", COLUMNS, (0, 0)
    )
    closed.append(intervals.add(later))
    samples: list[Sample] = [sample for each in closed if each is not None for sample in each.samples]
    gaps = sum(note.gap_seconds for each in closed if each is not None for note in each.notes.values())
    return {(one.series.metric, one.ts.timestamp()): one.value for one in samples}, gaps


@given(STEPS, st.sampled_from([10, 60]))
def test_a_tenant_of_the_same_resolution_is_told_the_same(steps: list[tuple[float, int, int]], level: int) -> None:
    records = recorded(walked(steps))
    before, gaps = delivered(records, level)
    after, gaps_after = delivered(thinned(records, level, 1.0, None), level)
    assert after == pytest.approx(before, rel=1e-9, abs=1e-6)
    assert gaps_after == pytest.approx(gaps)


@given(STEPS)
def test_a_tenant_of_a_minute_is_told_the_same_after_thinning_to_ten_seconds(
    steps: list[tuple[float, int, int]],
) -> None:
    records = recorded(walked(steps))
    before, gaps = delivered(records, 60)
    after, gaps_after = delivered(thinned(records, 10, 1.0, None), 60)
    assert after == pytest.approx(before, rel=1e-9, abs=1e-6)
    assert gaps_after == pytest.approx(gaps)


@given(STEPS)
def test_thinning_twice_is_thinning_once_further(steps: list[tuple[float, int, int]]) -> None:
    records = recorded(walked(steps))
    once, twice = (
        rows_in(thinned(records, 60, 1.0, None)),
        rows_in(thinned(thinned(records, 10, 1.0, None), 60, 1.0, None)),
    )
    assert [row.record.seq for row in twice] == [row.record.seq for row in once]
    assert [(row.sweeps, row.span_ns, row.peaks) for row in twice] == [
        (row.sweeps, row.span_ns, row.peaks) for row in once
    ]
    for late, early in zip(twice, once, strict=True):
        assert list(late.values) == pytest.approx(list(early.values), rel=1e-9, abs=1e-6)


@given(STEPS)
def test_counters_keep_their_exact_values_at_the_instants_that_are_kept(steps: list[tuple[float, int, int]]) -> None:
    rows = walked(steps)
    kept = rows_in(thinned(recorded(rows), 10, 1.0, None))
    assert [row.values[1] for row in kept] == [rows[row.record.seq - 1][1] for row in kept]
    assert sum(row.sweeps for row in kept) == len(rows)
    assert kept[-1].record.seq == len(rows)


def test_a_minute_becomes_six_records_and_then_one() -> None:
    records = recorded([(float(second), 7.0 * second, second) for second in range(60)])
    ten = rows_in(thinned(records, 10, 1.0, JUST_BEFORE))
    sixty = rows_in(thinned(records, 60, 1.0, JUST_BEFORE))
    assert [row.values for row in ten][:2] == [(4.5, 63.0), (14.5, 133.0)]
    assert [tuple(row.peaks) for row in ten][:2] == [(9.0,), (19.0,)]
    assert [(row.sweeps, row.span_ns) for row in sixty] == [(60, 59 * SECOND)]
    assert sixty[0].values == (29.5, 413.0)


def test_what_was_not_measured_stays_unmeasured_and_does_not_spoil_the_mean() -> None:
    nan = math.nan
    kept = rows_in(thinned(recorded([(nan, 1.0, 0), (4.0, 2.0, 1), (nan, nan, 2)]), 10, 1.0, JUST_BEFORE))
    assert kept[0].values[0] == 4.0
    assert math.isnan(kept[0].values[1])
    silent = rows_in(thinned(recorded([(nan, 1.0, 0)]), 10, 1.0, None))
    assert math.isnan(silent[0].values[0])
    assert math.isnan(silent[0].peaks[0])


def test_records_that_do_not_fit_their_schema_are_left_out() -> None:
    records = [*recorded([(1.0, 1.0, 0)]), Record(2, 0, 0, 1, bytes(8)), Record(3, 0, 0, 9, bytes(16))]
    assert [row.record.seq for row in rows_in(thinned(records, 10, 1.0, None))] == [1]
