"""Strangeness becomes rarity honestly: calibrated, monotone, bounded by what was seen, in any unit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.models.novelty import held_out_novelty, novelty
from collectors_dagster.models.running_tail import RunningTail
from collectors_dagster.models.sorted_memory import SortedMemory
from collectors_dagster.models.tail import TailModel, shown


def test_one_in_a_hundred_is_said_of_one_in_a_hundred() -> None:
    random = np.random.default_rng(0)
    tail = TailModel.fit(random.exponential(size=20_000), resolution=1e-6, decades=1.0)
    fresh = tail.surprise(random.exponential(size=200_000))
    for s in (0.5, 1.0, 2.0):
        assert (fresh >= s).mean() == pytest.approx(10**-s, rel=0.35)
    assert 1e-4 < (fresh >= 3.0).mean() < 1.2e-3  # this tail is lighter than the one assumed: less is claimed, not more


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1e7), st.floats(0, 1e7))
def test_stranger_is_never_less_surprising(seen: list[float], one: float, other: float) -> None:
    tail = TailModel.fit(np.array(seen), resolution=0.01, decades=1.0)
    low, high = tail.surprise(np.array(sorted([one, other])))
    assert 0.0 <= low <= high


def test_nothing_is_rarer_than_the_history_can_tell() -> None:
    tail = TailModel.fit(np.arange(99.0), resolution=1.0, decades=0.0)
    assert tail.surprise(np.array([1e12]))[0] == pytest.approx(2.0)


def test_without_history_nothing_is_said() -> None:
    tail = TailModel.fit(np.array([np.nan, np.inf]), resolution=1.0, decades=1.0)
    assert tail.surprise(np.array([5.0]))[0] == 0.0


def test_what_always_was_is_not_surprising() -> None:
    tail = TailModel.fit(np.zeros(1000), resolution=0.01, decades=1.0)
    assert tail.surprise(np.zeros(1))[0] == 0.0


@pytest.mark.parametrize("unit", [1e-3, 1024.0, 1e9])
def test_units_do_not_matter(unit: float) -> None:
    random = np.random.default_rng(1)
    seen, new = random.gamma(2, 1, 500), random.gamma(2, 3, 50)
    surprises = [
        TailModel.fit(novelty(seen * scale, np.sort(seen * scale)), resolution=0.01 * scale, decades=1.0).surprise(
            novelty(new * scale, np.sort(seen * scale))
        )
        for scale in (1.0, unit)
    ]
    np.testing.assert_allclose(surprises[0], surprises[1], rtol=1e-4)


def test_shown_score_is_point_nine_at_one_in_a_hundred() -> None:
    assert list(np.round(shown(np.array([0.0, 2.0, 4.0])), 6)) == [0.0, 0.9, 0.99]


def test_novelty_is_the_distance_to_the_nearest() -> None:
    random = np.random.default_rng(2)
    seen, values = np.sort(random.normal(size=200)), random.normal(size=50)
    by_hand = np.abs(values[:, None] - seen[None, :]).min(axis=1)
    np.testing.assert_allclose(novelty(values, seen), by_hand)


def test_unknown_values_have_no_novelty_and_nothing_seen_says_nothing() -> None:
    assert np.isnan(novelty(np.array([1.0]), np.empty(0))).all()
    assert np.isnan(novelty(np.array([np.nan]), np.arange(9.0))).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(-2e6, 2e6))
def test_novelty_of_many_is_that_of_one_after_the_other(seen: list[float], asked: float) -> None:
    memory = SortedMemory()
    for value in seen:
        memory.add(value)
    assert novelty(np.array([asked]), np.sort(np.array(seen)))[0] == memory.novelty(asked)


def test_rarity_fitted_at_once_is_that_learned_on_the_way() -> None:
    strange = np.random.default_rng(3).exponential(size=5000)
    at_once, on_the_way = TailModel.fit(strange, resolution=1e-9, decades=6.0), RunningTail()
    for value in strange.tolist():
        on_the_way.add(value)
    asked = np.array([0.1, 0.5, 1.0, 2.0, 3.5, 5.0, 9.0])
    np.testing.assert_allclose(at_once.surprise(asked), [on_the_way.surprise(float(one)) for one in asked], atol=0.02)


def test_an_episode_does_not_vouch_for_itself() -> None:
    """Ten equal minutes of one day are new when judged by the other days."""
    values = np.concatenate([np.zeros(100), np.full(10, 7.0), np.zeros(100)])
    day = np.repeat([0, 1], [110, 100])
    assert (held_out_novelty(values, day)[100:110] == 7.0).all()


@given(st.lists(st.tuples(st.integers(-5, 5) | st.just(None), st.integers(0, 3)), max_size=30))
def test_the_nearest_of_other_blocks_is_found_at_once(pairs: list[tuple[int | None, int]]) -> None:
    values = np.array([np.nan if value is None else float(value) for value, _ in pairs])
    blocks = np.array([block for _, block in pairs], dtype=np.int64)
    found = held_out_novelty(values, blocks)
    for value, block, novel in zip(values, blocks, found, strict=True):
        others = values[(blocks != block) & np.isfinite(values)]
        expected = np.abs(others - value).min() if len(others) and np.isfinite(value) else np.nan
        np.testing.assert_equal(novel, expected)
