"""When the host is looked at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.schedule import Schedule, first_due


@given(st.lists(st.floats(0, 5), min_size=1, max_size=50), st.sampled_from([0.5, 1.0, 2.0]))
def test_times_stay_on_the_grid_and_every_missed_one_is_counted(delays: list[float], interval: float) -> None:
    schedule = Schedule(interval, due=100.0)
    for delay in delays:
        now = schedule.due + delay
        schedule = schedule.after(now)
        assert now < schedule.due <= now + interval
        assert (schedule.due - 100.0) % interval == 0
    served = len(delays)
    assert schedule.missed + served == (schedule.due - 100.0) / interval


def test_a_punctual_look_misses_nothing() -> None:
    schedule = Schedule(1.0, due=10.0)
    for _ in range(100_000):
        schedule = schedule.after(schedule.due + 0.0007)
    assert schedule == Schedule(1.0, due=100_010.0, missed=0)


@given(st.floats(0, 10**6), st.floats(1.7e9, 2e9), st.sampled_from([0.5, 1.0, 5.0]))
def test_the_first_look_is_soon_and_half_an_interval_beside_the_wall_clocks_grid(
    monotonic: float, wall: float, interval: float
) -> None:
    due = first_due(monotonic, wall, interval)
    assert 0 <= due - monotonic <= interval
    phase = (wall + due - monotonic) % interval
    assert phase == pytest.approx(interval / 2, abs=1e-5)
