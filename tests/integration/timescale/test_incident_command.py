"""`collectors incident`, as a person types it, on a real database."""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from collectors_dagster.cli.__main__ import main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.settings import PROJECT_ROOT
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import Incident, IncidentEventKind, Verdict
from tests.support.commands import point_settings_at
from tests.support.store_data import AURORA, BOREALIS, incident

Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def raised(store: Store) -> Incident:
    """Return an incident of just now."""
    store.tenants.sync([AURORA, BOREALIS])
    now = SystemClock().now()
    [one] = store.incidents.apply(
        "aurora", [(IncidentEventKind.OPENED, replace(incident(), opened_at=now, updated_at=now))]
    )
    return one


@pytest.fixture
def run(
    database: SecretStr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Run:
    point_settings_at(database, tmp_path, monkeypatch)

    def command(line: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["incident", *shlex.split(line)])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return command


def test_what_a_person_says_is_stored_and_shown(run: Run, raised: Incident, store: Store) -> None:
    code, out, err = run(f"normal {raised.id} --tenant aurora --reason 'the nightly backup' --by ann")
    assert (code, err) == (0, "")
    assert "not raised again on this host, and the next training learns it" in out
    [said] = store.feedback.list("aurora")
    assert (said.verdict, said.reason, said.said_by) == (Verdict.NORMAL, "the nightly backup", "ann")
    [listed] = json.loads(run("list --tenant aurora --json")[1])
    assert (listed["id"], listed["said"]) == (raised.id, "normal (ann: the nightly backup)")
    assert "normal (ann: the nightly backup)" in run("list --tenant aurora")[1]
    assert "no training learns it" in run(f"real {raised.id} --tenant aurora")[1]
    assert json.loads(run(f"real {raised.id} --tenant aurora --by bob --json")[1])["said_by"] == "bob"
    assert run(f"forget {raised.id} --tenant aurora")[0] == 0
    assert store.feedback.list("aurora") == []


def test_the_commands_of_the_page_do_what_it_says(run: Run, raised: Incident) -> None:
    page = (PROJECT_ROOT / "docs/models.md").read_text(encoding="utf-8")
    lines = page.partition("## Saying what is normal")[2].split("```")[1].strip().splitlines()
    assert len(lines) == 4
    for line in lines:
        name, words = line.removeprefix("collectors incident ").split(maxsplit=1)
        number, _, rest = words.partition(" ")
        assert (
            run(line.removeprefix("collectors incident ") if name == "list" else f"{name} {raised.id} {rest}")[0] == 0
        )
        assert name == "list" or number.isdigit()


def test_an_incident_of_another_tenant_is_refused_in_one_line(run: Run, raised: Incident, store: Store) -> None:
    code, out, err = run(f"normal {raised.id} --tenant borealis")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "`collectors incident list --tenant borealis` shows those it has" in err
    assert store.feedback.list("aurora") == []


@pytest.mark.parametrize("option", ["--reason 'two\nlines'", "--by ''", f"--reason {'x' * 501}"])
def test_words_that_cannot_be_shown_are_refused(run: Run, raised: Incident, store: Store, option: str) -> None:
    assert run(f"real {raised.id} --tenant aurora {option}")[0] == 1
    assert store.feedback.list("aurora") == []
