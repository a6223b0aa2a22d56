"""Bad experts fade, missing ones are left out, and intervals follow what is observed."""

import numpy as np
import pytest

from collectors_dagster.models.experts import Views, cheap_predictions, day_mean, ema, season
from collectors_dagster.models.mixture import Backtest, intervals, mixed, weights


def test_the_better_expert_gets_more_and_shares_sum_to_one() -> None:
    share = weights(np.array([0.1, 0.2, 1.0]), np.array([1.0, 2.0, 3.0]))
    assert share.sum() == pytest.approx(1.0)
    assert share[0] > 5 * share[1] > 5 * share[2]


def test_an_expert_without_an_answer_gets_nothing() -> None:
    answers = np.array([np.nan, 2.0])
    share = weights(np.array([0.1, 0.5]), answers)
    assert list(share) == [0.0, 1.0]
    assert mixed(answers, share) == 2.0


def test_nobody_answering_is_unknown() -> None:
    answers = np.full(3, np.nan)
    assert np.isnan(mixed(answers, weights(np.full(3, np.nan), answers)))


def test_experts_never_judged_count_alike() -> None:
    assert list(weights(np.full(2, np.nan), np.array([1.0, 3.0]))) == [0.5, 0.5]


def test_a_perfect_expert_wins_within_hours() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(300, 1))
    answers = np.full((300, 1, 1, 2), np.nan)
    answers[:-1, 0, 0, 0] = values[1:, 0]  # knows the next value
    answers[:, 0, 0, 1] = random.normal(5, 1, 300)
    backtest = Backtest.run(values, answers, (1,))
    assert np.abs(backtest.miss[20:, 0, 0]).mean() < 0.01


def test_a_forecast_is_judged_only_when_its_time_has_come() -> None:
    values = np.arange(20.0)[:, None]
    answers = np.repeat(values[:, :, None, None], 2, axis=2)  # both horizons: "as now"
    backtest = Backtest.run(values, answers, (1, 5))
    assert np.isnan(backtest.miss[:5, 0, 1]).all()
    assert (backtest.miss[5:, 0, 1] == 5.0).all()
    assert (backtest.miss[1:, 0, 0] == 1.0).all()


def test_intervals_widen_when_the_world_gets_wilder() -> None:
    random = np.random.default_rng(1)
    calm, wild = random.normal(0, 1, 800), random.normal(0, 5, 400)
    before = intervals(calm[:, None, None])
    after = intervals(np.concatenate([calm, wild])[:, None, None])
    assert after.high[0, 0, 0] > 2 * before.high[0, 0, 0]
    assert before.coverage[0, 0, 0] == pytest.approx(0.8, abs=0.06)


def test_too_few_misses_make_no_interval() -> None:
    few = intervals(np.ones((5, 1, 1)))
    assert np.isnan(few.low).all()
    assert np.isnan(few.coverage).all()


def test_exponential_and_daily_means_live_with_gaps() -> None:
    values = np.array([[np.nan], [2.0], [np.nan], [4.0]])
    np.testing.assert_allclose(ema(values, 0.5)[:, 0], [np.nan, 2.0, 2.0, 3.0])
    np.testing.assert_allclose(day_mean(values)[:, 0], [np.nan, 2.0, 2.0, 3.0])


def test_the_day_mean_forgets_after_a_day() -> None:
    values = np.concatenate([np.full(144, 9.0), np.full(144, 1.0)])[:, None]
    assert day_mean(values)[-1, 0] == pytest.approx(1.0)


def test_the_season_of_tomorrow_is_known_today() -> None:
    values = np.tile(np.arange(144.0), 3)[:, None]
    ahead = season(values, 3 * 144 + 144)
    np.testing.assert_allclose(ahead[3 * 144 :, 0], np.arange(144.0))
    assert np.isnan(ahead[:144]).all()


def test_experts_see_nothing_after_their_origin() -> None:
    random = np.random.default_rng(2)
    values = random.normal(size=(500, 2))
    changed = values.copy()
    changed[400:] = 99.0
    rows = np.arange(400)
    steps = (1, 36, 144)
    np.testing.assert_array_equal(
        cheap_predictions(Views.of(values), rows, steps), cheap_predictions(Views.of(changed), rows, steps)
    )
