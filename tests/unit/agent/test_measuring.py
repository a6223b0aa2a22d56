"""`collectors agent bench`: figures of this host, sampled into a spool that is thrown away."""

import sys

import pytest

from collectors_dagster.agent.measuring import measure
from collectors_dagster.clock import ManualClock
from tests.support.trees import recorded_host


@pytest.mark.skipif(sys.platform != "linux", reason="a recorded tree of Linux")
def test_every_source_has_its_figure_and_a_broken_one_says_why(manual_clock: ManualClock) -> None:
    found = measure(recorded_host("linux-6.18"), manual_clock, seconds=5, interval_seconds=1.0)
    assert found.sweeps == 5
    assert found.sweep_microseconds > 0
    by_name = {one.source: one for one in found.sources}
    assert by_name["cpu"].series > 4
    assert by_name["cpu"].hot_microseconds > 0
    assert by_name["sockets"].interval_seconds == 5.0
    assert found.series == sum(one.series for one in found.sources)
    assert len(found.lines()) == 2 + len(found.sources)
    assert found.as_json()["series"] == found.series

    broken = measure(recorded_host("cgroups-v1"), manual_clock, seconds=1, interval_seconds=1.0)
    assert any(one.error and "cannot be read" in one.error for one in broken.sources)
