"""A whole table, scored: causal, invariant, and with something to say from the first row on."""

import numpy as np
import pytest

from collectors_dagster.errors import InsufficientDataError
from collectors_dagster.frames import Floats
from collectors_dagster.models.series_detector import ALARM
from collectors_dagster.models.table_detector import FIRST_FIT_ROWS, STATES, score_table
from collectors_dagster.models.windowed_residual import seen_with

ROWS = 2400


def host(rows: int = ROWS, seed: int = 3) -> Floats:
    """Return four metrics of a host: three move together, one is flat."""
    generator = np.random.default_rng(seed)
    smooth: Floats = np.convolve(generator.normal(0, 1, rows + 19), np.ones(20) / 20, "valid")
    load = 5.0 + 4 * smooth
    columns = [load, 2 * load + generator.normal(0, 0.1, rows), generator.normal(5, 1, rows), np.full(rows, 3.0)]
    return np.array(columns, dtype=np.float64).T


def minutes(rows: int) -> Floats:
    return 60.0 * np.arange(rows, dtype=np.float64)


def surprise_of(values: Floats) -> Floats:
    return score_table(minutes(len(values)), values).surprise


@pytest.mark.parametrize("cut", [1, 37, FIRST_FIT_ROWS, FIRST_FIT_ROWS + 1, 760, 1900])
def test_cutting_a_host_changes_no_score_before_the_cut(cut: int) -> None:
    values = host()
    np.testing.assert_allclose(surprise_of(values[:cut]), surprise_of(values)[:cut], rtol=1e-9)


def test_the_same_table_has_the_same_scores() -> None:
    np.testing.assert_array_equal(surprise_of(host()), surprise_of(host()))


def test_units_of_metrics_do_not_matter() -> None:
    values = host()
    np.testing.assert_allclose(surprise_of(values * np.array([1024.0, 0.5, 2.0**-20, 8.0])), surprise_of(values))


def test_metrics_that_stop_moving_together_are_found_and_named() -> None:
    values = host()
    values[2000:2030, 1] = values[2000:2030, 0] * 2 + 6.0
    scores = score_table(minutes(ROWS), values)
    assert (scores.surprise[2000:2035] >= ALARM).sum() >= 20
    assert {scores.causes[row][0].column for row in range(2010, 2030) if row in scores.causes} == {1}


def test_most_quiet_rows_are_quiet() -> None:
    assert (surprise_of(host())[FIRST_FIT_ROWS:] >= ALARM).mean() < 0.06


def test_a_flat_metric_that_moves_is_named() -> None:
    values = host()
    values[1700:1705, 3] = 4.0
    scores = score_table(minutes(ROWS), values)
    assert scores.causes[1702][0].column == 3


def test_a_new_level_is_learned_at_last() -> None:
    values = host(4000)
    values[1200:, 2] += 12.0
    assert (surprise_of(values)[3500:] >= ALARM).mean() < 0.1


def test_rows_without_any_value_say_so_and_score_nothing() -> None:
    values = host()
    values[1000:1010] = np.nan
    scores = score_table(minutes(ROWS), values)
    assert {STATES[state] for state in scores.state[1000:1010]} == {"missing"}
    assert not scores.score[1000:1010].any()
    assert np.isfinite(scores.score).all()


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("columns", [1, 4])
def test_a_few_rows_are_learned_from_and_score_little(rows: int, columns: int) -> None:
    scores = score_table(minutes(rows), host(rows)[:, :columns])
    assert {STATES[state] for state in scores.state} == {"learning"}
    assert (scores.score < 0.9).all()


def test_progress_counts_every_row_once() -> None:
    for columns in (1, 4):
        told: list[int] = []
        score_table(minutes(ROWS), host()[:, :columns], progress=told.append)
        assert sum(told) == ROWS


def test_windows_are_trailing() -> None:
    seen = seen_with(np.arange(6.0)[:, None], (2,))
    np.testing.assert_allclose(seen[:, 1], [0, 0.5, 1.5, 2.5, 3.5, 4.5])
    np.testing.assert_allclose(seen[:, 2], [0, 0.5, 0.5, 0.5, 0.5, 0.5])


def test_rows_to_train_on_are_learned_and_not_judged_and_one_model_judges_the_rest() -> None:
    values = host()
    values[2000:2040, 0] += 30.0
    scored = score_table(minutes(ROWS), values, train_rows=1000)
    assert scored.fits == 1
    assert not scored.surprise[:1000].any()
    assert {STATES[int(one)] for one in scored.state[:1000]} == {"learning"}
    assert scored.surprise[2005:2035].min() >= ALARM
    cut = score_table(minutes(2020), values[:2020], train_rows=1000)
    np.testing.assert_allclose(cut.surprise, scored.surprise[:2020], rtol=1e-9)


def test_one_metric_is_learned_in_the_same_way() -> None:
    values = host()[:, :1]
    whole, trained = (score_table(minutes(ROWS), values, train_rows=rows) for rows in (0, 1000))
    assert not trained.score[:1000].any()
    np.testing.assert_array_equal(trained.score[1000:], whole.score[1000:])


def test_a_host_is_not_trained_on_a_handful_of_rows() -> None:
    with pytest.raises(InsufficientDataError, match="500"):
        score_table(minutes(ROWS), host(), train_rows=FIRST_FIT_ROWS - 1)
