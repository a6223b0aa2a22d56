"""A real MLflow server on SQLite, for the length of a test session."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from urllib.error import URLError
from urllib.request import urlopen

from tests.support.environment import clean_environment
from tests.support.waiting import wait_until

_NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Workers for jobs that nobody here has: they cost more than the server."""


def _free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_healthy(uri: str) -> bool:
    try:
        with urlopen(f"{uri}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


@contextmanager
def running_mlflow(directory: Path) -> Iterator[str]:
    """Yield the address of a server that keeps everything under `directory`."""
    port = _free_port()
    uri = f"http://127.0.0.1:{port}"
    words = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{directory}/mlflow.db"),
        *("--artifacts-destination", str(directory / "artifacts"), "--serve-artifacts"),
    ]
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(
            words, stdout=log, stderr=log, cwd=directory, start_new_session=True, env=clean_environment(**_NO_JOBS)
        )
    try:
        wait_until(lambda: _is_healthy(uri), 120, "the MLflow server")
        yield uri
    finally:
        os.killpg(process.pid, 9)
        process.wait()
