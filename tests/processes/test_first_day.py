"""A newcomer's first quarter of an hour: `make up`, every command of the README, a second `make up`, `make down`.

One stack serves the whole module, on a home, ports and a configuration directory of its own.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.environment import clean_environment
from tests.support.postgres import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(sys.prefix)
COMPONENTS = {
    *("supervisor", "postgres", "redis", "migrations", "mlflow", "code-server"),
    *("webserver", "daemon", "agent", "scorer", "spotify-sandbox", "spotify-consent"),
}
DAILY = {
    *("collection_run", "metrics_hourly", "metrics_daily", "feature_table"),
    *("anomaly_scores", "load_forecast", "health_report", "model_review"),
}
pytestmark = pytest.mark.timeout(1800)  # `make up` takes minutes where others work beside it


@dataclass(frozen=True)
class Stack:
    """A running platform and the environment that reaches it."""

    home: Path
    environment: dict[str, str]
    first_up: subprocess.CompletedProcess[str]

    def sh(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line of the README as its reader would, with this test's virtual environment."""
        line = command.replace(".venv/bin/", f"{VENV}/bin/")
        line = re.sub(r"^make ", f"make VENV={VENV} ", line)
        return subprocess.run(
            ["/bin/sh", "-c", line], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )

    def status(self) -> dict[str, Any]:
        """Return what `collectors status --json` says, by component."""
        done = self.sh(".venv/bin/collectors status --json")
        assert done.returncode == 0, done.stderr
        return {each["name"]: each for each in json.loads(done.stdout)["components"]}

    def graphql(self, query: str) -> Any:
        """Ask the Dagster webserver."""
        url = f"http://127.0.0.1:{self.environment['COLLECTORS__PORTS__WEBSERVER']}/graphql"
        reply = httpx.post(url, json={"query": query}, timeout=30).json()
        assert "errors" not in reply, reply
        return reply["data"]


def own_environment(home: Path) -> dict[str, str]:
    """Return an environment with a home, a configuration and ports of its own."""
    servers = ("POSTGRES", "REDIS", "CODE_SERVER", "WEBSERVER", "MLFLOW")
    names = (*servers, "AGENT", "METRICS", "SPOTIFY_SANDBOX")
    ports = {f"COLLECTORS__PORTS__{name}": str(free_port()) for name in names}
    return clean_environment(COLLECTORS_HOME=str(home), COLLECTORS_CONFIG_DIR=str(home.parent / "config"), **ports)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield the platform as `make up` leaves it; stop it afterwards whatever happened."""
    base = tmp_path_factory.mktemp("platform")
    shutil.copytree(ROOT / "config", base / "config")
    environment = own_environment(base / "home")
    unborn = Stack(base / "home", environment, subprocess.CompletedProcess([], 0))
    first = unborn.sh("make up")
    try:
        yield Stack(base / "home", environment, first)
    finally:
        unborn.sh("make down")


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie is its parent's to bury."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def readme_commands() -> list[str]:
    """Return the lines of the README's shell blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_make_up_returns_with_every_component_running(stack: Stack) -> None:
    assert stack.first_up.returncode == 0, stack.first_up.stdout[-3000:] + stack.first_up.stderr[-3000:]
    states = {name: each["state"] for name, each in stack.status().items()}
    assert set(states) == COMPONENTS
    assert set(states.values()) <= {"ready", "done"}
    for name in COMPONENTS:
        assert name in stack.first_up.stdout


def test_every_tenant_has_every_asset_of_today(stack: Stack) -> None:
    tenants = {"aurora", "borealis", "showcase"}
    nodes = stack.graphql(
        "{assetNodes {assetKey {path} assetPartitionStatuses {__typename} partitionStats {numMaterialized numFailed}}}"
    )["assetNodes"]
    stats = {node["assetKey"]["path"][-1]: node["partitionStats"] for node in nodes}
    assert DAILY | {"anomaly_model", "forecast_model"} <= set(stats)
    for name in DAILY | {"anomaly_model", "forecast_model"}:
        assert stats[name]["numMaterialized"] >= len(tenants), name
        assert stats[name]["numFailed"] == 0, name


def test_mlflow_holds_a_champion_per_tenant_and_kind(stack: Stack) -> None:
    base = f"http://127.0.0.1:{stack.environment['COLLECTORS__PORTS__MLFLOW']}/api/2.0/mlflow/registered-models"
    for tenant in ("aurora", "borealis", "showcase"):
        for kind in ("anomaly", "forecast"):
            reply = httpx.get(f"{base}/alias", params={"name": f"{tenant}.{kind}", "alias": "champion"}, timeout=30)
            assert reply.status_code == 200, reply.text


SENSOR = """{sensorOrError(sensorSelector: {sensorName: "champions", repositoryName: "__repository__",
    repositoryLocationName: "collectors_dagster"}) {... on Sensor {sensorState {ticks(limit: 1) {cursor}}}}}"""
OBSERVED = """{assetOrError(assetKey: {path: ["forecast_model"]}) {... on Asset {
    assetObservations(partitions: ["borealis"], limit: 10) {description}}}}"""


def test_an_alias_that_somebody_moves_in_mlflow_is_told_at_the_asset_within_a_minute(stack: Stack) -> None:
    base = f"http://127.0.0.1:{stack.environment['COLLECTORS__PORTS__MLFLOW']}/api/2.0/mlflow/registered-models/alias"
    body = {"name": "borealis.forecast", "alias": "champion"}
    version = httpx.get(base, params=body, timeout=30).json()["model_version"]["version"]

    def seen() -> bool:
        ticks = stack.graphql(SENSOR)["sensorOrError"]["sensorState"]["ticks"]
        return any(f'"borealis.forecast": "{version}"' in (tick["cursor"] or "") for tick in ticks)

    def told() -> list[str]:
        return [one["description"] for one in stack.graphql(OBSERVED)["assetOrError"]["assetObservations"]]

    wait_until(seen, 90, "a look at what serves")
    httpx.request("DELETE", base, json=body, timeout=30).raise_for_status()
    wait_until(lambda: any("nothing serves any more" in text for text in told()), 60, "the lost champion")
    httpx.post(base, json={**body, "version": version}, timeout=30).raise_for_status()
    wait_until(lambda: any(f"version {version} serves now" in text for text in told()), 60, "the champion's return")


@pytest.mark.parametrize("command", [line for line in readme_commands() if not line.startswith("make")])
def test_commands_of_the_readme_work(stack: Stack, command: str) -> None:
    done = stack.sh(command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_targets_of_the_readme_exist() -> None:
    targets = {line.split()[1] for line in readme_commands() if line.startswith("make ")}
    assert {"up", "test", "down", "check", "help", "plan"} <= targets
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_a_second_make_up_changes_nothing(stack: Stack) -> None:
    before = {name: (each["pid"], each["restarts"]) for name, each in stack.status().items()}
    done = stack.sh("make up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: (each["pid"], each["restarts"]) for name, each in stack.status().items()} == before


def test_make_down_stops_everything_it_started_and_nothing_else(stack: Stack) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        pids = {each["pid"] for each in stack.status().values() if each["pid"]}
        family = {child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)} | pids
        done = stack.sh("make down")
        assert done.returncode == 0, done.stdout + done.stderr
        assert [pid for pid in family if is_alive(pid)] == []
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")
    for name, port in stack.environment.items():
        if name.startswith("COLLECTORS__PORTS__"):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", int(port))) != 0, name
    again = stack.sh("make down")
    assert again.returncode == 0
