"""How often a source is looked at: at once when something happens, seldom when nothing does."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.strategies.sampling import (
    CALM_SECONDS,
    Level,
    Pace,
    SamplingBounds,
    Situation,
    demanded,
    next_pace,
)

BOUNDS = SamplingBounds(1.0, 10.0)
FINITE = st.floats(-1e12, 1e12)


def after(pace: Pace, values: list[float], bounds: SamplingBounds = BOUNDS) -> Pace:
    for value in values:
        pace = next_pace(pace, (value,), pace.interval_seconds, bounds)
    return pace


def noisy(level: float, noise: float, count: int, seed: int = 1) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(level, noise) for _ in range(count)]


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
def test_a_calm_source_is_looked_at_seldom(noise: float) -> None:
    assert after(Pace(1.0), noisy(0.5, noise, 600)).interval_seconds == 10.0


def test_calm_must_last_before_the_interval_grows() -> None:
    steps = [Pace(1.0)]
    for value in noisy(0.5, 0.01, 400):
        steps.append(next_pace(steps[-1], (value,), steps[-1].interval_seconds, BOUNDS))
    grown = [pace.interval_seconds for pace in steps]
    assert sorted(grown) == grown
    assert set(grown) == {1.0, 2.0, 4.0, 8.0, 10.0}
    assert grown.index(2.0) >= CALM_SECONDS


@pytest.mark.parametrize("level", [0.05, 0.95])
def test_a_step_up_or_down_is_answered_at_the_next_reading(level: float) -> None:
    calm = after(Pace(1.0), noisy(0.5, 0.02, 600))
    excited = next_pace(calm, (level,), calm.interval_seconds, BOUNDS)
    assert (excited.interval_seconds, excited.reason) == (1.0, "trend")


def test_a_slow_climb_is_noticed() -> None:
    calm = after(Pace(1.0), noisy(0.3, 0.01, 600))
    climb = [0.3 + 0.002 * at for at in range(100)]
    assert after(calm, climb).interval_seconds == 1.0


def test_pressure_and_an_expected_peak_need_no_movement() -> None:
    calm = after(Pace(1.0), [0.5] * 600)
    for situation, reason in (
        (Situation(pressure=0.2), "pressure"),
        (Situation(peak_expected=True), "a peak is expected"),
    ):
        pace = next_pace(calm, (0.5,), 10.0, BOUNDS, situation)
        assert (pace.interval_seconds, pace.reason) == (1.0, reason)


@given(st.lists(st.one_of(FINITE, st.just(math.nan)), max_size=60), st.floats(0.1, 10), st.floats(1, 10))
def test_the_interval_never_leaves_its_bounds(values: list[float], fastest: float, factor: float) -> None:
    bounds = SamplingBounds(fastest, fastest * factor)
    pace = Pace(3.0)
    for value in values:
        pace = next_pace(pace, (value,), pace.interval_seconds, bounds)
        assert bounds.fastest <= pace.interval_seconds <= bounds.slowest


@given(st.lists(FINITE, min_size=2, max_size=40), st.floats(0.1, 20))
def test_a_level_stays_between_what_was_seen(values: list[float], seconds: float) -> None:
    level = Level()
    for value in values:
        level = level.after(value, seconds)
    room = 1e-6 * (1 + max(map(abs, values)))
    assert min(values) - room <= level.slow <= max(values) + room
    assert min(values) - room <= level.fast <= max(values) + room
    assert level.movement >= 0


def test_all_tenants_are_served_by_the_most_demanding() -> None:
    assert demanded([SamplingBounds(1, 10), SamplingBounds(2, 4), SamplingBounds(1, 1)]) == SamplingBounds(1, 1)
    assert demanded([SamplingBounds(5, 10), SamplingBounds(1, 2)]) == SamplingBounds(1, 2)
    assert demanded([SamplingBounds(5, 10), SamplingBounds(1, 1)]) == SamplingBounds(1, 1)


def test_bounds_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="fastest <= slowest"):
        SamplingBounds(5.0, 1.0)
