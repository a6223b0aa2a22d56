"""From sweeps to a tenant's resolution: exact, never negative, the same after a restart."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.fresh import fresh_start, look_back_records
from collectors_dagster.agent.intervals import INTERVAL, ClosedInterval, Intervals, border_records
from collectors_dagster.agent.reader import Observation
from collectors_dagster.agent.records import ClockChange
from collectors_dagster.collectors.runner import Column
from collectors_dagster.records import ClockEventKind
from collectors_dagster.samples import Kind, Metric
from tests.support.spools import COLUMNS, LOAD, READS

SECOND = 10**9
START = datetime(2026, 1, 1, tzinfo=UTC)
START_NS = int(START.timestamp()) * SECOND
NAN = math.nan
RATE = "disk_reads_per_second"


def observation(
    seq: int, at: float, *values: float, boot: str = "boot", columns: tuple[Column, ...] = COLUMNS
) -> Observation:
    """Return what was seen `at` seconds after the start."""
    return Observation(seq, START_NS + round(at * SECOND), round((1000 + at) * SECOND), boot, columns, values)


def seconds(pairs: Sequence[tuple[float, float]], first: float = 0.5) -> list[Observation]:
    """Return one observation a second of a load and a number of reads."""
    return [observation(at + 1, first + at, *pair) for at, pair in enumerate(pairs)]


def intervals(resolution: float = 10.0, collectors: tuple[str, ...] = ("load", "disk")) -> Intervals:
    return Intervals("host-1", collectors, resolution_seconds=resolution, sample_interval_seconds=1.0)


def closed_by(machine: Intervals, seen: Sequence[Observation]) -> list[ClosedInterval]:
    return [closed for each in seen if (closed := machine.add(each)) is not None]


def values(closed: ClosedInterval, metric: str) -> list[float]:
    return [sample.value for sample in closed.samples if sample.series.metric == metric]


def test_gauges_are_the_mean_and_where_a_peak_matters_the_maximum() -> None:
    (closed,) = closed_by(intervals(), seconds([(float(at), 0.0) for at in range(11)]))
    assert values(closed, "load1") == [4.5]
    assert values(closed, "load1_max") == [9.0]


def test_a_sample_names_the_end_of_its_interval() -> None:
    first, second = closed_by(intervals(), seconds([(0.0, 0.0)] * 21))
    assert {sample.ts for sample in first.samples} == {first.end} == {START + timedelta(seconds=10)}
    assert second.end == START + timedelta(seconds=20)
    assert (first.last_seq, second.last_seq) == (10, 20)


def test_samples_carry_host_collector_labels_unit_and_kind() -> None:
    (closed,) = closed_by(intervals(), seconds([(0.0, 0.0)] * 11))
    series = next(sample.series for sample in closed.samples if sample.series.metric == RATE)
    assert (series.host, series.collector, series.labels) == ("host-1", "disk", (("device", "vda"),))
    assert (series.unit, series.kind) == ("operations_per_second", Kind.COUNTER)


def test_a_counter_becomes_its_increase_by_its_own_clock() -> None:
    seen = [observation(1, 9.5, 0, 100), observation(2, 10.5, 0, 130), observation(3, 11.7, 0, 190)]
    _, closed = closed_by(intervals(), [*seen, observation(4, 20.5, 0, 999)])
    assert values(closed, RATE) == [pytest.approx(90 / 2.2, rel=1e-12)]


KILLS = Column("memory", Metric("oom_kills_total", Kind.COUNTER, "operations", "", cumulative=True))


def kills(*counts: float, resolution: float = 10.0, companions: bool = True) -> list[ClosedInterval]:
    """Return the intervals of one count a second."""
    machine = Intervals(
        "host-1", ("memory",), resolution_seconds=resolution, sample_interval_seconds=1.0, companions=companions
    )
    seen = [observation(at + 1, at + 0.5, count, columns=(KILLS,)) for at, count in enumerate(counts)]
    return closed_by(machine, [*seen, observation(99, len(counts) + resolution, 0.0, columns=(KILLS,))])


def test_a_counter_whose_total_is_asked_for_is_delivered_as_a_gauge_beside_its_rate() -> None:
    (closed,) = kills(*[3.0] * 5, *[7.0] * 5)
    rate, total = closed.samples
    assert (rate.series.metric, rate.series.kind) == ("oom_kills_per_second", Kind.COUNTER)
    assert rate.value == pytest.approx(4 / 9)
    assert (total.series.metric, total.series.kind, total.value) == ("oom_kills_total", Kind.GAUGE, 7.0)
    assert (total.series.unit, rate.series.unit) == ("operations", "operations_per_second")
    assert total.ts == rate.ts == closed.end


def test_a_total_is_told_where_there_is_no_rate_yet_and_never_repeated_where_nothing_was_read() -> None:
    first, second, third = kills(4.0, NAN, 5.0, resolution=1.0)
    assert (values(first, "oom_kills_total"), values(first, "oom_kills_per_second")) == ([4.0], [])
    assert second.samples == []
    assert values(third, "oom_kills_total") == [5.0]


def test_a_total_follows_a_reset_and_the_rate_does_not_count_it() -> None:
    (closed,) = kills(*[100.0] * 5, *[1.0] * 5)
    assert values(closed, "oom_kills_total") == [1.0]
    assert values(closed, "oom_kills_per_second") == [0.0]


def test_a_total_survives_a_reboot_at_the_end_of_its_interval() -> None:
    machine = Intervals("host-1", ("memory",), resolution_seconds=10.0, sample_interval_seconds=1.0)
    seen = [
        observation(1, 8.5, 6.0, columns=(KILLS,)),
        observation(2, 9.5, NAN, columns=(KILLS,), boot="next"),
        observation(3, 10.5, 0.0, columns=(KILLS,), boot="next"),
    ]
    (closed,) = closed_by(machine, seen)
    assert values(closed, "oom_kills_total") == [6.0]


def test_windows_at_full_resolution_hold_no_totals() -> None:
    (closed,) = kills(*[3.0] * 10, companions=False)
    assert [sample.series.metric for sample in closed.samples] == ["oom_kills_per_second"]


def test_the_first_interval_rates_what_it_saw() -> None:
    (closed,) = closed_by(
        intervals(), [observation(1, 8.5, 0, 5), observation(2, 9.5, 0, 9), observation(3, 10.5, 0, 9)]
    )
    assert values(closed, RATE) == [4.0]


def test_an_interval_with_a_single_reading_has_no_rate() -> None:
    (closed,) = closed_by(intervals(), [observation(1, 9.5, 1, 5), observation(2, 10.5, 1, 9)])
    assert values(closed, RATE) == []
    assert values(closed, "load1") == [1.0]


def test_a_reset_gives_the_rate_of_the_rest_of_the_interval() -> None:
    counts = [1000.0 + 2 * at for at in range(5)] + [3.0 * at for at in range(5)]
    (closed,) = closed_by(intervals(), seconds([(0.0, count) for count in counts] + [(0.0, 0.0)]))
    assert values(closed, RATE) == [(4 * 2 + 4 * 3) / 8]


def test_a_wrap_is_left_out_like_a_reset() -> None:
    (closed,) = closed_by(intervals(), seconds([(0, 2**32 - 3), (0, 2**32 - 1), (0, 1), (0, 5)] + [(0, 5.0)] * 7))
    assert values(closed, RATE) == [pytest.approx((2 + 4) / 8)]


def test_a_reboot_is_a_reset_even_if_the_counter_is_higher_afterwards() -> None:
    before = [observation(at + 1, at + 0.5, 0, 10.0 * at) for at in range(5)]
    after = [observation(at + 1, at + 0.5, 0, 10_000.0, boot="next") for at in range(5, 11)]
    (closed,) = closed_by(intervals(), before + after)
    assert values(closed, RATE) == [40 / 8]


def test_missing_values_do_not_count() -> None:
    (closed,) = closed_by(intervals(), seconds([(1.0, 0.0), (NAN, NAN)] * 5 + [(0.0, 0.0)]))
    assert values(closed, "load1") == [1.0]
    assert values(closed, RATE) == [0.0]


def test_a_source_that_says_nothing_has_no_samples() -> None:
    (closed,) = closed_by(intervals(), seconds([(NAN, 1.0)] * 11))
    assert values(closed, "load1") == values(closed, "load1_max") == []
    assert {collector for collector, _ in closed.notes} == {"load", "disk"}


def test_only_the_tenants_sources_are_delivered() -> None:
    (closed,) = closed_by(intervals(collectors=("load",)), seconds([(1.0, 1.0)] * 11))
    assert {sample.series.collector for sample in closed.samples} == {"load"}
    assert {collector for collector, _ in closed.notes} == {"load"}


def test_seconds_in_which_a_source_failed_are_a_gap_of_that_source() -> None:
    (closed,) = closed_by(intervals(), seconds([(NAN, 1.0)] * 3 + [(1.0, 1.0)] * 8))
    gaps = {collector: note.gap_seconds for (collector, _), note in closed.notes.items()}
    assert gaps == {"load": 3.0, "disk": 0.0}


def test_time_without_an_agent_is_a_gap_of_every_source_in_the_hours_it_lies_in() -> None:
    before = [observation(1, 3000.5, 0, 0)]
    (closed, *_) = closed_by(machine := intervals(), [*before, observation(2, 10800.5, 0, 0)])
    (late,) = closed_by(machine, [observation(3, 10810.5, 0, 0)])
    gaps: dict[datetime, float] = {}
    for each in (closed, late):
        for (collector, hour), note in each.notes.items():
            if collector == "load":
                gaps[hour] = gaps.get(hour, 0.0) + note.gap_seconds
    assert [gaps[START + timedelta(hours=hour)] for hour in range(4)] == [598.5, 3600.0, 3600.0, 0.5]


def test_a_late_sweep_within_half_an_interval_is_no_gap() -> None:
    (closed,) = closed_by(intervals(), [observation(at, at + 0.4 * (at % 2), 0, 0) for at in range(11)])
    assert sum(note.gap_seconds for note in closed.notes.values()) == 0


def test_a_rate_never_spans_a_gap() -> None:
    seen = [observation(1, 9.5, 0, 0), observation(2, 100.5, 0, 10**6), observation(3, 101.5, 0, 10**6 + 7)]
    _, closed = closed_by(intervals(), [*seen, observation(4, 110.5, 0, 10**6 + 7)])
    assert values(closed, RATE) == [7.0]


def test_a_series_that_appears_later_is_rated_from_then_on() -> None:
    seen = [observation(at + 1, at + 0.5, 1.0, columns=(LOAD,)) for at in range(5)]
    seen += [observation(at + 1, at + 0.5, 1.0, 4.0 * at) for at in range(5, 11)]
    (closed,) = closed_by(intervals(), seen)
    assert values(closed, RATE) == [4.0]


def test_a_clock_that_is_set_back_far_closes_the_interval_and_goes_on() -> None:
    seen = [*seconds([(1.0, 1.0)] * 25), observation(26, 3.5, 1, 1), observation(27, 10.5, 1, 1)]
    ends = [closed.end for closed in closed_by(intervals(), seen)]
    assert ends == [START + timedelta(seconds=after) for after in (10, 20, 30, 10)]


def test_a_clock_that_is_set_back_a_little_goes_on_in_the_open_interval() -> None:
    before = seconds([(1.0, 0.0)] * 11)  # the last look, at 10.5, is the first of its interval
    after = [observation(12 + at, 9.8 + at, 2.0, 0.0) for at in range(12)]
    first, second = closed_by(intervals(), before + after)
    assert (first.end, second.end) == (START + timedelta(seconds=10), START + timedelta(seconds=20))
    assert values(second, "load1") == [(1.0 + 11 * 2.0) / 12]


def test_bytes_and_intervals_are_noted_per_source() -> None:
    (closed,) = closed_by(intervals(), seconds([(1.0, 1.0)] * 11))
    note = closed.notes["disk", START]
    assert (note.intervals, note.bytes) == (1, 10 * 8)


COUNTS = st.lists(st.integers(0, 2**53), min_size=2, max_size=60)


@given(COUNTS, st.floats(0.3, 1.2), st.sampled_from([1.0, 5.0, 10.0, 60.0]))
def test_rates_of_a_growing_counter_are_increase_by_time_between_borders(
    counts: list[int], pause: float, resolution: float
) -> None:
    seen = [observation(at + 1, pause * at, 0, float(count)) for at, count in enumerate(sorted(counts))]
    end = observation(len(seen) + 1, 10_000.0, 0, 0)
    found = {
        closed.end: values(closed, RATE) for closed in closed_by(intervals(resolution), [*seen, end]) if closed.samples
    }
    expected = rates_by_hand(seen, resolution)
    assert {end for end, rate in found.items() if rate} == set(expected)
    for closed_at, rate in expected.items():
        assert found[closed_at] == pytest.approx(rate, rel=1e-12)


def rates_by_hand(seen: list[Observation], resolution: float) -> dict[datetime, list[float]]:
    """Group the readings by interval; each interval's first neighbour is the last reading before it."""
    groups: dict[int, list[Observation]] = {}
    for before, each in pairwise(seen):
        bucket = each.wall_ns // round(resolution * SECOND)
        groups.setdefault(bucket, [before]).append(each)
    return {
        datetime.fromtimestamp((bucket + 1) * resolution, UTC): [
            (group[-1].values[1] - group[0].values[1]) / ((group[-1].mono_ns - group[0].mono_ns) / SECOND)
        ]
        for bucket, group in groups.items()
    }


@given(st.lists(st.tuples(st.floats(0, 1e12), st.floats(0, 1e15) | st.just(NAN)), min_size=1, max_size=40))
def test_no_rate_is_ever_negative_or_infinite(pairs: list[tuple[float, float]]) -> None:
    for closed in closed_by(intervals(5.0), seconds([*pairs, *[(0.0, 0.0)] * 6])):
        assert all(math.isfinite(sample.value) and sample.value >= 0 for sample in closed.samples)


STEPS = st.lists(
    st.tuples(
        st.floats(0, 1e6),
        st.integers(0, 10**6).map(float) | st.just(NAN),
        st.sampled_from([1.0, 1.0, 1.0, 1.0, 4.0]),
        st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.7, -3.0, -6.0, -30.0, 30.0]),
    ),
    min_size=12,
    max_size=90,
)
"""Load, reads, pause, and how far the wall clock is set in it."""


def history(steps: list[tuple[float, float, float, float]]) -> list[Observation]:
    """Return what was seen on a host whose clock is set again and again."""
    at, off, seen = 0.5, 1000.0, []
    for seq, (load, reads, pause, jump) in enumerate(steps):
        at, off = at + pause, off + jump
        changes = (ClockChange(ClockEventKind.STEP, jump),) if jump else ()
        plain = observation(seq + 1, at, load, reads)
        seen.append(plain._replace(wall_ns=plain.wall_ns + round(off * SECOND), changes=changes))
    return seen


@given(STEPS, st.integers(0, 100))
def test_a_restart_at_any_acknowledged_place_changes_nothing(
    steps: list[tuple[float, float, float, float]], stop: int
) -> None:
    seen = history(steps)
    whole = closed_by(intervals(5.0), seen)
    if not whole:
        return
    acked = whole[stop % len(whole)].last_seq
    resumed = intervals(5.0)
    for each in seen[max(0, acked - border_records(1.0)) : acked]:
        resumed.prime(each)
    rest = closed_by(resumed, seen[acked:])
    assert told(rest) == told(closed for closed in whole if closed.last_seq > acked)


@given(STEPS, st.integers(2, 25))
def test_fresh_samples_that_go_first_are_those_of_a_reading_in_order(
    steps: list[tuple[float, float, float, float]], looked_back: int
) -> None:
    """Wherever the end of the spool is looked at, the border found there is a border of every history."""
    seen = history(steps)
    whole = closed_by(intervals(5.0), seen)
    start = fresh_start(seen[-looked_back:], 5 * SECOND)
    if start is None:
        return
    assert start in {closed.last_seq for closed in whole}
    backlog, fresh = intervals(5.0), intervals(5.0)
    first = closed_by(backlog, seen[:start])
    last = backlog.finish()
    for each in seen[max(0, start - border_records(1.0)) : start]:
        fresh.prime(each)
    parts = [*first, *([last] if last else []), *closed_by(fresh, seen[start:])]
    assert told(parts) == told(whole)


def test_where_the_clock_was_just_set_back_no_border_is_taken_for_certain() -> None:
    """The interval of the look at 9.8 is still open: whoever begins there must not believe that it ends with it."""
    ats = [58.5, 59.5, 60.5, 59.8, 60.8, 61.8, 120.5]
    seen = [observation(seq + 1, at, 0.0, 0.0) for seq, at in enumerate(ats)]
    whole = closed_by(intervals(), seen)
    assert [closed.last_seq for closed in whole] == [2, 6]
    assert fresh_start(seen[3:], 10 * SECOND) == 6


def test_the_newest_complete_interval_goes_first() -> None:
    """At a border of minutes, too: what lies on both sides may be thinned to minutes."""
    seen = seconds([(0.0, 0.0)] * 258)
    assert fresh_start(seen[-look_back_records(10.0, 1.0) :], 10 * SECOND) == 240
    assert fresh_start(seen[-look_back_records(10.0, 1.0) - 10 : -10], 10 * SECOND) == 180
    assert fresh_start(seen[-12:], 10 * SECOND) is None


def told(closed: Iterable[ClosedInterval]) -> list[object]:
    """Return all that a sequence of intervals says."""
    return [(each.end, each.last_seq, sorted_samples(each), each.notes, each.clock_events) for each in closed]


def sorted_samples(closed: ClosedInterval) -> list[tuple[str, datetime, float]]:
    return sorted((sample.series.metric, sample.ts, sample.value) for sample in closed.samples)


def test_detail_is_left_out_unless_the_tenant_asks_for_it() -> None:
    fine = Column("load", Metric("load_detail", Kind.GAUGE, "processes", "", detail=True))
    seen = [observation(at, at, 1.0, 1.0, 50.0, columns=(LOAD, READS, fine)) for at in range(11)]
    (without,) = closed_by(intervals(), seen)
    asking = Intervals("host-1", ("load",), resolution_seconds=10.0, sample_interval_seconds=1.0, detail=True)
    (with_detail,) = closed_by(asking, seen)
    assert values(without, "load_detail") == []
    assert values(with_detail, "load_detail") == [50.0]
    assert values(without, "load1") == values(with_detail, "load1") == [1.0]


def test_a_column_of_an_unknown_source_is_ignored() -> None:
    gpu = Column("gpu", Metric("gpu_temperature_celsius", Kind.GAUGE, "celsius", ""))
    seen = [observation(at, at, 1.0, 1.0, 50.0, columns=(LOAD, READS, gpu)) for at in range(11)]
    (closed,) = closed_by(intervals(), seen)
    assert "gpu" not in {sample.series.collector for sample in closed.samples}


DISK_EVERY = Column("agent", Metric(INTERVAL, Kind.GAUGE, "seconds", ""), (("source", "disk"),))
SLOW_COLUMNS = (LOAD, READS, DISK_EVERY)


def paced(every: Sequence[float], silent: range = range(0)) -> list[Observation]:
    """Return one sweep a second; the disk makes 7 reads a second and is looked at whenever its interval is over."""
    seen, due = [], 0.0
    for at, interval in enumerate(every):
        looked = at >= due and at not in silent
        due = at + interval if at >= due else min(due, at + interval)
        reads = 7.0 * at if looked else NAN
        seen.append(observation(at + 1, at + 0.5, 1.0, reads, interval, columns=SLOW_COLUMNS))
    return seen


def gap(closed: Sequence[ClosedInterval], source: str) -> float:
    return sum(note.gap_seconds for each in closed for (name, _), note in each.notes.items() if name == source)


@pytest.mark.parametrize(
    "every", [[5.0] * 61, [10.0] * 61, [1.0] * 20 + [5.0] * 20 + [2.0] * 21, [10.0] * 30 + [1.0] * 31]
)
def test_a_source_read_less_often_has_exact_rates_and_no_gaps(every: list[float]) -> None:
    found = closed_by(intervals(), paced(every))
    rates = [values(each, RATE) for each in found]
    assert all(rate == [7.0] for rate in rates[1:])
    assert gap(found, "disk") == gap(found, "load") == 0.0


def test_a_slow_source_that_falls_silent_is_missing_from_the_time_it_was_due() -> None:
    found = closed_by(intervals(), paced([5.0] * 81, silent=range(20, 45)))
    assert gap(found, "disk") == pytest.approx(25.0)
    assert gap(found, "load") == 0.0


def test_a_pause_of_the_host_is_booked_once_for_a_slow_source_too() -> None:
    seen = [each for each in paced([5.0] * 81) if not 21 <= each.seq - 1 < 51]
    found = closed_by(intervals(), seen)
    assert gap(found, "load") == pytest.approx(30.0)
    assert gap(found, "disk") == pytest.approx(30.0, abs=5.0)


@pytest.mark.parametrize("acked_interval", range(5))
def test_a_restart_keeps_the_border_of_slow_sources(acked_interval: int) -> None:
    seen = paced([10.0] * 25 + [4.0] * 36)
    whole = closed_by(intervals(), seen)
    acked = whole[acked_interval].last_seq
    resumed = intervals()
    for each in seen[max(0, acked - border_records(1.0)) : acked]:
        resumed.prime(each)
    rest = closed_by(resumed, seen[acked:])
    assert [sorted_samples(each) for each in rest] == [sorted_samples(each) for each in whole[acked_interval + 1 :]]
    assert [each.notes for each in rest] == [each.notes for each in whole[acked_interval + 1 :]]


def test_a_series_that_vanishes_has_its_share_of_the_interval() -> None:
    seen = [observation(at + 1, at + 0.5, 2.0, 7.0 * at) for at in range(6)]
    seen += [observation(at + 1, at + 0.5, 2.0, columns=(LOAD,)) for at in range(6, 21)]
    first, second = closed_by(intervals(), seen)
    assert values(first, RATE) == [7.0]
    assert values(second, RATE) == []
    assert values(second, "load1") == [2.0]


def test_a_series_that_comes_back_is_not_bridged() -> None:
    seen = [observation(at + 1, at + 0.5, 2.0, 7.0 * at) for at in range(4)]
    seen += [observation(5, 4.5, 2.0, columns=(LOAD,))]
    seen += [observation(at + 1, at + 0.5, 2.0, 9.0 * at + 1000) for at in range(5, 11)]
    (first,) = closed_by(intervals(), seen)
    assert values(first, RATE) == [pytest.approx((3 * 7 + 4 * 9) / 7)]


def test_a_step_that_began_at_a_longer_interval_is_not_thrown_away() -> None:
    every = [10.0] * 21 + [1.0] * 40
    seen = paced(every)
    late = [each for each in seen if not 21 <= each.seq - 1 < 29]  # after 20, the next look is at 29
    rates = [values(each, RATE) for each in closed_by(intervals(), late)]
    assert [7.0] in rates
    assert all(rate in ([], [7.0]) for rate in rates)
    assert rates[2] == [7.0]


def test_a_source_whose_interval_the_sampling_does_not_divide_has_no_gaps() -> None:
    machine = Intervals("host-1", ("load", "disk"), resolution_seconds=40.0, sample_interval_seconds=4.0)
    seen = []
    for at in range(60):
        reads = 7.0 * at * 4 if at % 2 == 0 else NAN  # due after 4.5 s: every second look
        seen.append(observation(at + 1, 4 * at + 0.5, 1.0, reads, 5.0, columns=SLOW_COLUMNS))
    found = closed_by(machine, seen)
    assert gap(found, "disk") == gap(found, "load") == 0.0
    assert all(values(each, RATE) == [pytest.approx(7.0)] for each in found[1:])
