"""Dagster's programs without what they would load for nothing."""

import subprocess
import sys
from importlib.metadata import version

from collectors_dagster.config.settings import PROJECT_ROOT
from tests.support.environment import clean_environment

MODULE = "collectors_dagster.supervisor.dagster_process"


def python(*words: str) -> str:
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=PROJECT_ROOT, env=clean_environment(), capture_output=True, text=True, check=True
    ).stdout


def test_it_is_dagster() -> None:
    assert python("-m", MODULE, "dagster", "--version").strip().endswith(version("dagster"))
    assert "--workspace" in python("-m", MODULE, "dagster_webserver", "--help")


def test_storage_comes_without_what_paints_error_pages() -> None:
    program = f"import sys, {MODULE}, alembic.config; print('pygments' in sys.modules)"
    assert python("-c", program).strip() == "False"
    assert python("-c", program.replace(f" {MODULE},", "")).strip() == "True", "the remedy is no longer needed"
