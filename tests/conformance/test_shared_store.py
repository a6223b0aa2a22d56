"""Every place of shared state keeps the same promises."""

import asyncio

import pytest

from collectors_dagster.patterns.shared_state import Reply
from tests.support.shared_stores import TALLY, SharedPlace


def test_a_step_sees_what_the_one_before_left(shared_place: SharedPlace) -> None:
    counts = [shared_place.store.run(TALLY, "aurora:test:a", (by, 60_000))[0] for by in (1, 2, 3)]
    assert counts == [1, 3, 6]


def test_objects_do_not_know_of_each_other(shared_place: SharedPlace) -> None:
    for key in ("aurora:test:a", "borealis:test:a", "aurora:test:b"):
        assert shared_place.store.run(TALLY, key, (1, 60_000))[0] == 1


def test_coroutines_and_threads_share_the_state(shared_place: SharedPlace) -> None:
    async def both() -> Reply:
        await asyncio.gather(*(shared_place.store.arun(TALLY, "aurora:test:a", (1, 60_000)) for _ in range(20)))
        return await shared_place.store.arun(TALLY, "aurora:test:a", (1, 60_000))

    shared_place.store.run(TALLY, "aurora:test:a", (1, 60_000))
    assert asyncio.run(both())[0] == 22
    assert asyncio.run(both())[0] == 43
    assert shared_place.store.run(TALLY, "aurora:test:a", (1, 60_000))[0] == 44


def test_state_is_forgotten_when_its_time_is_over(shared_place: SharedPlace) -> None:
    shared_place.store.run(TALLY, "aurora:test:a", (5, 30))
    shared_place.pass_time(0.06)
    assert shared_place.store.run(TALLY, "aurora:test:a", (1, 60_000))[0] == 1


def test_time_is_in_microseconds_and_goes_on(shared_place: SharedPlace) -> None:
    _, before = shared_place.store.run(TALLY, "aurora:test:a", (1, 60_000))
    shared_place.pass_time(0.02)
    _, after = shared_place.store.run(TALLY, "aurora:test:a", (1, 60_000))
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after - before >= 20_000


@pytest.mark.parametrize("key", ["Größe:test:a", "a b\n", "a" * 500])
def test_any_name_may_be_a_key(shared_place: SharedPlace, key: str) -> None:
    assert [shared_place.store.run(TALLY, key, (1, 60_000))[0] for _ in range(2)] == [1, 2]
