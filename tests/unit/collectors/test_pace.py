"""A source that is looked at every five seconds gives exact rates over intervals of ten."""

import random

import pytest

from collectors_dagster.agent.intervals import Intervals
from collectors_dagster.agent.reader import Observation
from collectors_dagster.agent.sampling import nanoseconds
from collectors_dagster.agent.schedule import first_due
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.pace import Paced
from collectors_dagster.collectors.protocol import Reading, Series
from collectors_dagster.collectors.runner import Column
from collectors_dagster.errors import CollectionError, SourceUnavailableError
from collectors_dagster.samples import Kind, Metric

WORK = Metric("work_seconds_total", Kind.COUNTER, "seconds", "")


@pytest.mark.parametrize("drift", [0.0, 0.3, -0.3])
@pytest.mark.parametrize("sweep_seconds", [1.0, 0.1, 0.5])
def test_rates_are_exact_on_the_samplers_grid_and_beside_it(drift: float, sweep_seconds: float) -> None:
    start = first_due(0.0, ManualClock().now().timestamp(), sweep_seconds)
    rates = rates_of(start + drift * sweep_seconds, sweep_seconds)
    assert rates == pytest.approx([3.0] * len(rates), rel=0.001)


def rates_of(start: float, sweep_seconds: float) -> list[float]:
    """Return the rates of a counter that grows by 3 a second, in intervals of ten seconds."""
    clock, jitter = ManualClock(), random.Random(1)
    paced = Paced(lambda: Reading((Series(WORK),), [3 * clock.monotonic()]), 5.0, clock)
    machine = Intervals("host", ("x",), resolution_seconds=10, sample_interval_seconds=sweep_seconds)
    columns = (Column("x", WORK),)
    rates = []
    for seq in range(1, round(120 / sweep_seconds)):
        clock.move(start + seq * sweep_seconds + jitter.uniform(-0.001, 0.001) - clock.monotonic())
        stamp, started = nanoseconds(clock.now()), round(clock.monotonic() * 1e9)
        clock.move(0.0005)  # other collectors come first
        (value,) = paced.read().values
        closed = machine.add(Observation(seq, stamp, started, "boot", columns, (value,)))
        rates += [sample.value for sample in closed.samples] if closed else []
    assert len(rates) >= 10
    return rates[1:]


def test_a_failure_is_repeated_until_the_next_look() -> None:
    clock = ManualClock()
    answers: list[CollectionError | Reading] = [SourceUnavailableError("away", source="x"), Reading((), ())]

    def look() -> Reading:
        answer = answers.pop(0)
        if isinstance(answer, CollectionError):
            raise answer
        return answer

    clock.move(1)
    paced = Paced(look, 5.0, clock)
    for _ in range(3):
        with pytest.raises(SourceUnavailableError, match="away"):
            paced.read()
    clock.move(5)
    assert paced.read() == Reading((), ())
