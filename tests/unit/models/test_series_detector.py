"""The detector of one metric: what it says, and that it cannot know what comes."""

from math import inf, isfinite, log, log10, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors_dagster.models.phases import Phases
from collectors_dagster.models.rarity import both, both_of
from collectors_dagster.models.running_tail import RunningTail
from collectors_dagster.models.series_detector import ALARM, PRICE, REFRACTORY_ROWS, News, SeriesDetector
from collectors_dagster.models.sorted_memory import CAPACITY, SortedMemory

STEP = 300.0
NUMBERS = st.floats(-1e6, 1e6)


def daily(days: int, seed: int = 0) -> list[float]:
    """Return values every five minutes: a daily wave with noise."""
    rows = days * 288
    noise = np.random.default_rng(seed).normal(0, 1, rows)
    return list(50 + 20 * np.sin(np.arange(rows) / 288 * 2 * np.pi) + noise)


def surprises(values: list[float], step: float = STEP) -> list[float]:
    detector = SeriesDetector()
    return [detector.judge(row * step, value).surprise for row, value in enumerate(values)]


def alarms(values: list[float]) -> list[int]:
    detector = SeriesDetector()
    return [row for row, value in enumerate(values) if detector.judge(row * STEP, value).alarm >= ALARM]


@given(st.lists(NUMBERS, min_size=3, max_size=40), NUMBERS, st.integers(3, 12))
def test_novelty_is_the_distance_to_the_nearest_of_the_newest_values(
    values: list[float], asked: float, capacity: int
) -> None:
    memory = SortedMemory(capacity)
    for value in values:
        memory.add(value)
    kept = values[-capacity:]
    assert memory.ordered == sorted(kept)
    assert memory.novelty(asked) == min(abs(asked - value) for value in kept)


def test_nothing_seen_says_nothing_about_novelty() -> None:
    assert SortedMemory().novelty(1.0) == inf


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0, 1e7), st.floats(0, 1e7))
def test_what_is_stranger_is_never_less_rare(seen: list[float], one: float, other: float) -> None:
    tail = RunningTail()
    for value in seen:
        tail.add(value)
    smaller, larger = sorted((one, other))
    assert 0.0 <= tail.surprise(smaller) <= tail.surprise(larger) <= 12.0


def test_a_tail_says_how_rare_a_common_number_is() -> None:
    tail = RunningTail()
    for value in range(1000):
        tail.add(float(value))
    assert tail.surprise(500.0) == pytest.approx(0.3, abs=0.01)
    assert tail.surprise(899.0) == pytest.approx(1.0, abs=0.02)
    assert tail.surprise(5000.0) > 2.5


def test_the_season_is_the_median_of_the_same_time_on_days_before() -> None:
    phases = Phases()
    for row in range(3 * 288):
        phases.add(row * STEP, float(row % 288))
    assert phases.normal(3 * 288 * STEP + 100 * STEP) == 100.0


def test_before_two_days_there_is_no_season() -> None:
    phases = Phases()
    for row in range(288):
        phases.add(row * STEP, 1.0)
    assert not isfinite(phases.normal(288 * STEP))


def test_a_fortnight_of_phases_forgets_the_first_week() -> None:
    phases = Phases()
    for row in range(30 * 24):
        phases.add(row * 3600.0, 0.0 if row < 20 * 24 else 5.0)
    assert phases.normal(30 * 24 * 3600.0) == 5.0


@settings(max_examples=20)
@given(st.integers(0, 700), st.integers(1, 60))
def test_a_rows_score_knows_nothing_that_comes_later(cut: int, more: int) -> None:
    values = daily(3)
    other = [*values[:cut], *([1e6] * more)]
    assert surprises(other)[:cut] == surprises(values)[:cut]


@pytest.mark.parametrize("factor", [2.0**-30, 0.5, 1024.0, -8.0])
def test_units_do_not_matter(factor: float) -> None:
    values = daily(4)
    assert surprises([value * factor for value in values]) == surprises(values)


def test_a_spike_never_seen_is_an_alarm_and_its_repetition_is_not() -> None:
    values = daily(6)
    for row in range(1500, 1500 + 20):
        values[row] = 200.0
    assert alarms(values)[-1] in {1500, 1501, 1502}
    assert 1500 in alarms(values)


def test_a_daily_job_is_no_alarm_once_it_is_known() -> None:
    values = daily(12)
    for day in range(12):
        for row in range(6):
            values[day * 288 + 30 + row] += 60.0
    late = [row for row in alarms(values) if row >= 5 * 288 and 28 <= row % 288 <= 38]
    assert late == []


def test_the_wrong_time_of_day_is_an_alarm_although_the_value_is_usual() -> None:
    values = daily(10)
    quiet = 8 * 288 + 216  # the wave's lowest point
    for row in range(quiet, quiet + 6):
        values[row] = 70.0
    assert any(quiet <= row < quiet + 6 for row in alarms(values))


def test_a_flat_metric_never_alarms() -> None:
    assert alarms([7.0] * 2000) == []


def test_a_flat_metric_that_moves_is_seen() -> None:
    assert alarms([7.0] * 1000 + [8.0]) == [1000]


def test_missing_and_infinite_values_are_neither_judged_nor_learned() -> None:
    values = daily(3)
    holes = list(values)
    holes[400:400] = [nan, inf, -inf]
    detector = SeriesDetector()
    judged = [detector.judge(min(row, 400) * STEP if row < 403 else (row - 3) * STEP, v) for row, v in enumerate(holes)]
    assert [one.surprise for one in judged[400:403]] == [0.0, 0.0, 0.0]
    assert [one.surprise for one in [*judged[:400], *judged[403:]]] == surprises(values)


def test_a_far_stronger_alarm_is_news_at_once() -> None:
    values = daily(6)
    values[1400], values[1410] = 150.0, 5000.0
    assert {1400, 1410} <= set(alarms(values))
    assert REFRACTORY_ROWS > 10


def test_what_alarms_often_must_be_rarer_to_alarm_again() -> None:
    """The same surprise, at first and after nine alarms."""
    news = News()
    first = news.judge(3.0)
    for _ in range(9):
        for _ in range(REFRACTORY_ROWS + 1):
            news.judge(0.1)
        last = news.judge(3.0)
    assert first == 3.0
    assert last == pytest.approx(3.0 - 9 * PRICE)


def test_alarms_long_past_are_forgiven() -> None:
    news = News()
    news.judge(3.0)
    for _ in range(CAPACITY + 1):
        news.judge(0.1)
    assert news.judge(3.0) == 3.0


@given(st.floats(0, 12), st.floats(0, 12))
def test_two_rarities_together_are_one(one: float, other: float) -> None:
    """Of two independent uniform numbers the product is below xy with this probability."""
    x, y = 10.0**-one, 10.0**-other
    assert both_of(one, other) == pytest.approx(-log10(x * y * (1 - log(x * y))), abs=1e-9)
    assert both(np.array([one]), np.array([other]))[0] == pytest.approx(both_of(one, other), abs=1e-9)
