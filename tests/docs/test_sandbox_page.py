"""docs/spotify-sandbox.md says what the code does, and its commands run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from collectors_dagster.config.fields import leaves
from collectors_dagster.config.settings import Settings
from collectors_dagster.sandbox import control
from collectors_dagster.sandbox.faults import FaultKind
from tests.support.environment import clean_environment
from tests.support.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "spotify-sandbox.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_fault_has_a_row_and_no_other() -> None:
    table = PAGE.partition("## Faults")[2]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(get_args(FaultKind))


def test_every_order_has_a_row_and_no_other() -> None:
    rows = re.findall(r"`((?:GET|POST|PUT|DELETE) /sandbox[/\w]*)`", PAGE)
    assert sorted(rows) == sorted(control.ORDERS)


def test_the_settings_it_names_are_real() -> None:
    named = set(re.findall(r"`((?:ports|spotify_sandbox)[.\w]*)`", PAGE))
    known = {".".join(path) for path, _ in leaves(Settings)}
    assert named == {"ports.spotify_sandbox", "spotify_sandbox"}
    assert "ports.spotify_sandbox" in known
    assert any(name.startswith("spotify_sandbox.") for name in known)


def test_its_commands_run() -> None:
    start, orders = blocks("bash")
    port = str(free_port())
    words = shlex.split(start.replace("18999", port))
    assert words[0] == "collectors"
    command = [sys.executable, "-m", "collectors_dagster.cli", *words[1:]]
    environment = clean_environment(PYTHONUNBUFFERED="1")
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            assert f"http://127.0.0.1:{port}/v1" in serving.stdout.readline()
            for line in orders.strip().replace("18999", port).splitlines():
                done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=60)
                assert done.stdout.startswith("{"), line
                assert '"problem"' not in done.stdout, done.stdout
        finally:
            serving.terminate()


def test_its_example_of_a_test_runs() -> None:
    (example,) = blocks("python")
    exec(compile(example, "docs/spotify-sandbox.md", "exec"), {})  # the page's own example


@pytest.mark.parametrize("option", re.findall(r"`(--[\w-]+)", PAGE))
def test_the_options_it_names_exist(option: str) -> None:
    words = [sys.executable, "-m", "collectors_dagster.cli", "sandbox", "spotify", "--help"]
    done = subprocess.run(
        words, cwd=ROOT, env=clean_environment(COLUMNS="200"), capture_output=True, text=True, check=True
    )
    assert option in done.stdout
