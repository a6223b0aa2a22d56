"""A challenger is judged beside the champion on the same minutes; drift is a number that means the same everywhere."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.models.anomaly import TenantDetector
from collectors_dagster.models.drift import STABLE_BELOW, population_stability_index
from collectors_dagster.models.shadow import TrialDay, figures, objections, tried, try_side, unseen
from tests.support.histories import instant, quiet_host

GOOD = TrialDay(1440, 1, 1, 18, 17, 17, 0.02)


def test_equal_models_have_nothing_against_each_other() -> None:
    model = TenantDetector.fit({"quiet-1": [quiet_host(90)]}, seed=0)
    rows = quiet_host(800, first=90)
    sides = [try_side(model, [rows], {}, threshold=0.9, seed=0) for _ in range(2)]
    day = tried(sides[0], sides[1], 0.9)
    assert day is not None
    assert (day.minutes, day.psi, day.champion_found) == (800, 0.0, day.challenger_found)
    assert day.planted > 0
    assert objections([day]) == []


def test_too_short_a_day_says_nothing() -> None:
    model = TenantDetector.fit({"quiet-1": [quiet_host(90)]}, seed=0)
    side = try_side(model, [quiet_host(300, first=90)], {}, threshold=0.9, seed=0)
    assert tried(side, side, 0.9) is None


def test_only_minutes_after_the_training_count() -> None:
    frame = quiet_host(100)
    [rest] = unseen([frame], instant(frame, 59))
    assert len(rest.ts) == 40
    assert unseen([frame], instant(frame)) == []


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ([TrialDay(1440, 2, 9, 18, 17, 17, 0.02)], "it alerts 9.0 times per host and day, the champion 2.0"),
        ([TrialDay(1440, 20, 3, 18, 17, 17, 0.02)], "it alerts 3.0 times per host and day, the champion 20.0"),
        ([TrialDay(1440, 1, 1, 18, 17, 14, 0.02)], "it finds 78 % of planted faults, the champion 94 %"),
        ([TrialDay(1440, 1, 1, 18, 17, 17, 0.31)], "its scores are others (stability index 0.31, under 0.2 allowed)"),
    ],
)
def test_every_limit_refuses_in_words(days: list[TrialDay], said: str) -> None:
    assert objections(days) == [said]


def test_one_alert_more_or_one_fault_less_is_chance_and_days_are_judged_together() -> None:
    assert objections([TrialDay(1440, 0, 1, 18, 17, 16, 0.02)]) == []
    loud = TrialDay(1440, 1, 6, 18, 17, 17, 0.25)
    assert len(objections([loud])) == 2
    assert objections([loud, GOOD, GOOD, GOOD, GOOD, GOOD]) == []
    assert figures([]) == {}
    assert objections([]) == []


def test_a_day_survives_the_tag_it_is_kept_in() -> None:
    assert TrialDay.from_document(json.loads(json.dumps(GOOD.document()))) == GOOD


def test_stability_sees_a_shift_and_not_chance() -> None:
    random = np.random.default_rng(0)
    week, same, other = random.beta(1, 8, 10_000), random.beta(1, 8, 1440), random.beta(2, 6, 1440)
    assert population_stability_index(week, same) < 0.1
    assert population_stability_index(week, other) > STABLE_BELOW


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_stability_is_finite_never_negative_and_nothing_for_the_same(before: list[float], after: list[float]) -> None:
    one, two = np.array(before), np.array(after)
    assert population_stability_index(one, two) >= 0.0
    assert np.isfinite(population_stability_index(one, two))
    assert population_stability_index(one, one[::-1]) == 0.0


def test_stability_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="both sides"):
        population_stability_index(np.array([np.nan]), np.array([1.0]))
