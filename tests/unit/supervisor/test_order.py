"""In which order components start and stop."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.errors import StartupError
from collectors_dagster.supervisor.component import in_start_order, in_stop_order


@dataclass(frozen=True)
class Step:
    name: str
    needs: tuple[str, ...] = ()


@st.composite
def stacks(draw: st.DrawFn) -> list[Step]:
    """Draw steps that need only earlier ones, in any order."""
    names = [f"step-{number}" for number in range(draw(st.integers(0, 8)))]
    steps = [
        Step(name, tuple(draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else ()))
        for place, name in enumerate(names)
    ]
    return draw(st.permutations(steps))


@given(stacks())
def test_each_starts_after_everything_it_needs(steps: list[Step]) -> None:
    places = {step.name: place for place, step in enumerate(in_start_order(steps))}
    assert len(places) == len(steps)
    assert all(places[need] < places[step.name] for step in steps for need in step.needs)


@given(stacks())
def test_nothing_stops_while_something_that_needs_it_runs(steps: list[Step]) -> None:
    waves = {step.name: number for number, wave in enumerate(in_stop_order(steps)) for step in wave}
    assert len(waves) == len(steps)
    assert all(waves[step.name] < waves[need] for step in steps for need in step.needs)


def test_what_was_left_out_counts_as_met() -> None:
    assert [step.name for step in in_start_order([Step("agent", ("postgres",))])] == ["agent"]


def test_a_circle_is_refused_by_name() -> None:
    with pytest.raises(StartupError, match=r"circle: .*a.*b"):
        in_start_order([Step("a", ("b",)), Step("b", ("a",))])


def test_those_that_do_not_need_each_other_stop_together() -> None:
    waves = in_stop_order([Step("postgres"), Step("agent", ("postgres",)), Step("scorer", ("postgres",))])
    assert [{step.name for step in wave} for wave in waves] == [{"agent", "scorer"}, {"postgres"}]
