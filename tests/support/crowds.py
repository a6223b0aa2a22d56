"""Fresh processes that begin together."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.environment import clean_environment

ROOT = Path(__file__).parents[2]


def crowd(url: str, options: Sequence[dict[str, object]], client: str = "rate_client") -> list[dict[str, float]]:
    """Run a process of ``tests/support`` for each of `options`; return what each tells at its end, as JSON."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", f"tests.support.{client}", json.dumps({"url": url, **each})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=clean_environment(),
        )
        for each in options
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outputs = [_told(process) for process in _begun(started)]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    return outputs


def _begun(processes: "Sequence[subprocess.Popen[str]]") -> "Sequence[subprocess.Popen[str]]":
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def _told(process: "subprocess.Popen[str]") -> dict[str, float]:
    assert process.stdout is not None
    told: dict[str, float] = json.loads(process.stdout.readline())
    assert process.wait(timeout=300) == 0
    return told
