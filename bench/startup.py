"""How long a user waits: for ``collectors --help``, and for a whole stack with the pipeline run.

For the command, the floor is ``python -c pass`` and the peer is Dagster's own ``dagster --help``, the command line our
users know. For the stack, the peer is ``dagster dev`` with an empty project, until its web server answers: one of the
ten components, and nothing computed.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.surroundings import process_environment
from tests.support.postgres import free_port

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ROUNDS = 7
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "collectors --help": [str(BIN / "collectors"), "--help"],
    "dagster --help": [str(BIN / "dagster"), "--help"],
}
PORTS = ("POSTGRES", "REDIS", "CODE_SERVER", "WEBSERVER", "MLFLOW", "AGENT", "METRICS", "SPOTIFY_SANDBOX")
PEER_SECONDS = 180.0
CLOCK = SystemClock()


def seconds(command: list[str]) -> float:
    """Return the wall time of one call."""
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def stack_seconds(home: Path) -> float:
    """Return the wall time from nothing to a healthy stack whose pipeline has run."""
    environment = {**_clean(), "COLLECTORS_HOME": str(home / "collectors")}
    environment |= {f"COLLECTORS__PORTS__{name}": str(free_port()) for name in PORTS}
    began = time.perf_counter()
    try:
        _call([str(BIN / "collectors"), "up"], environment)
        taken = time.perf_counter() - began
        states = json.loads(_call([str(BIN / "collectors"), "status", "--json"], environment))
        sick = [one["name"] for one in states["components"] if one["state"] not in {"ready", "done"}]
        if sick:
            raise RuntimeError(f"the stack is not healthy: {sick}")
        return taken
    finally:
        _call([str(BIN / "collectors"), "down"], environment)


def peer_seconds(home: Path) -> float:
    """Return the wall time until the web server of ``dagster dev`` answers."""
    port = free_port()
    instance = home / "dagster"
    instance.mkdir()
    words = ["dev", "-m", "bench.run_cost_projects.empty", "--port", str(port)]
    environment = {**_clean(), "DAGSTER_HOME": str(instance), "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    dev = subprocess.Popen(
        [str(BIN / "dagster"), *words], cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _until(lambda: _answers(f"http://127.0.0.1:{port}/server_info"), began)
        return time.perf_counter() - began
    finally:
        dev.terminate()
        dev.wait(60)


def _call(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout


def _clean() -> dict[str, str]:
    kept = {k: v for k, v in process_environment().items() if not k.startswith(("COLLECTORS", "DAGSTER", "POSTGRES"))}
    return kept | {"PYTHONDONTWRITEBYTECODE": ""}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _until(condition: Callable[[], bool], began: float) -> None:
    while not condition():
        if time.perf_counter() - began > PEER_SECONDS:
            raise TimeoutError(f"dagster dev did not answer within {PEER_SECONDS:.0f} s")
        CLOCK.sleep(0.1)


def measure() -> Report:
    """Interleave the commands, so that a busy moment hits all of them, and compare medians; then start both stacks."""
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(ROUNDS)]
    median = {name: statistics.median(each[name] for each in rounds) for name in COMMANDS}
    ours = median["collectors --help"]
    with tempfile.TemporaryDirectory(prefix="collectors-bench-") as scratch:
        Path(scratch).chmod(0o755)  # the database steps down from root
        peer = peer_seconds(Path(scratch))
        stack = stack_seconds(Path(scratch))
    goals = (
        Goal("collectors --help, seconds", ours, 0.3),
        Goal("collectors --help / dagster --help", ours / median["dagster --help"], 0.5),
        Goal("from nothing to a healthy stack with the pipeline run, seconds", stack, 120.0),
    )
    detail = {
        "median_seconds": median,
        "rounds": ROUNDS,
        "dagster_dev_seconds": peer,
        "stack / dagster dev": stack / peer,
        "load_before": os.getloadavg(),
    }
    return Report("startup", goals, detail)


if __name__ == "__main__":
    main(measure, __doc__)
