"""`collectors db`, as a person or a script types it, on a real database."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from collectors_dagster.cli.__main__ import main
from collectors_dagster.integrations.timescale.migrations import shipped_migrations
from tests.support.commands import point_settings_at

TITLES = [migration.title for migration in shipped_migrations()]

Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def run(
    empty_database: SecretStr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return the command on a database without a schema."""
    point_settings_at(empty_database, tmp_path, monkeypatch)

    def db(line: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["db", *shlex.split(line)])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return db


def test_migrate_says_what_it_did_and_that_there_is_nothing_left(run: Run) -> None:
    code, out, err = run("status")
    edition, *pending = out.splitlines()
    assert (code, pending, err) == (0, [f"pending {title}" for title in TITLES], "")
    assert edition.startswith("edition plain (PostgreSQL 1")
    assert run("migrate") == (0, "".join(f"applied {title}\n" for title in TITLES), "")
    assert run("migrate --pre-only") == (0, "nothing to do\n", "")
    assert run("status")[1].splitlines()[1:] == [f"applied {title}" for title in TITLES]


def test_json_is_for_scripts(run: Run) -> None:
    code, out, err = run("migrate --json")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert (report["applied"], report["current"], report["pending"]) == (TITLES, TITLES, [])
    told = json.loads(run("status --json")[1])
    assert (told["applied"], told["edition"], told["timescaledb"]) == ([], "plain", None)


def test_the_doctor_says_what_is_wrong_and_the_remedy(run: Run) -> None:
    code, out, err = run("doctor")
    assert (code, err) == (1, "")
    assert "failure  edition: there is no schema\n         -> run `collectors db migrate`\n" in out
    run("migrate")
    findings = {one["check"]: one for one in json.loads(run("doctor --json")[1])}
    assert findings["edition"] == {"check": "edition", "state": "ok", "found": "plain", "remedy": ""}
    assert findings["fsync"]["remedy"] == "set fsync = on"  # the tests' server trades safety for speed
    assert findings["clock"]["state"] == "ok"


def test_an_absent_server_is_one_line_with_the_remedy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PORT", "1")
    monkeypatch.setenv("POSTGRES_PASSWORD", "hunter2")
    code, out, err = run("status")
    assert (code, out) == (1, "")
    assert err.startswith("collectors: cannot read the state of the schema: ")
    assert "check that the database is up" in err
    assert "hunter2" not in err
    assert err.count("\n") == 1
