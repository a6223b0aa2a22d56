"""`collectors run pipeline`: what is launched, and what is refused before anything is."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from collectors_dagster.cli.run import Phase, Step, Steps, has_first_minute, invented_and_real
from collectors_dagster.clock import ManualClock
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.integrations.orchestrator.api import Launch, Orchestrator
from collectors_dagster.records import Window
from collectors_dagster.tenants import Tenant
from tests.support.environment import clean_environment
from tests.support.postgres import free_port
from tests.support.scripted_http import Answer, Request, answer, scripted_server


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
        ("12:00:50", "12:01:00", True),  # two samples of ten seconds
        ("12:00:51", "12:01:50", False),  # of 12:00 almost nothing was seen, and 12:01 is not over
        ("12:00:51", "12:02:00", True),
        ("12:00:00", "12:00:50", False),
    ],
)
def test_the_pipeline_waits_for_a_first_minute_of_the_clock(start: str, end: str, *, enough: bool) -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(f"2026-11-22T{text}+00:00")

    assert has_first_minute(Window(at(start), at(end))) is enough


def test_without_a_sample_there_is_no_minute() -> None:
    assert not has_first_minute(None)


@dataclass
class Dagster:
    """Answers as the web server does: a run has ended when it was looked at as often as its job says."""

    looks: dict[str, int]
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> Answer:
        variables = json.loads(request.body)["variables"]
        if "params" in variables:
            job = variables["params"]["selector"]["jobName"]
            self.asked.append(f"launch {job}")
            return answer({"data": {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": job}}}})
        job = variables["runId"]
        self.looks[job] -= 1
        if self.looks[job] == 0:
            self.asked.append(f"end {job}")
        status = "SUCCESS" if self.looks[job] <= 0 else "STARTED"
        return answer({"data": {"runOrError": {"__typename": "Run", "status": status, "assetMaterializations": []}}})


def step(job: str) -> Step:
    return Step(job, Launch(job, ("collection_run",), "showcase", "showcase", {}))


@pytest.mark.parametrize("wait", [True, False])
def test_chains_go_side_by_side_and_each_phase_by_phase(*, wait: bool, capsys: pytest.CaptureFixture[str]) -> None:
    dagster = Dagster({"collect": 1, "train": 4, "judge": 1, "young collect": 1, "young judge": 1})
    invented = iter([Phase([step("collect")]), Phase([step("train")]), Phase([step("judge")], is_last=True)])
    observed = iter([Phase(), Phase(), Phase([step("young collect")]), Phase([step("young judge")], is_last=True)])
    with scripted_server(dagster) as server, Orchestrator(f"http://127.0.0.1:{server.port}") as client:
        Steps(client, ManualClock()).run([invented, observed], wait=wait)
    place = dagster.asked.index
    assert place("end collect") < place("launch train") < place("launch young collect") < place("end train")
    assert place("end young collect") < place("launch young judge")
    assert [each for each in dagster.asked if "judge" in each and each.startswith("end")] == (
        ["end young judge", "end judge"] if wait else []
    )
    assert ("judge: queued as judge" in capsys.readouterr().out) is not wait


def test_invented_tenants_and_real_ones_are_apart() -> None:
    real, invented = Tenant("aurora", "Aurora"), Tenant("showcase", "Showcase", synthetic=True)
    assert invented_and_real([real, invented]) == [[invented], [real]]
    assert invented_and_real([real]) == [[real]]
