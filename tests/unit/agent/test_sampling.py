"""The sampling loop: punctual, counting what it missed, stopping when asked."""

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from collectors_dagster.agent.sampling import UPKEEP_SECONDS, Sampler
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.protocol import Reading, Series
from collectors_dagster.collectors.runner import Runner
from collectors_dagster.samples import Kind, Metric
from tests.support.spools import open_spool, read_spool

SERIES = (Series(Metric("things", Kind.GAUGE, "things", "Things.")),)


class Moving(threading.Event):
    """An event whose waiting moves a clock; set once the clock has reached an end."""

    def __init__(self, clock: ManualClock, end: float) -> None:
        super().__init__()
        self._clock, self._end = clock, end

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._clock.sleep(timeout)
        return self._clock.monotonic() >= self._end


class Slow:
    """A collector that takes the times of a list, then none."""

    name = "slow"
    metrics = (SERIES[0].metric,)

    def __init__(self, clock: ManualClock, durations: list[float]) -> None:
        self._clock, self._durations = clock, durations

    def read(self) -> Reading:
        self._clock.sleep(self._durations.pop(0) if self._durations else 0.0)
        return Reading(SERIES, [1.0])

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def sampler_of(tmp_path: Path, manual_clock: ManualClock) -> Callable[[list[float]], Sampler]:
    def make(durations: list[float]) -> Sampler:
        runner = Runner([Slow(manual_clock, durations)], manual_clock)
        return Sampler(runner, open_spool(tmp_path, manual_clock), manual_clock)

    return make


def test_it_samples_once_per_interval_half_way_between_full_seconds(
    sampler_of: Callable[[list[float]], Sampler], manual_clock: ManualClock, tmp_path: Path
) -> None:
    sampler = sampler_of([])
    sampler.run(1.0, Moving(manual_clock, 100.0), lambda: None)
    seen = read_spool(tmp_path)
    assert len(seen) == sampler.progress.sweeps == 100
    assert {each.wall_ns % 10**9 for each in seen} == {500_000_000}
    assert sampler.progress.overruns == 0
    assert [path.suffix for path in sorted(tmp_path.glob("*.seg*"))] == [".segz", ".seg"]  # a minute is closed


def test_looks_that_were_missed_are_counted_and_do_not_shift_the_others(
    sampler_of: Callable[[list[float]], Sampler], manual_clock: ManualClock, tmp_path: Path
) -> None:
    sampler = sampler_of([0.0, 2.25, 0.9])
    sampler.run(1.0, Moving(manual_clock, 10.0), lambda: None)
    assert [each.mono_ns / 1e9 for each in read_spool(tmp_path)] == [0.5, 1.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5]
    assert sampler.progress.overruns == 2
    assert sampler.progress.total_seconds == pytest.approx(3.15)


def test_upkeep_is_done_although_samples_are_rare(
    sampler_of: Callable[[list[float]], Sampler], manual_clock: ManualClock
) -> None:
    times: list[float] = []
    sampler = sampler_of([])
    sampler.run(60.0, Moving(manual_clock, 120.0), lambda: times.append(manual_clock.monotonic()))
    assert sampler.progress.sweeps == 2
    assert max(after - before for before, after in pairwise(times)) <= UPKEEP_SECONDS
