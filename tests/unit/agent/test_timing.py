"""A clock that is set, and a host that sleeps: told as data, and never a wrong rate."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from collectors_dagster.agent.intervals import ClosedInterval, Intervals
from collectors_dagster.agent.reader import Observation
from collectors_dagster.agent.records import ClockChange
from collectors_dagster.agent.sampling import Sampler
from collectors_dagster.agent.timing import NANOSECONDS, Instant, clock_changes, read_instant
from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.collectors.protocol import Reading, Series
from collectors_dagster.collectors.runner import Runner
from collectors_dagster.records import ClockEvent, ClockEventKind
from collectors_dagster.samples import Kind, Metric
from tests.support.spools import open_spool, read_spool, sweep

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600.0
SERIES = (
    Series(Metric("level", Kind.GAUGE, "things", "")),
    Series(Metric("things_total", Kind.COUNTER, "things", "")),
)


class Things:
    """A source whose counter grows by seven a second of the steady clock, and by a million in every sleep."""

    name = "things"
    metrics = tuple(series.metric for series in SERIES)

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def read(self) -> Reading:
        slept = self._clock.boottime() - self._clock.monotonic()
        return Reading(SERIES, [1.0, 7.0 * self._clock.monotonic() + 1e6 * (slept > 0)])

    def close(self) -> None:
        """Nothing is held."""


class Looks:
    """A sampler on a clock that the test moves, sets and suspends."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        self.clock = clock
        self._directory = directory
        self._sampler = Sampler(Runner([Things(clock)], clock), open_spool(directory, clock), clock)
        clock.sleep(0.5)

    def take(self, seconds: int, drift: float = 0.0) -> None:
        """Look once a second; the wall clock runs ahead of the steady one by `drift` seconds each second."""
        for _ in range(seconds):
            self._sampler.sweep()
            self.clock.sleep(1)
            self.clock.step(drift)

    def run(self, until: float) -> None:
        """Let the sampler's own loop run up to a monotonic time."""
        clock = self.clock

        class Moving(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                clock.sleep(timeout or 0.0)
                return clock.monotonic() >= until

        self._sampler.run(1.0, Moving(), lambda: None)

    @property
    def events(self) -> int:
        return self._sampler.progress.clock_events

    def seen(self) -> list[Observation]:
        return read_spool(self._directory)

    def closed(self) -> list[ClosedInterval]:
        machine = Intervals("host-1", ["things"], resolution_seconds=10, sample_interval_seconds=1)
        return [closed for seen in self.seen() if (closed := machine.add(seen)) is not None]

    def told(self) -> list[ClockEvent]:
        return [event for closed in self.closed() for event in closed.clock_events]


@pytest.fixture
def looks(tmp_path: Path, manual_clock: ManualClock) -> Looks:
    return Looks(tmp_path, manual_clock)


def rates(closed: list[ClosedInterval]) -> set[float]:
    return {round(one.value, 9) for each in closed for one in each.samples if one.series.kind is Kind.COUNTER}


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, 0.6, -0.6], ids=["hour on", "hour back", "bit on", "bit back"])
def test_a_clock_that_is_set_is_told_and_changes_no_rate(looks: Looks, seconds: float) -> None:
    looks.take(35)
    looks.clock.step(seconds)
    looks.take(35)
    (event,) = looks.told()
    assert (event.host, event.kind) == ("host-1", ClockEventKind.STEP)
    assert event.seconds == pytest.approx(seconds, abs=1e-6)
    assert event.ts == START + timedelta(seconds=35.5 + seconds)
    assert rates(looks.closed()) == {7.0}
    assert looks.events == 1


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, 0.6, -0.6])
def test_no_interval_lies_beyond_the_clock_and_none_comes_twice_but_in_times_lived_twice(
    looks: Looks, seconds: float
) -> None:
    looks.take(35)
    set_at = looks.clock.now()
    looks.clock.step(seconds)
    looks.take(35)
    ends = [closed.end for closed in looks.closed()]
    assert max(ends) <= max(set_at, looks.clock.now()) + timedelta(seconds=10)
    twice = {end for end, times in Counter(ends).items() if times > 1}
    assert not twice
    assert [after > before for before, after in pairwise(ends)].count(False) == (seconds == -HOUR)


def test_a_clock_set_back_into_the_interval_before_makes_no_second_one_of_its_end(looks: Looks) -> None:
    looks.take(31)  # the last look is the first of its interval
    looks.clock.step(-1.0)
    looks.take(20)
    ends = [closed.end for closed in looks.closed()]
    assert ends == [START + timedelta(seconds=at) for at in (10, 20, 30, 40)]


def test_a_clock_that_is_slewed_is_not_told(looks: Looks) -> None:
    looks.take(3600, drift=500e-6)
    assert looks.told() == []
    assert rates(looks.closed()) == {7.0}


def test_a_sleep_is_told_is_a_gap_and_makes_no_rate(looks: Looks) -> None:
    looks.take(35)
    looks.clock.suspend(8 * HOUR)
    looks.take(35)
    (event,) = looks.told()
    assert (event.kind, event.seconds) == (ClockEventKind.SUSPEND, 8 * HOUR)
    assert rates(looks.closed()) == {7.0}
    gaps = sum(note.gap_seconds for closed in looks.closed() for note in closed.notes.values())
    assert gaps == pytest.approx(8 * HOUR)
    ends = [closed.end for closed in looks.closed()]
    slept = (START + timedelta(seconds=40), START + timedelta(seconds=30 + 8 * HOUR))
    assert not [end for end in ends if slept[0] < end <= slept[1]]


def test_after_a_sleep_in_which_the_clock_was_set_too_both_are_told(looks: Looks) -> None:
    looks.take(15)
    looks.clock.suspend(100)
    looks.clock.step(-30)
    looks.take(15)
    assert [(event.kind.value, event.seconds) for event in looks.told()] == [("suspend", 100.0), ("clock_step", -30.0)]


def test_looks_stay_half_way_between_seconds_when_the_clock_is_set(looks: Looks) -> None:
    looks.run(until=20.6)
    looks.clock.step(600.7)
    looks.run(until=21.0)
    looks.run(until=60.0)
    fractions = [seen.wall_ns % NANOSECONDS for seen in looks.seen()][-30:]
    assert set(fractions) == {500_000_000}
    steady = [round(seen.mono_ns / 1e9, 6) for seen in looks.seen()]
    assert steady == sorted(set(steady))


def test_a_look_that_took_long_is_no_step() -> None:
    """On a busy machine we may be put aside between two clocks."""
    second = NANOSECONDS
    before = Instant(0, 0, 0)
    late = Instant(2 * second, second, 2 * second, doubt_ns=second)
    assert list(clock_changes(before, late)) == []
    assert len(list(clock_changes(before, late._replace(doubt_ns=0)))) == 1


def test_the_systems_clocks_agree_with_each_other() -> None:
    clock = SystemClock()
    before = read_instant(clock)
    clock.sleep(0.01)
    after = read_instant(clock)
    assert after.mono_ns > before.mono_ns
    assert after.boot_ns > before.boot_ns
    assert list(clock_changes(before, after)) == []


def test_what_happened_to_the_clock_is_told_with_the_next_record_that_can_be_written(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    change = ClockChange(ClockEventKind.STEP, -3.5)
    (tmp_path / "spool").mkdir()
    spool = open_spool(tmp_path / "spool", manual_clock)
    (tmp_path / "spool").rmdir()
    (tmp_path / "spool").write_text("in the way")
    assert spool.append(sweep(1.0, 1.0), 0, 0, [change]) is None
    (tmp_path / "spool").unlink()
    assert spool.append(sweep(1.0, 1.0), 1, 1) == 1
    assert spool.append(sweep(1.0, 1.0), 2, 2) == 2
    spool.close()
    assert [seen.changes for seen in read_spool(tmp_path / "spool")] == [(change,), ()]
