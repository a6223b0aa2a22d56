"""The forecaster over any regular series: causal, the same in any unit, honest about what it has not seen."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors_dagster.frames import Floats
from collectors_dagster.models.grid import MOST_ROWS, Grid, gridded, usual_step
from collectors_dagster.models.outlook import Outlook
from collectors_dagster.models.table_forecaster import forecast_table, judged_steps, walked

SEASON = 24
HOUR = 3600.0


def rhythm(rows: int, *, seed: int = 0) -> Floats:
    at = np.arange(rows)
    noise = np.random.default_rng(seed).normal(0, 1, (rows, 2))
    return np.column_stack([10 * np.sin(2 * np.pi * at / SEASON), np.cumsum(noise[:, 1])]) + noise


def grid(values: Floats, step: float = HOUR) -> Grid:
    return gridded(step * np.arange(len(values), dtype=np.float64), values, step)


def said(values: Floats) -> Outlook:
    return walked(values, grid(values), judged_steps(48, SEASON))


def test_nothing_later_is_known_to_a_row() -> None:
    """Change the future at every depth, the forest's training included: what was said before stays."""
    values = rhythm(400)
    plain = said(values)
    for cut in (60, 210, 399):
        changed = values.copy()
        changed[cut:] = 1e3
        other = said(changed)
        np.testing.assert_array_equal(plain.backtest.said[:cut], other.backtest.said[:cut])
        np.testing.assert_array_equal(plain.intervals.low[:cut], other.intervals.low[:cut])
        row, steps = cut - 1, range(1, 49)
        np.testing.assert_array_equal(plain.fan(0, steps, row).high, other.fan(0, steps, row).high)


def test_walking_further_says_the_same_as_walking_so_far() -> None:
    values, steps = rhythm(300), judged_steps(SEASON, SEASON)
    cell = np.arange(300, dtype=np.int64)
    whole = Outlook.of(values, cell, period=SEASON, steps=steps, expert=None)
    for rows in (1, 30, 150, 299):
        part = Outlook.of(values[:rows], cell[:rows], period=SEASON, steps=steps, expert=None)
        for signal in (0, 1):
            ours, theirs = whole.fan(signal, range(1, 25), rows - 1), part.fan(signal, range(1, 25))
            np.testing.assert_array_equal(ours.mean, theirs.mean)
            np.testing.assert_array_equal(ours.low, theirs.low)
        np.testing.assert_array_equal(whole.coverage(rows - 1), part.coverage())


def test_the_same_question_has_the_same_answer() -> None:
    values = rhythm(200)
    first, second = (forecast_table(grid(values), SEASON)[1].fan for _ in range(2))
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.high, second.high)


@pytest.mark.parametrize("unit", [1e-9, 1024.0, 1e9])
def test_units_and_other_columns_do_not_matter(unit: float) -> None:
    values = rhythm(200)
    together = forecast_table(grid(values), SEASON)
    alone = forecast_table(grid(values[:, 1:] * unit), SEASON)
    np.testing.assert_allclose(together[1].fan.mean * unit, alone[0].fan.mean, rtol=1e-6)
    np.testing.assert_allclose(together[1].fan.low * unit, alone[0].fan.low, rtol=1e-6)


def test_intervals_hold_about_as_often_as_they_say() -> None:
    outlook = said(rhythm(1500))
    coverage = outlook.coverage()
    assert np.abs(coverage[0] - 0.80).mean() < 0.10
    assert np.abs(coverage[1] - 0.95).mean() < 0.05


def test_gaps_and_absurd_values_are_survived() -> None:
    values = rhythm(400)
    values[100:130] = np.nan
    values[np.random.default_rng(3).random(values.shape) < 0.2] = np.nan
    values[350, 0] = 1e300
    values[-5:, 1] = np.nan
    for one in forecast_table(grid(values), SEASON):
        assert np.isfinite(one.fan.mean).all()
        assert np.abs(one.fan.mean).max() < 1e3


def test_steps_beyond_what_was_observed_are_widened_and_say_so() -> None:
    [one] = forecast_table(grid(rhythm(60)[:, 1:]), 7 * SEASON)
    assert set(one.state) == {1, 2}
    assert list(one.state) == sorted(one.state, reverse=True)
    width = one.fan.high[0] - one.fan.low[0]
    assert width[-1] > width[0]


@given(
    rows=st.integers(1, 40),
    share=st.floats(0.0, 0.95),
    step=st.sampled_from([0.5, 60.0, 700.0, HOUR, 86_400.0, 2_592_000.0, 31_557_600.0]),
    scale=st.sampled_from([0.0, 1e-30, 1.0, 1e90]),
)
@settings(max_examples=25, deadline=None)
def test_any_series_is_answered_in_order(rows: int, share: float, step: float, scale: float) -> None:
    random = np.random.default_rng(rows)
    values = scale * random.normal(size=(rows, 1))
    values[1:][random.random((rows - 1, 1)) < share] = np.nan
    made = grid(values, step)
    [one] = forecast_table(made, min(made.period, 5))
    assert np.isfinite(one.fan.mean).all()
    known = one.state > 0
    edges = [one.fan.low[1], one.fan.low[0], one.fan.mean, one.fan.high[0], one.fan.high[1]]
    assert all((low[known] <= high[known]).all() for low, high in pairwise(edges))


def test_rows_are_put_on_steps_and_counted() -> None:
    seconds = np.array([0.0, 3600.0, 3650.0, 7200.0, 18_000.0])
    made = gridded(seconds, np.array([[1.0], [2.0], [4.0], [np.nan], [5.0]]), HOUR)
    np.testing.assert_array_equal(made.values[:, 0], [1, 3, np.nan, np.nan, np.nan, 5])
    assert (made.moved, made.merged, made.empty, made.older) == (1, 1, 2, 0)
    assert made.seconds[0] == 0.0
    old = gridded(np.array([0.0, 1e9]), np.ones((2, 1)), 60.0)
    assert (len(old.values), old.older) == (1, 1)
    assert len(old.values) < MOST_ROWS


@pytest.mark.parametrize(
    ("step", "period"),
    [
        (60.0, 1440),
        (600.0, 144),
        (HOUR, 24),
        (43_200.0, 2),
        (86_400.0, 7),
        (604_800.0, 52),
        (2_629_800.0, 12),
        (4e7, 1),
    ],
)
def test_a_season_is_a_day_a_week_or_a_year(step: float, period: int) -> None:
    assert grid(np.ones((3, 1)), step).period == period


def test_the_step_is_the_usual_distance() -> None:
    assert usual_step(np.array([5.0])) is None
    assert usual_step(np.array([0.0, 0.0, 60.0, 120.2, 180.0, 600.0])) == 60.0


def test_of_a_long_file_the_newest_steps_count() -> None:
    made = grid(rhythm(30_000)[:, :1], 60.0)
    assert (len(made.values), made.older) == (MOST_ROWS, 30_000 - MOST_ROWS)
