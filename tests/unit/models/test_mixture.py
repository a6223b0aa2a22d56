"""Bad experts get nothing, missing ones are left out, and intervals follow what is observed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors_dagster.frames import Floats
from collectors_dagster.models.conformal import Intervals
from collectors_dagster.models.experts import (
    EXPERTS,
    Views,
    cheap_predictions,
    ema,
    last_known,
    median_of_known,
    season,
    trailing_median,
)
from collectors_dagster.models.mixture import Backtest, answering, mixed


def test_an_expert_without_an_answer_gets_nothing() -> None:
    answers = np.array([np.nan, 2.0])
    share = answering(answers, np.array([0.7, 0.3]))
    assert list(share) == [0.0, 1.0]
    assert mixed(answers, share) == 2.0


def test_shares_are_even_among_those_who_answer_if_nothing_is_left() -> None:
    assert list(answering(np.array([np.nan, 2.0, 3.0]), np.array([1.0, 0.0, 0.0]))) == [0.0, 0.5, 0.5]


def test_nobody_answering_is_unknown() -> None:
    answers = np.full(3, np.nan)
    assert np.isnan(mixed(answers, answering(answers, np.zeros(3))))


def test_a_perfect_expert_wins_within_hours() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(300, 1))
    answers = np.full((300, 1, 1, 2), np.nan)
    answers[:-1, 0, 0, 0] = values[1:, 0]  # knows the next value
    answers[:, 0, 0, 1] = random.normal(5, 1, 300)
    backtest = Backtest.run(values, answers, (1,), 24)
    assert np.abs(backtest.miss[20:, 0, 0]).mean() < 0.01


@pytest.mark.parametrize("wrong", [3.0, -1e6, 1e60])
def test_a_bad_expert_never_hurts(wrong: float) -> None:
    random = np.random.default_rng(4)
    values = random.normal(size=(500, 1))
    good = np.stack([np.zeros(500), random.normal(0, 0.3, 500)], axis=1)[:, None, None, :]
    bad = np.concatenate([good, np.full((500, 1, 1, 1), wrong)], axis=3)
    without, with_it = (np.abs(Backtest.run(values, one, (1,), 24).miss[50:]).mean() for one in (good, bad))
    assert with_it <= 1.03 * without


def test_an_expert_that_turns_bad_is_left_within_a_day() -> None:
    values = np.concatenate([np.zeros(500), np.ones(300)])[:, None]
    answers = np.zeros((800, 1, 1, 2))
    answers[:, 0, 0, 1] = 1.0
    said = Backtest.run(values, answers, (1,), 24).said[:, 0, 0]
    assert said[490] == pytest.approx(0.0)
    assert said[500 + 144] > 0.6


def test_a_forecast_is_judged_only_when_its_time_has_come() -> None:
    values = np.arange(20.0)[:, None]
    answers = np.repeat(values[:, :, None, None], 2, axis=2)  # both horizons: "as now"
    backtest = Backtest.run(values, answers, (1, 5), 24)
    assert np.isnan(backtest.miss[:5, 0, 1]).all()
    assert (backtest.miss[5:, 0, 1] == 5.0).all()
    assert (backtest.miss[1:, 0, 0] == 1.0).all()


@given(unit=st.sampled_from([1e-12, 1e-3, 7.0, 1e12]), offset=st.sampled_from([0.0, -3.0, 1e3]))
@settings(max_examples=8, deadline=None)
def test_shares_do_not_depend_on_the_unit(unit: float, offset: float) -> None:
    random = np.random.default_rng(6)
    values = random.normal(size=(120, 2))
    answers = values[:, :, None, None] + random.normal(size=(120, 2, 1, 4))
    plain = Backtest.run(values, answers, (1,), 24).share
    other = Backtest.run((values + offset) * unit, (answers + offset) * unit, (1,), 24).share
    np.testing.assert_allclose(plain, other, atol=1e-6)


def walked(miss: Floats) -> Intervals:
    return Intervals.run(miss[:, None, None], (1,), 144)


def test_intervals_widen_when_the_world_gets_wilder() -> None:
    random = np.random.default_rng(1)
    calm, wild = random.normal(0, 1, 800), random.normal(0, 5, 400)
    whole = walked(np.concatenate([calm, wild]))
    assert whole.high[-1, 0, 0, 0] > 2 * whole.high[799, 0, 0, 0]
    assert whole.coverage(799, 700)[0, 0, 0] == pytest.approx(0.8, abs=0.06)
    assert whole.coverage(799, 700)[1, 0, 0] == pytest.approx(0.95, abs=0.03)


def test_an_interval_may_reach_beyond_the_largest_miss_seen() -> None:
    """Where even the extremes of the past do not hold, the level goes below zero."""
    growing = walked(np.random.default_rng(3).normal(size=1500) * np.exp(np.arange(1500) / 250))
    assert growing.coverage(1499, 1000)[1, 0, 0] > 0.88


def test_too_few_misses_make_no_interval() -> None:
    few = walked(np.ones(5))
    assert np.isnan(few.low).all()
    assert np.isnan(few.coverage(4, 100)).all()


def test_intervals_know_nothing_of_later_misses() -> None:
    miss = np.random.default_rng(5).normal(size=600)
    changed = miss.copy()
    changed[400:] = 99.0
    np.testing.assert_array_equal(walked(miss).low[:400], walked(changed).low[:400])


def test_levels_and_medians_live_with_gaps() -> None:
    values = np.array([[np.nan], [2.0], [np.nan], [4.0]])
    np.testing.assert_allclose(ema(values, 0.5)[:, 0], [np.nan, 2.0, 2.0, 3.0])
    np.testing.assert_allclose(last_known(values)[:, 0], [np.nan, 2.0, 2.0, 4.0])
    np.testing.assert_allclose(trailing_median(values, 144, 6)[:, 0], [np.nan, 2.0, 2.0, 3.0])
    np.testing.assert_allclose(trailing_median(values, 2, 1)[:, 0], [np.nan, 2.0, 2.0, 4.0])


@given(st.lists(st.one_of(st.just(float("nan")), st.floats(-1e100, 1e100)), min_size=1, max_size=9))
def test_the_median_of_what_is_known(values: list[float]) -> None:
    known = [one for one in values if not np.isnan(one)]
    expected = np.median(known) if known else np.nan
    assert median_of_known(np.array(values)[:, None])[0] == pytest.approx(expected, nan_ok=True)


def test_the_season_of_tomorrow_is_known_today() -> None:
    values = np.tile(np.arange(144.0), 3)[:, None]
    ahead = season(values, 144, 7, 1000)
    assert len(ahead) == 4 * 144
    np.testing.assert_allclose(ahead[3 * 144 :, 0], np.arange(144.0))
    assert np.isnan(ahead[:144]).all()


def test_experts_see_nothing_after_their_origin() -> None:
    """Also further ahead than a season."""
    random = np.random.default_rng(2)
    values = random.normal(size=(500, 2))
    changed = values.copy()
    changed[400:] = 99.0
    rows, steps = np.arange(400), (1, 24, 25, 100, 168)
    plain, other = (cheap_predictions(Views.of(one, 24, 168), rows, steps) for one in (values, changed))
    np.testing.assert_array_equal(plain, other)
    assert plain.shape == (400, 2, len(steps), len(EXPERTS) - 1)


def test_a_counter_is_followed() -> None:
    values = 5.0 * np.arange(600.0)[:, None]
    steps = (1, 12, 24)
    answers = cheap_predictions(Views.of(values, 24, 24), np.arange(600), steps)
    miss = Backtest.run(values, answers, steps, 24).miss[300:, 0]
    assert np.abs(miss).max() < 1e-6
