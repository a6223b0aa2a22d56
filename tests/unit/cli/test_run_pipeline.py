"""`collectors run pipeline`: what is launched, and what is refused before anything is."""

import subprocess
import sys
from datetime import datetime

import pytest

from collectors_dagster.cli.run import Stretch, has_first_minute, invented_then_real
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.records import Window
from collectors_dagster.strategies.batches import Batch
from collectors_dagster.tenants import Tenant, Tier
from tests.support.environment import clean_environment
from tests.support.postgres import free_port

SHOWCASE = Batch(Tier.STANDARD, ("showcase",))


def test_a_fortnight_is_judged_in_two_halves_without_a_gap_and_without_an_overlap() -> None:
    first, second = Stretch(SHOWCASE, "2026-11-08", "2026-11-22").halves()
    assert (first.first_day, first.last_day) == ("2026-11-08", "2026-11-15")
    assert (second.first_day, second.last_day) == ("2026-11-16", "2026-11-22")


@pytest.mark.parametrize("last", ["2026-11-08", "2026-11-14"])
def test_up_to_a_week_stays_whole(last: str) -> None:
    stretch = Stretch(SHOWCASE, "2026-11-08", last)
    assert stretch.halves() == [stretch]


def test_a_stack_that_is_down_is_one_line_with_its_remedy() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "collectors_dagster.cli", "run", "pipeline"],
        cwd=PROJECT_ROOT,
        env=clean_environment(
            COLLECTORS__POSTGRES__HOST="127.0.0.1",
            COLLECTORS__POSTGRES__PORT=str(free_port()),
            COLLECTORS__POSTGRES__PASSWORD="unused",
            COLLECTORS__PORTS__WEBSERVER=str(free_port()),
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "unused" not in done.stderr


def test_an_unknown_tenant_is_refused_before_anything_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "collectors_dagster.cli", "run", "pipeline", "--tenant", "../etc"],
        cwd=PROJECT_ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no tenant '../etc'" in done.stderr


@pytest.mark.parametrize(
    ("start", "end", "enough"),
    [
        ("12:00:00", "12:01:00", True),
        ("12:00:40", "12:01:00", True),  # two samples of ten seconds
        ("12:00:50", "12:01:50", False),  # of 12:00 almost nothing was seen, and 12:01 is not over
        ("12:00:50", "12:02:00", True),
        ("12:00:00", "12:00:50", False),
    ],
)
def test_the_pipeline_waits_for_a_first_minute_of_the_clock(start: str, end: str, *, enough: bool) -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(f"2026-11-22T{text}+00:00")

    assert has_first_minute(Window(at(start), at(end))) is enough


def test_without_a_sample_there_is_no_minute() -> None:
    assert not has_first_minute(None)


def test_invented_tenants_go_first_so_that_real_ones_are_observed_meanwhile() -> None:
    real, invented = Tenant("aurora", "Aurora"), Tenant("showcase", "Showcase", synthetic=True)
    assert invented_then_real([real, invented]) == [[invented], [real]]
    assert invented_then_real([real]) == [[real]]
