"""A champion that moved is told once, with whose hand it was."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.monitoring.alias_moves import Move, moves

NAME = "aurora.anomaly"


def test_the_first_look_tells_nothing() -> None:
    assert moves({}, {NAME: {"champion": "3"}}, ["aurora"]) == ([], {NAME: "3"})


def test_a_promotion_by_the_platform_leaves_the_old_one_as_previous() -> None:
    found, now = moves({NAME: "3"}, {NAME: {"champion": "4", "previous": "3"}}, ["aurora"])
    assert found == [Move("aurora", "anomaly", "3", "4", by_person=False)]
    assert moves(now, {NAME: {"champion": "4", "previous": "3"}}, ["aurora"])[0] == []


def test_a_person_who_rolls_back_or_takes_the_alias_away_is_seen() -> None:
    [back] = moves({NAME: "4"}, {NAME: {"champion": "3", "previous": "3"}}, ["aurora"])[0]
    assert back.by_person
    assert back.text == "aurora.anomaly: version 3 serves now, version 4 did; somebody moved the alias"
    [gone] = moves({NAME: "3"}, {NAME: {}}, ["aurora"])[0]
    assert (gone.after, gone.by_person) == (None, True)
    assert "nothing serves any more" in gone.text
    [again] = moves({NAME: ""}, {NAME: {"champion": "3"}}, ["aurora"])[0]
    assert again.before is None


def test_models_of_strangers_are_not_told_of() -> None:
    assert moves({"other.anomaly": "1"}, {"other.anomaly": {"champion": "2"}}, ["aurora"]) == ([], {})


VERSIONS = st.sampled_from(["", "1", "2", "3"])


@given(st.lists(VERSIONS, min_size=1, max_size=12))
def test_a_follower_tells_every_change_it_sees_exactly_once(served: list[str]) -> None:
    seen: dict[str, str] = {}
    told = []
    for version in served:
        found, seen = moves(seen, {NAME: {"champion": version} if version else {}}, ["aurora"])
        told += [(one.before or "", one.after or "") for one in found]
    assert told == [(a, b) for a, b in itertools.pairwise(served) if a != b]
