"""The agent's pacing: strategies of tenants applied to what is seen, and said in the data."""

import math
from collections.abc import Callable
from datetime import timedelta

import pytest

from collectors_dagster.agent.catalogue import catalogue
from collectors_dagster.agent.intervals import INTERVAL
from collectors_dagster.agent.own import Own
from collectors_dagster.agent.pacing import PEAK_SPAN, TELLING, ExpectedPeaks, Pacing
from collectors_dagster.agent.sampling import SamplingProgress
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.protocol import Reading, Series
from collectors_dagster.collectors.runner import Runner
from collectors_dagster.samples import Kind, Metric
from collectors_dagster.tenants import Sampling, SystemSource, Tenant

BUSY = Metric("cpu_busy_seconds_total", Kind.COUNTER, "seconds", "")
SOME = Metric("pressure_cpu_waiting_seconds_total", Kind.COUNTER, "seconds", "")
THINGS = Metric("things", Kind.GAUGE, "things", "")


def tenant(sampling: Sampling = Sampling.ADAPTIVE, slowest: float = 8.0, name: str = "acme") -> Tenant:
    system = SystemSource(collectors=("cpu", "pressure"), sampling=sampling, slowest_seconds=slowest)
    return Tenant(name, name, system=system)


class Source:
    """A source of one series."""

    def __init__(self, name: str, metric: Metric, value: Callable[[], float]) -> None:
        self.name = name
        self.metrics = (metric,)
        self.value = value
        self._series = (Series(metric),)

    def read(self) -> Reading:
        return Reading(self._series, [self.value()])

    def close(self) -> None:
        pass


class Machine:
    """A host whose use and pressure a test sets; looked at once a second."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.use, self.pressure = 0.2, 0.0
        self.used, self.waited = 0.0, 0.0
        self.peaks = ExpectedPeaks(clock)
        own = Own(SamplingProgress(), 1.0)
        sources = [
            Source("cpu", BUSY, lambda: self.used),
            Source("pressure", SOME, lambda: self.waited),
            Source("other", THINGS, lambda: 1.0),
        ]
        self.runner = Runner([*sources, own], clock)
        own.tallies = self.runner.tallies
        self.pacing = Pacing(self.runner, 1.0, self.peaks.now)
        self.told: dict[str, float] = {}

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.sleep(1)
            self.used += self.use
            self.waited += self.pressure
            sweep = self.runner.sweep()
            self.pacing.after(sweep, self.clock.monotonic())
            for column, value in zip(sweep.columns, sweep.values, strict=True):
                if column.metric.name == INTERVAL and not math.isnan(value):
                    self.told[dict(column.labels)["source"]] = value

    def interval(self, source: str = "cpu") -> float:
        return self.runner.tallies[source].interval_seconds


@pytest.fixture
def machine(manual_clock: ManualClock) -> Machine:
    return Machine(manual_clock)


def test_a_calm_source_is_read_less_often_and_the_data_say_so(machine: Machine) -> None:
    machine.pacing.follow([tenant()])
    machine.run(400)
    assert machine.interval() == machine.told["cpu"] == 8.0
    before = machine.runner.tallies["cpu"].readings
    machine.run(80)
    assert machine.runner.tallies["cpu"].readings - before == 10


def test_load_brings_the_fastest_interval_at_the_next_reading(machine: Machine) -> None:
    machine.pacing.follow([tenant()])
    machine.run(400)
    machine.use = 1.8
    machine.run(9)
    assert machine.interval() == 1.0


def test_pressure_quickens_all_sources(machine: Machine) -> None:
    machine.pacing.follow([tenant()])
    machine.run(400)
    machine.pressure = 0.3
    machine.run(20)
    assert machine.interval("cpu") == machine.interval("pressure") == 1.0


def test_an_expected_peak_quickens_while_it_lasts(machine: Machine) -> None:
    machine.pacing.follow([tenant()])
    machine.peaks.learn([machine.clock.now() + timedelta(minutes=30)])
    machine.run(600)
    assert machine.interval() == 8.0
    assert machine.pacing.reasons["cpu"] == "calm"
    machine.run(30 * 60 - 600)
    assert machine.interval() == 1.0
    assert machine.pacing.reasons["cpu"] == "a peak is expected"
    machine.run(int(PEAK_SPAN.total_seconds()) + 400)
    assert machine.interval() == 8.0


def test_a_store_that_is_away_does_not_make_peaks_forgotten(machine: Machine) -> None:
    machine.peaks.learn([machine.clock.now()])
    assert not machine.peaks.due
    machine.peaks.learn([])
    assert machine.peaks.now()
    machine.clock.sleep(700)
    assert machine.peaks.due


def test_a_fixed_tenant_keeps_a_shared_source_fast(machine: Machine) -> None:
    machine.pacing.follow([tenant(), tenant(Sampling.FIXED, name="borealis")])
    machine.run(400)
    assert machine.interval() == 0.0
    assert not machine.pacing.adaptive


def test_a_tenant_that_turns_fixed_has_its_seconds_back(machine: Machine) -> None:
    machine.pacing.follow([tenant()])
    machine.run(400)
    machine.pacing.follow([tenant(Sampling.FIXED)])
    before = machine.runner.tallies["cpu"].readings
    machine.run(10)
    assert machine.runner.tallies["cpu"].readings - before >= 9


def test_new_bounds_are_followed(machine: Machine) -> None:
    machine.pacing.follow([tenant(slowest=8.0)])
    machine.run(400)
    machine.pacing.follow([tenant(slowest=2.0)])
    machine.run(10)
    assert machine.interval() == 2.0


def test_a_source_without_telling_values_is_left_alone(machine: Machine) -> None:
    wide = Tenant("wide", "wide", system=SystemSource(collectors=("other",), sampling=Sampling.ADAPTIVE))
    machine.pacing.follow([wide])
    machine.run(300)
    assert machine.interval("other") == 0.0


def test_what_tells_of_a_source_is_measured_by_it() -> None:
    known = {(entry.collector, entry.metric.name) for entry in catalogue()}
    assert {(source, metric) for source, metrics in TELLING.items() for metric in metrics} <= known


def test_the_agent_tells_of_its_own_cost() -> None:
    own = Own(SamplingProgress(last_seconds=0.25, overruns=3), 1.0)
    reading = own.read()
    told = {series.metric.name: value for series, value in zip(reading.series, reading.values, strict=True)}
    assert told["agent_cpu_seconds_total"] > 0
    assert 5e6 < told["agent_resident_memory_bytes"] < 4e9
    assert (told["agent_sweep_seconds"], told["agent_overruns_total"]) == (0.25, 3.0)
    own.close()
