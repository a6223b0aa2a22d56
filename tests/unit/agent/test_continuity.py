"""Rates over what is thinned: whatever happens to counters, none is told that was not there."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.continuity import last_sweep
from collectors_dagster.agent.intervals import BEGINS_ANEW, INTERVAL, LONGEST_STEP, Intervals, source_interval_ns
from collectors_dagster.agent.reader import Observation
from collectors_dagster.agent.records import (
    CONTROL,
    ClockChange,
    Record,
    Schema,
    clock_payload,
    schema_payload,
)
from collectors_dagster.agent.rows import companions, read_rows
from collectors_dagster.agent.thinning import thinned
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.runner import Column
from collectors_dagster.records import ClockEventKind
from collectors_dagster.samples import Kind, Metric, Sample
from tests.support.spools import append_seconds, limits, open_spool, read_spool, sweep

SECOND = 10**9
START = 1_767_225_600 * SECOND
NAN = float("nan")
RATE = 7.0
GAUGE = Column("load", Metric("load1", Kind.GAUGE, "processes", "", peak=True))
FAST = Column("disk", Metric("disk_reads_total", Kind.COUNTER, "operations", ""), (("device", "vda"),))
SLOW = Column("gpu", Metric("gpu_energy_total", Kind.COUNTER, "joules", ""))
TOLD = Column("agent", Metric(INTERVAL, Kind.GAUGE, "seconds", ""), (("source", "gpu"),))
COUNTERS = (FAST, SLOW)
EVENTS = st.sampled_from(["sweep"] * 18 + ["reset", "reset", "fail", "pause", "suspend", "vanish", "segment"])
STEPS = st.lists(st.tuples(EVENTS, st.sampled_from(COUNTERS), st.integers(1, 40)), min_size=50, max_size=200)


@dataclass
class Host:
    """Two counters that grow by seven a second, except where nobody can compare them with what was before."""

    slow_seconds: int
    phase: int = 1  # read in the second before the tenth: an instant that is kept
    segments: list[list[Record]] = field(default_factory=lambda: [[]])
    second: int = 0
    awake: int = 0
    values: dict[Column, float] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 1e6))
    readings: dict[Column, tuple[float, int]] = field(default_factory=dict)
    failing: dict[Column, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    resets: dict[Column, float] = field(default_factory=dict)
    schema: tuple[Column, ...] = ()
    seq: int = 0

    def happen(self, event: str, counter: Column, amount: int) -> None:
        if event == "reset":
            self.resets[counter] = float(amount)
        elif event == "fail":
            self.failing[counter] = amount
        elif event == "pause":
            self.pass_time(amount)
        elif event == "suspend":
            self.second += amount * 60
            self.control(clock_payload(ClockChange(ClockEventKind.SUSPEND, amount * 60.0)))
            self.forget(*COUNTERS)
        elif event == "vanish":
            self.sweep(tuple(one for one in (GAUGE, *COUNTERS, TOLD) if one != counter))
            self.forget(counter)
        elif event == "segment" and any(record.schema != CONTROL for record in self.segments[-1]):
            self.segments.append([])
            self.schema = ()
        self.sweep((GAUGE, *COUNTERS, TOLD))

    def forget(self, *counters: Column) -> None:
        """Let counters jump by something that nobody may take for an increase."""
        for counter in counters:
            self.values[counter] += 1e6
            self.readings.pop(counter, None)

    def pass_time(self, seconds: int) -> None:
        self.second += seconds
        self.awake += seconds
        for counter in COUNTERS:
            self.values[counter] += RATE * seconds

    def sweep(self, columns: tuple[Column, ...]) -> None:
        self.pass_time(1)
        self.seq += 1
        if columns != self.schema:
            self.schema = columns
            self.control(schema_payload(len(columns) + (SLOW in columns), columns))
        readings = {GAUGE: 1.0, TOLD: float(self.slow_seconds), **{one: self.reading(one) for one in columns[1:-1]}}
        payload = sweep(*(readings[one] for one in columns), columns=columns).values.tobytes()
        self.segments[-1].append(self.record(len(columns) + (SLOW in columns), payload))

    def reading(self, counter: Column) -> float:
        every = self.slow_seconds if counter is SLOW else 1
        if self.failing[counter] or (self.awake + self.phase) % every:
            self.failing[counter] = max(0, self.failing[counter] - 1)
            return NAN
        longest = LONGEST_STEP * source_interval_ns(every, 0, SECOND)
        if counter in self.readings and (self.awake - self.readings[counter][1]) * SECOND > longest:
            self.forget(counter)  # nobody looked for so long: it may have done anything
        lower = self.resets.pop(counter, None)
        if lower is not None and counter in self.readings:
            self.values[counter] = self.readings[counter][0] - lower
        self.readings[counter] = self.values[counter], self.awake
        return self.values[counter]

    def control(self, payload: bytes) -> None:
        self.segments[-1].append(self.record(CONTROL, payload))

    def record(self, schema: int, payload: bytes) -> Record:
        return Record(self.seq, START + self.second * SECOND, self.awake * SECOND, schema, payload)


def observed(segments: Iterable[Sequence[Record]]) -> list[Observation]:
    """Return what a reader of these segments sees."""
    found: list[Observation] = []
    known: dict[int, tuple[Column, ...]] = {}
    changes: tuple[ClockChange, ...] = ()
    for records in segments:
        for read in read_rows(records):
            if isinstance(read.told, Schema):
                told = read.told
                columns = (*told.columns, *companions(told.columns)) if told.thinned else told.columns
                known[told.number] = columns
            elif isinstance(read.told, ClockChange):
                changes = (read.told,)
            elif read.row is not None:
                row, record = read.row, read.record
                values = (*row.values, *row.peaks) if read.schema.thinned else tuple(row.values)
                found.append(
                    Observation(
                        record.seq,
                        record.wall_ns,
                        record.mono_ns,
                        "boot",
                        known[record.schema],
                        values,
                        changes,
                        row.sweeps,
                        row.span_ns,
                    )
                )
                changes = ()
    return found


def rates(seen: Iterable[Observation], resolution: float) -> list[Sample]:
    intervals = Intervals("host", ["disk", "gpu"], resolution_seconds=resolution, sample_interval_seconds=1)
    closed = [*map(intervals.add, seen), intervals.finish()]
    return [one for each in closed if each is not None for one in each.samples if one.series.kind is Kind.COUNTER]


def thinned_in_order(segments: Sequence[list[Record]], levels: Sequence[Sequence[int]]) -> list[list[Record]]:
    """Thin each segment level by level, the older ones first, as the spool does."""
    found = [*segments]
    for depth in range(2):
        for at, records in enumerate(found):
            if len(levels[at % len(levels)]) > depth:
                before = last_sweep(found[at - 1], adjoins=True) if at else None
                found[at] = thinned(records, levels[at % len(levels)][depth], 1.0, before)
    return found


@given(
    STEPS,
    st.builds(Host, slow_seconds=st.sampled_from([1, 2, 5, 5, 10, 20]), phase=st.sampled_from([0, 1, 1, 1])),
    st.lists(st.sampled_from([(), (10,), (60,), (10, 60)]), min_size=1, max_size=4),
    st.sampled_from([10, 60, 3600]),
)
def test_no_rate_is_told_that_was_not_there(
    steps: list[tuple[str, Column, int]], host: Host, levels: list[tuple[int, ...]], resolution: int
) -> None:
    for step in steps:
        host.happen(*step)
    assert {one.value for one in rates(observed(host.segments), resolution)} <= {RATE}
    kept = thinned_in_order(host.segments, levels)
    assert {one.value for one in rates(observed(kept), resolution)} <= {RATE}


def test_a_reset_between_two_kept_instants_is_seen_and_the_rates_around_it_are_kept() -> None:
    """What a slow source stood at before the segment is not known: its rates begin with the first stretch's end."""
    host = Host(slow_seconds=5)
    for second in range(60):
        host.happen("reset" if second == 31 else "sweep", SLOW, 1)
    due, told = rates(observed(host.segments), 10), rates(observed(thinned_in_order(host.segments, [(10,)])), 10)
    assert {(one.series.collector, one.ts) for one in due} - {(one.series.collector, one.ts) for one in told} == {
        ("gpu", datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)) for second in (10, 20)
    }
    assert {one.value for one in told} == {RATE}


@pytest.mark.parametrize("counter", COUNTERS, ids=["every sweep", "every ten seconds"])
def test_a_reset_on_the_border_of_two_segments_is_seen(counter: Column) -> None:
    host = Host(slow_seconds=10)
    for second in range(121):
        if second == 60:
            host.values[counter] = 1e6 - 1  # lower than before, and soon as high again
            host.segments.append([])
            host.schema = ()
        host.happen("sweep", counter, 1)
    kept = thinned_in_order(host.segments, [(10,)])
    told = [one.value for one in rates(observed(kept), 10) if one.series.collector == counter.collector]
    assert len(told) >= 8
    assert set(told) == {RATE}


def test_a_reset_together_with_a_change_of_the_series_is_seen() -> None:
    host = Host(slow_seconds=10)
    for second in range(60):
        host.happen("sweep", FAST, 1)
        if second == 24:
            host.values[FAST] = 1e6
            host.sweep((GAUGE, FAST, TOLD))
    told = [
        one for one in rates(observed(thinned_in_order(host.segments, [(10,)])), 10) if one.series.collector == "disk"
    ]
    assert [one.value for one in told] == [RATE] * 7


def test_after_a_sleep_of_the_host_a_tenant_of_the_same_resolution_is_told_the_same() -> None:
    host = Host(slow_seconds=1)
    for second in range(60):
        host.values[FAST] += second * second
        host.happen("suspend" if second == 24 else "sweep", FAST, 1)
    due, told = rates(observed(host.segments), 10), rates(observed(thinned_in_order(host.segments, [(10,)])), 10)
    assert [(one.series, one.ts) for one in told] == [(one.series, one.ts) for one in due]
    assert [one.value for one in told] == pytest.approx([one.value for one in due])


def test_a_counter_in_doubt_says_so_in_one_value_and_no_reader_takes_it_for_a_number() -> None:
    host = Host(slow_seconds=20)
    for number in range(121):
        if number == 60:
            host.segments.append([])
            host.schema = ()
        host.happen("sweep", SLOW, 1)
    second = observed(thinned_in_order(host.segments, [(10,)])[1:])
    doubtful = [seen.values[2] for seen in second if seen.values[2] == BEGINS_ANEW]
    assert len(doubtful) == 1
    assert {one.value for one in rates(second, 60)} == {RATE}


def test_the_spool_never_makes_a_rate_that_was_not_there(tmp_path: Path, manual_clock: ManualClock) -> None:
    """Counters fall a little at each minute's end and in its middle, and stand higher soon after."""
    columns = (GAUGE, FAST, SLOW, TOLD)
    spool = open_spool(tmp_path, manual_clock)
    values = []
    for second in range(1, 1201):
        height = RATE * second - 50.0 * (second // 30)
        values.append((math.sin(second), height, height if second % 5 == 4 else NAN, 5.0))
    append_seconds(spool, manual_clock, values, columns=columns)
    spool.close()
    later = open_spool(tmp_path, manual_clock, limits(max_bytes=spool.statistics.bytes * 4 // 5))
    for _ in range(100):
        later.tend()
    assert later.statistics.thinned_segments > 5
    assert later.statistics.dropped_segments == 0
    for resolution in (10, 3600):
        told = rates(read_spool(tmp_path), resolution)
        assert {one.value for one in told} == {RATE}
        assert {one.series.collector for one in told} == {"disk", "gpu"}
