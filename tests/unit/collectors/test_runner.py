"""The frame around collectors: isolation, counting, limits."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.protocol import Reading, Series
from collectors_dagster.collectors.runner import EARLY, MAX_SERIES, Runner
from collectors_dagster.errors import SourceUnavailableError
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, Phase
from collectors_dagster.samples import Kind, Metric

METRIC = Metric("things", Kind.GAUGE, "things", "Things.")
ONE = (Series(METRIC),)
TWO = (Series(METRIC), Series(METRIC, (("name", "b"),)))


class Scripted:
    """A collector that answers what a test says."""

    metrics = (METRIC,)

    def __init__(self, name: str, answer: Callable[[], Reading]) -> None:
        self.name = name
        self.answer = answer
        self.closed = False

    def read(self) -> Reading:
        return self.answer()

    def close(self) -> None:
        self.closed = True


def failing() -> Reading:
    raise SourceUnavailableError("gone", source="test")


class Limited(Scripted):
    """A source that allows a reading every two seconds."""

    interval_seconds = 2.0


@given(
    steps=st.lists(st.tuples(st.floats(0.01, 3.0), st.one_of(st.none(), st.floats(0.0, 5.0))), min_size=1, max_size=60)
)
def test_no_sweep_and_no_pacing_reads_a_source_more_often_than_it_allows(
    steps: list[tuple[float, float | None]],
) -> None:
    clock = ManualClock()
    read_at: list[float] = []

    def answer() -> Reading:
        read_at.append(clock.monotonic())
        return Reading(ONE, [1.0])

    runner = Runner([Limited("costly", answer)], clock)
    for pause, asked in steps:
        if asked is not None:
            runner.read_every("costly", asked)
        runner.sweep()
        clock.sleep(pause)
    assert all(later - earlier >= EARLY * 2.0 - 1e-9 for earlier, later in pairwise(read_at))
    assert runner.tallies["costly"].interval_seconds >= 2.0


def test_values_stand_in_the_order_of_columns() -> None:
    first = Scripted("a", lambda: Reading(ONE, [1.0]))
    second = Scripted("b", lambda: Reading(TWO, [2.0, 3.0]))
    sweep = Runner([first, second], ManualClock()).sweep()
    assert list(sweep.values) == [1.0, 2.0, 3.0]
    assert [column.collector for column in sweep.columns] == ["a", "b", "b"]


@pytest.mark.parametrize("error", [SourceUnavailableError("x", source="t"), ZeroDivisionError(), RuntimeError("bug")])
def test_one_failing_source_costs_no_other(error: Exception) -> None:
    def fail() -> Reading:
        raise error

    runner = Runner([Scripted("bad", fail), Scripted("good", lambda: Reading(ONE, [1.0]))], ManualClock())
    assert list(runner.sweep().values) == [1.0]
    assert runner.tallies["bad"].errors == {type(error).__name__: 1}
    assert not runner.tallies["good"].errors


def test_a_source_that_fails_later_keeps_its_columns_with_no_values() -> None:
    source = Scripted("a", lambda: Reading(ONE, [1.0]))
    runner = Runner([source], ManualClock())
    before = runner.sweep()
    source.answer = failing
    after = runner.sweep()
    assert after.columns is before.columns
    assert math.isnan(after.values[0])


def test_columns_are_the_same_object_until_the_series_change() -> None:
    source = Scripted("a", lambda: Reading(ONE, [1.0]))
    runner = Runner([source], ManualClock())
    first = runner.sweep().columns
    assert runner.sweep().columns is first
    source.answer = lambda: Reading(TWO, [1.0, 2.0])
    assert len(runner.sweep().columns) == 2


def test_series_over_the_limit_are_refused_and_counted_and_the_sweep_goes_on() -> None:
    many = tuple(Series(METRIC, (("n", str(n)),)) for n in range(MAX_SERIES + 5))
    crowd = Scripted("crowd", lambda: Reading(many, [1.0] * len(many)))
    runner = Runner([crowd, Scripted("good", lambda: Reading(ONE, [7.0]))], ManualClock())
    sweep = runner.sweep()
    assert len(sweep.columns) == len(sweep.values) == MAX_SERIES + 1
    assert sweep.values[-1] == 7.0
    assert runner.tallies["crowd"].refused_series == 5


def test_failures_that_last_are_counted_each_time_and_logged_once_each_however_many_there_are() -> None:
    errors: tuple[SourceUnavailableError, ...]
    errors = (SourceUnavailableError("one", source="t"), SourceUnavailableError("two", source="t"))
    source = Scripted("a", lambda: Reading(ONE, [1.0], errors))
    runner = Runner([source], ManualClock())
    with capture_logs() as lines:
        for _ in range(3):
            runner.sweep()
    assert [line["error"] for line in lines] == ["one", "two"]
    assert runner.tallies["a"].errors == {"SourceUnavailableError": 6}
    errors = ()
    runner.sweep()
    errors = (SourceUnavailableError("two", source="t"),)
    with capture_logs() as lines:
        runner.sweep()
    assert [line["error"] for line in lines] == ["two"]


def test_a_wrong_number_of_values_is_an_error_not_a_shifted_sweep() -> None:
    runner = Runner(
        [Scripted("bad", lambda: Reading(TWO, [1.0])), Scripted("good", lambda: Reading(ONE, [7.0]))], ManualClock()
    )
    sweep = runner.sweep()
    assert list(sweep.values) == [7.0]
    assert sum(runner.tallies["bad"].errors.values()) == 1


def test_each_source_is_timed_and_its_last_success_is_known() -> None:
    clock = ManualClock()

    def slow() -> Reading:
        clock.sleep(0.25)
        return Reading(ONE, [1.0])

    source = Scripted("slow", slow)
    runner = Runner([source], clock)
    succeeded_at = clock.now()
    runner.sweep()
    source.answer = failing
    clock.sleep(1)
    runner.sweep()
    tally = runner.tallies["slow"]
    assert (tally.readings, tally.points) == (2, 1)
    assert tally.total_seconds == pytest.approx(0.25)
    assert tally.last_success == succeeded_at
    assert tally.last_error == "gone"


def test_a_part_that_fails_is_counted_while_the_rest_is_kept() -> None:
    error = SourceUnavailableError("half of it", source="test")
    runner = Runner([Scripted("a", lambda: Reading(ONE, [1.0], (error,)))], ManualClock())
    assert list(runner.sweep().values) == [1.0]
    assert runner.tallies["a"].errors == {"SourceUnavailableError": 1}


def test_the_runner_closes_its_collectors() -> None:
    source = Scripted("a", lambda: Reading(ONE, [1.0]))
    Runner([source], ManualClock()).close()
    assert source.closed


class Slow(Scripted):
    interval_seconds = 5.0


class Patient(Scripted):
    """A collector that is asked first and answers later."""

    def __init__(self, name: str, answer: Callable[[], Reading], asked: list[str]) -> None:
        super().__init__(name, answer)
        self.asked = asked

    def begin(self) -> None:
        self.asked.append(self.name)


def test_a_source_with_an_interval_has_no_values_between_its_readings() -> None:
    clock = ManualClock()
    runner = Runner([Slow("slow", lambda: Reading(ONE, [clock.monotonic()]))], clock)
    seen = []
    for _ in range(11):
        seen.append(runner.sweep().values[0])
        clock.sleep(1)
    assert [int(value) for value in seen if not math.isnan(value)] == [0, 5, 10]
    assert runner.tallies["slow"].readings == 3


@given(st.lists(st.floats(-0.05, 0.05), min_size=30, max_size=60))
def test_jitter_of_sweeps_costs_no_reading(jitter: list[float]) -> None:
    clock = ManualClock()
    runner = Runner([Slow("slow", lambda: Reading(ONE, [1.0]))], clock)
    for number, late in enumerate(jitter):
        clock.move(max(number + 0.5 + late - clock.monotonic(), 0.0))
        runner.sweep()
    assert runner.tallies["slow"].readings == (len(jitter) - 1) // 5 + 1


def test_an_interval_can_be_changed_and_a_shorter_one_counts_from_the_last_reading() -> None:
    clock = ManualClock()
    runner = Runner([Scripted("any", lambda: Reading(ONE, [1.0]))], clock)
    runner.read_every("any", 5.0)
    runner.sweep()
    clock.sleep(1)
    assert math.isnan(runner.sweep().values[0])
    runner.read_every("any", 1.0)
    assert runner.sweep().values[0] == 1.0
    assert runner.tallies["any"].interval_seconds == 1.0
    with pytest.raises(KeyError):
        runner.read_every("nobody", 1.0)


def test_sources_that_wait_are_all_asked_before_any_is_read() -> None:
    events: list[str] = []

    def reads(name: str) -> Callable[[], Reading]:
        def read() -> Reading:
            events.append(f"{name} read")
            return Reading(ONE, [1.0])

        return read

    patient = [Patient(name, reads(name), events) for name in ("x", "y")]
    runner = Runner([patient[0], Scripted("quick", reads("quick")), patient[1]], ManualClock())
    sweep = runner.sweep()
    assert events == ["x", "y", "quick read", "x read", "y read"]
    assert [column.collector for column in sweep.columns] == ["quick", "x", "y"]


def test_asking_that_fails_is_counted_and_costs_no_other() -> None:
    class Broken(Patient):
        def begin(self) -> None:
            raise RuntimeError("no pipe")

    broken = Broken("broken", lambda: Reading(ONE, [1.0]), [])
    runner = Runner([broken, Scripted("good", lambda: Reading(ONE, [7.0]))], ManualClock())
    assert 7.0 in runner.sweep().values
    assert runner.tallies["broken"].errors == {"RuntimeError": 1}


POLICY = BreakerPolicy(failure_threshold=3, recovery_seconds=30.0)


def circuit(runner: Runner) -> Phase:
    return runner.tallies["a"].circuit


def test_a_source_that_keeps_failing_is_left_alone_and_looked_at_again() -> None:
    clock = ManualClock()
    source = Scripted("a", failing)
    runner = Runner([source], clock, policy=POLICY)
    for _ in range(20):
        runner.sweep()
        clock.sleep(1)
    assert runner.tallies["a"].readings == 3
    assert runner.tallies["a"].skipped == 17
    assert circuit(runner) is Phase.OPEN
    source.answer = lambda: Reading(ONE, [1.0])
    clock.sleep(30)
    assert list(runner.sweep().values) == [1.0]
    assert circuit(runner) is Phase.CLOSED
    assert list(runner.sweep().values) == [1.0]


def test_a_failure_now_and_then_opens_no_circuit() -> None:
    clock = ManualClock()
    source = Scripted("a", failing)
    runner = Runner([source], clock, policy=POLICY)
    for number in range(200):
        source.answer = failing if number % 5 == 0 else lambda: Reading(ONE, [1.0])
        runner.sweep()
        clock.sleep(1)
    assert runner.tallies["a"].skipped == 0
    assert runner.tallies["a"].errors == {"SourceUnavailableError": 40}


def test_a_reading_that_takes_too_long_keeps_its_values_and_counts_as_a_failure() -> None:
    clock = ManualClock()

    def crawl() -> Reading:
        clock.sleep(0.6)
        return Reading(ONE, [1.0])

    runner = Runner([Scripted("slow", crawl)], clock, policy=POLICY)
    for _ in range(3):
        assert list(runner.sweep().values) == [1.0]
    assert runner.tallies["slow"].errors == {"SourceUnavailableError": 3}
    assert math.isnan(runner.sweep().values[0])
    assert runner.tallies["slow"].circuit is Phase.OPEN
