"""The two clocks keep one contract."""

from datetime import UTC

import pytest

from collectors_dagster.clock import Clock, ManualClock, SystemClock


@pytest.mark.parametrize("clock", [ManualClock(), SystemClock()])
def test_clocks_are_aware_and_never_run_backwards(clock: Clock) -> None:
    before, wall = clock.monotonic(), clock.now()
    clock.sleep(0.001)
    assert wall.tzinfo is UTC
    assert clock.monotonic() > before
    assert clock.now() >= wall


def test_sleeping_by_hand_moves_both_clocks_at_once() -> None:
    clock = ManualClock()
    start = clock.now()
    clock.sleep(90)
    assert clock.monotonic() == 90.0
    assert (clock.now() - start).total_seconds() == 90.0


def test_a_negative_sleep_moves_nothing() -> None:
    clock = ManualClock()
    clock.sleep(-5)
    assert clock.monotonic() == 0.0
