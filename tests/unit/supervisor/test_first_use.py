"""What `collectors up` does once everything runs: the demonstration once, the pipeline once a day."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.config import Settings
from collectors_dagster.errors import StartupError
from collectors_dagster.supervisor.first_use import FirstUse, steps
from tests.support.project import Project

DAY = 86_400


@pytest.fixture
def output(tmp_path: Path) -> Iterator[TextIO]:
    """Yield where the commands write."""
    with (tmp_path / "output").open("w") as opened:
        yield opened


@pytest.fixture
def settings(project: Project) -> Settings:
    project.write("config/tenants/showcase.yml", "id: showcase\nname: Showcase\nsynthetic: true\nalerts: []\n")
    found = project.settings()
    (found.home / "run").mkdir(parents=True)
    return found


def commands(wanted: list[FirstUse]) -> list[str]:
    return [" ".join(step.command) for step in wanted]


def succeeding(step: FirstUse) -> FirstUse:
    """Return a step with the same note whose command does nothing, successfully."""
    return replace(step, command=("--help",))


def test_first_the_demonstration_then_the_pipeline(settings: Settings, manual_clock: ManualClock) -> None:
    wanted = steps(settings, manual_clock, demo=True, pipeline=True)
    assert commands(wanted) == ["demo seed --tenant showcase --days 14", "run pipeline --wait"]


@pytest.mark.parametrize(("demo", "pipeline"), [(False, True), (True, False), (False, False)])
def test_what_was_not_asked_for_is_not_done(
    settings: Settings, manual_clock: ManualClock, *, demo: bool, pipeline: bool
) -> None:
    words = " ".join(commands(steps(settings, manual_clock, demo=demo, pipeline=pipeline)))
    assert ("demo" in words, "pipeline" in words) == (demo, pipeline)


def test_without_the_showcase_tenant_there_is_no_demonstration(project: Project, manual_clock: ManualClock) -> None:
    assert commands(steps(project.settings(), manual_clock, demo=True, pipeline=True)) == ["run pipeline --wait"]


def test_the_demonstration_is_never_repeated_and_the_pipeline_the_next_day(
    settings: Settings, manual_clock: ManualClock, output: TextIO
) -> None:
    for step in steps(settings, manual_clock, demo=True, pipeline=True):
        succeeding(step).run(output)
    assert steps(settings, manual_clock, demo=True, pipeline=True) == []
    manual_clock.move(DAY)
    assert commands(steps(settings, manual_clock, demo=True, pipeline=True)) == ["run pipeline --wait"]


def test_a_failure_is_told_and_tried_again_next_time(
    settings: Settings, manual_clock: ManualClock, output: TextIO
) -> None:
    step = steps(settings, manual_clock, demo=False, pipeline=True)[0]
    with pytest.raises(StartupError, match=r"everything runs, but `collectors nonsense` failed with code 2"):
        replace(step, command=("nonsense",)).run(output)
    assert not step.is_done
