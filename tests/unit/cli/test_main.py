"""The command itself: quick to help, one line for an error, honest exit codes."""

import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from collectors_dagster.cli.__main__ import ENTRIES
from tests.support.environment import clean_environment
from tests.support.killed import killed_at_last
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("rich", "pydantic", "yaml", "psutil", "structlog", "numpy", "dagster", "mlflow", "psycopg")


def collectors(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "collectors_dagster.cli", *words],
        cwd=ROOT,
        env=clean_environment(COLLECTORS_HOME=str(home)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom collectors_dagster.cli.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert [name for name in ENTRIES if f"\n  {name} " not in done.stdout] == []


@pytest.mark.parametrize("name", ENTRIES)
def test_every_listed_command_exists_and_helps(tmp_path: Path, name: str) -> None:
    assert import_module(ENTRIES[name].module).app
    done = collectors(tmp_path, name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: collectors " + name in done.stdout


def test_a_known_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = collectors(tmp_path, "logs", "nonsense")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("collectors: there is no log of 'nonsense'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [("nonsense",), ("up", "--nonsense"), ("logs", "-n", "-1")])
def test_wrong_usage_is_code_2(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert collectors(tmp_path, *words).returncode == 2


def test_an_interrupt_is_code_130(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "agent.log"
    log.parent.mkdir()
    log.write_text("a line\n")
    command = [sys.executable, "-m", "collectors_dagster.cli", "logs", "agent", "--follow"]
    environment = clean_environment(COLLECTORS_HOME=str(tmp_path))
    with killed_at_last(command, cwd=ROOT, env=environment) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "a line\n"
        following.send_signal(signal.SIGINT)
        wait_until(lambda: following.poll() is not None, 20, "the end")
    assert following.returncode == 130
