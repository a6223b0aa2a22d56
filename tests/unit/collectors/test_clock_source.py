"""The host's clock: what the kernel says of it, steps of wall time, boot time."""

import math
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.collectors.clock import NANOSECONDS, UNSYNCHRONISED, Clock, Timex, discipline, kernel_timex
from collectors_dagster.collectors.protocol import Host
from collectors_dagster.errors import CollectionError, InvalidSampleError, SourceUnavailableError
from tests.support.trees import by_name, host_at, recorded_host

LONG = st.integers(-(2**63), 2**63 - 1)
STEADY = Timex(0, NANOSECONDS, -1500, -65536, 16000, 40)


class SteppingClock(ManualClock):
    """A clock whose wall time can be set while the other one goes on."""

    def set_back(self, seconds: float) -> None:
        self._now -= timedelta(seconds=seconds)


def clock_of(clock: ManualClock | None = None, timex: Timex = STEADY) -> Clock:
    return Clock(recorded_host("linux-3.10", clock), timex=lambda: timex)


def test_the_discipline_is_told_in_seconds_and_as_a_ratio() -> None:
    values = by_name(clock_of().read())
    assert values["clock_offset_seconds"] == pytest.approx(1.5e-6)
    assert values["clock_synchronised"] == 1
    assert values["clock_estimated_error_seconds"] == pytest.approx(40e-6)
    assert values["clock_maximum_error_seconds"] == pytest.approx(0.016)
    assert values["clock_frequency_adjustment_ratio"] == pytest.approx(1 - 1e-6)
    assert values["boot_time_seconds"] == 1400000000


def test_a_clock_that_nobody_disciplines_is_told_so_and_its_offset_is_in_microseconds() -> None:
    values = by_name(clock_of(timex=Timex(UNSYNCHRONISED, 0x40, 250, 0, 16_000_000, 16_000_000)).read())
    assert values["clock_synchronised"] == 0
    assert values["clock_offset_seconds"] == pytest.approx(250e-6)
    assert values["clock_maximum_error_seconds"] == 16


@given(st.builds(Timex, st.integers(0, 5), st.integers(0, 2**16), LONG, LONG, LONG, LONG))
def test_whatever_the_kernel_says_is_possible_or_refused(timex: Timex) -> None:
    try:
        values = discipline(timex)
    except InvalidSampleError:
        return
    assert all(math.isfinite(value) and value >= 0 for value in values)


def test_a_step_of_wall_time_is_told_once_whichever_way_it_goes() -> None:
    wall = SteppingClock()
    clock = clock_of(wall)
    steps = []
    for back in (0.0, 0.0, 3600.0, 0.0, -2.5, 0.0):
        wall.sleep(1)
        wall.set_back(back)
        steps.append(by_name(clock.read())["clock_step_seconds"])
    assert steps == pytest.approx([0, 0, 3600, 0, 2.5, 0], abs=1e-3)


def test_a_sandbox_that_forbids_to_ask_the_kernel_costs_only_the_discipline() -> None:
    def forbidden() -> Timex:
        raise SourceUnavailableError("not permitted", source="clock")

    reading = Clock(recorded_host("linux-3.10"), timex=forbidden).read()
    values = by_name(reading)
    assert values["boot_time_seconds"] == 1400000000
    assert math.isnan(values["clock_offset_seconds"])
    assert len(reading.errors) == 1


def test_a_boot_time_that_is_not_told_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_bytes(b"cpu0 1 2 3 4\n")
    with pytest.raises(CollectionError, match="btime"):
        Clock(host_at(tmp_path), timex=lambda: STEADY).read()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
def test_this_machines_kernel_answers_and_psutil_knows_the_same_boot_time() -> None:
    assert discipline(kernel_timex())
    clock = Clock(Host(SystemClock()))
    assert by_name(clock.read())["boot_time_seconds"] == pytest.approx(psutil.boot_time(), abs=2)
    clock.close()
