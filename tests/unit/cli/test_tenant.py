"""`collectors tenant`, as a person or a script types it."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collectors_dagster.cli.__main__ import main
from tests.support.project import ACME, Project


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[[str], Answer]


@pytest.fixture
def run(project: Project, capsys: pytest.CaptureFixture[str]) -> Run:
    def tenant(line: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main(["tenant", *shlex.split(line)])
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return tenant


def test_added_tenant_is_listed_shown_and_removed(run: Run, project: Project) -> None:
    added = run("add acme --tier premium --name 'Acme Inc.' --collector cpu --collector load --interval 30 --detail")
    assert (added.code, added.err) == (0, "")
    assert (project.tenants / "acme.yml").exists()

    listed = run("list --json").json
    assert [each["id"] for each in listed["tenants"]] == ["acme"]
    assert listed["problems"] == []
    shown = run("show acme --json").json
    assert (shown["name"], shown["tier"], shown["file"]) == ("Acme Inc.", "premium", "config/tenants/acme.yml")
    assert shown["system_performance"]["collectors"] == ["cpu", "load"]
    assert shown["system_performance"]["collection_interval"] == 30
    assert shown["system_performance"]["detail"] is True
    assert "Acme Inc." in run("show acme").out
    assert "Acme Inc." in run("list").out

    removed = run("remove acme")
    assert removed.code == 0
    assert "its stored data stay" in removed.out
    assert run("list --json").json["tenants"] == []


def test_every_option_of_add_reaches_the_tenant(run: Run) -> None:
    answer = run(
        "add acme --threshold 0.7 --raw-days 3 --hourly-days 30 --spotify-account main "
        "--cgroup '/shop-*' --cgroup /web/** --max-series 40 --webhook ops=https://hooks.example/T0/canary --json"
    )
    found = answer.json
    assert found["system_performance"]["anomaly_threshold"] == 0.7
    assert found["system_performance"]["scope"] == {"host": False, "cgroups": ["/shop-*", "/web/**"], "processes": []}
    assert found["system_performance"]["collectors"] == ["cgroup", "process"]
    assert found["system_performance"]["max_series"] == 40
    assert found["retention"] == {"raw_days": 3, "hourly_days": 30}
    assert found["spotify"] == {"account": "main", "client_id": None}
    assert [each["name"] for each in found["alerts"]] == ["log", "ops"]
    assert found["alerts"][1]["host"] == "hooks.example"
    assert "canary" not in answer.out + run("show acme").out + run("list").out


def test_written_file_says_only_what_was_asked_for(run: Run, project: Project) -> None:
    run("add acme --interval 30")
    text = (project.tenants / "acme.yml").read_text()
    assert "collection_interval: 30" in text
    for left_to_the_defaults in ("collectors:", "anomaly_threshold", "retention", "spotify", "null"):
        assert left_to_the_defaults not in text


REFUSED = [
    ("add ../acme", "2-40 lower-case letters"),
    ("add Acme", "2-40 lower-case letters"),
    (f"add {'a' * 200}", "2-40 lower-case letters"),
    ("add \N{ROCKET}acme", "2-40 lower-case letters"),
    ('add "acme\'; drop table core.tenant; --"', "2-40 lower-case letters"),
    ("add acme --interval -5", "1 to 3,600 (seconds)"),
    ("add acme --threshold 2", "0.5 to 1 (score)"),
    ("add acme --cgroup /a/../b", "no .."),
    ("add acme --cgroup /a --collector cpu", "scope.host: true"),
    ("add acme --raw-days 0", "1 to 3,650 (days)"),
    ("add acme --collector memroy", "did you mean memory?"),
    ("add acme --webhook ops", "NAME=URL"),
    ("add acme --webhook ops=nowhere", "https://host:port/path"),
    ("add acme --webhook log=https://h", "same name"),
    ("add acme --spotify-account ../x", "lower-case letters"),
    ("add bolt", "there is a tenant bolt already; change its file or use --replace"),
    ("show bold", "did you mean bolt?"),
    ("remove bold", "did you mean bolt?"),
    ("remove ../bolt", "2-40 lower-case letters"),
    ("show ../../etc/passwd", "no tenant"),
]


@pytest.mark.parametrize(("line", "expected"), REFUSED)
def test_refusal_is_one_line_with_the_remedy_and_exit_code_one(
    run: Run, project: Project, line: str, expected: str
) -> None:
    project.write("config/tenants/bolt.yml", ACME.replace("acme", "bolt"))
    before = sorted(project.root.joinpath("config").rglob("*"))
    answer = run(line)
    assert answer.code == 1
    assert answer.out == ""
    assert expected in answer.err
    assert answer.err.count("\n") == 1
    assert sorted(project.root.joinpath("config").rglob("*")) == before


@pytest.mark.parametrize("line", ["add", "add acme --tier gold", "add acme --interval soon", "show", "nosuch"])
def test_wrong_command_line_is_exit_code_two(run: Run, line: str) -> None:
    assert run(line).code == 2


def test_replace_overwrites_when_asked(run: Run) -> None:
    run("add acme")
    assert run("add acme --name Other --replace").code == 0
    assert run("show acme --json").json["name"] == "Other"


def test_problems_of_files_are_told_beside_the_list(run: Run, project: Project) -> None:
    project.write("config/tenants/acme.yml", ACME)
    run("list")
    project.write("config/tenants/acme.yml", "id: [")
    text = run("list")
    assert "acme" in text.out
    assert "config/tenants/acme.yml:2: is malformed YAML" in text.err
    assert len(run("list --json").json["problems"]) == 1
    assert "keeping its last good version" in run("show acme").err


def test_webhook_whose_address_is_missing_is_told_when_added(run: Run) -> None:
    answer = run("add acme --webhook ops=env:NOT_SET_ANYWHERE")
    assert answer.code == 0
    assert "alert target ops is left out: environment variable NOT_SET_ANYWHERE is not set" in answer.err


def test_settings_of_the_command_line_hold_for_the_command(project: Project) -> None:
    project.write("config/tenants/acme.yml", ACME)
    key = "collectors.system_performance.collection_interval"
    command = [sys.executable, "-m", "collectors_dagster.cli", "--set", f"{key}=77", "tenant", "show", "acme", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert json.loads(done.stdout)["system_performance"]["collection_interval"] == 77
