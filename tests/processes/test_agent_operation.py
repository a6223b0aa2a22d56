"""Operating the agent as a process: what it serves, what signals do, what systemd hears."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric as PrometheusMetric
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from tests.support.agents import AgentHome, agent_home
from tests.support.patience import patient
from tests.support.postgres import free_port
from tests.support.waiting import wait_until


@pytest.fixture
def agent(tmp_path: Path, database: SecretStr) -> Iterator[AgentHome]:
    with agent_home(tmp_path) as home:
        home.write_tenant("aurora")
        home.deliver_to(database)
        yield home


def fetched(agent: AgentHome, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(agent.url + path, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def values(agent: AgentHome) -> dict[str, float]:
    """Return the sum of each sample's values, by its name."""
    status, text = fetched(agent, "/metrics")
    assert status == 200
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def check_histograms(families: Iterable[PrometheusMetric]) -> None:
    """Check that the agent's histograms are whole: bounds in order, counts never falling, the last one the count."""
    histograms = [family for family in families if family.type == "histogram"]
    names = {"collector_execution_duration_seconds", "collectors_agent_sweep_duration_seconds"}
    assert {family.name for family in histograms} == names
    for family in histograms:
        rows: dict[str, list[tuple[float, float]]] = {}
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                row = rows.setdefault(sample.labels.get("collector", ""), [])
                row.append((float(sample.labels["le"]), sample.value))
        counts = {s.labels.get("collector", ""): s.value for s in family.samples if s.name.endswith("_count")}
        assert all(row == sorted(row) and row[-1][0] == inf for row in rows.values())
        assert {key: row[-1][1] for key, row in rows.items()} == counts


def health(agent: AgentHome) -> tuple[int, dict[str, Any]]:
    status, text = fetched(agent, "/health")
    return status, json.loads(text)


def test_metrics_tell_of_the_host_and_of_the_agent_itself(agent: AgentHome) -> None:
    agent.start()
    wait_until(lambda: values(agent).get("collectors_delivery_rows_total", 0) > 0, seconds=30, what="delivered rows")
    status, text = fetched(agent, "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    found = values(agent)
    assert status == 200
    assert found["collectors_host_cpu_cores"] == os.cpu_count()
    assert found["collectors_host_memory_total_bytes"] > 1e8
    assert found["collectors_agent_sweep_duration_seconds_count"] >= 5
    assert found["collector_data_points_collected_total"] > 100
    assert 0 < found["process_cpu_seconds_total"] < 60
    assert 1e7 < found["process_resident_memory_bytes"] < 2e8
    assert found["collectors_delivery_lag_seconds"] < patient(10)
    check_histograms(families.values())
    collectors = {s.labels["collector"] for s in families["collector_last_success_timestamp_seconds"].samples}
    assert {"cpu", "memory", "network"} <= collectors
    assert all(family.documentation for family in families.values())
    if promtool := shutil.which("promtool"):
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    assert agent.stop() == 0


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")
def test_health_is_well_then_degraded_without_the_database_and_failing_without_a_spool(agent: AgentHome) -> None:
    agent.start()
    wait_until(lambda: health(agent) == (200, {"status": "ok", "failing": [], "degraded": []}), seconds=30)
    assert agent.stop() == 0
    agent.environment["POSTGRES_PORT"] = str(free_port())
    agent.start()
    wait_until(lambda: health(agent)[1]["status"] == "degraded", seconds=30, what="degraded health")
    status, told = health(agent)
    assert status == 200
    assert "delivery:" in told["degraded"][0]
    assert agent.process is not None
    unlimited = resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (100, unlimited[1]))  # as good as a full disk
    wait_until(lambda: health(agent)[0] == 503, seconds=30, what="failing health")
    assert "the spool:" in health(agent)[1]["failing"][0]
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: health(agent)[0] == 200, seconds=30, what="health after there is room again")
    assert values(agent)["collectors_agent_spool_lost_records_total"] > 0
    assert agent.stop() == 0


def test_the_endpoint_can_be_switched_off(agent: AgentHome) -> None:
    agent.environment["COLLECTORS__AGENT__ENDPOINT_ENABLED"] = "false"
    agent.start()
    with pytest.raises(urllib.error.URLError, match="refused"):
        fetched(agent, "/health")
    assert agent.status()["endpoint"] is None
    assert agent.stop() == 0


def test_a_port_that_is_taken_costs_no_sample(agent: AgentHome) -> None:
    port = int(agent.environment["COLLECTORS__PORTS__AGENT"])
    with socket.create_server(("127.0.0.1", port)):
        agent.start()
        wait_until(lambda: agent.status()["sampling"]["sweeps"] > 5, seconds=30, what="sampling")
        assert "COLLECTORS__PORTS__AGENT" in agent.log
        assert agent.stop() == 0


def test_a_hangup_reloads_settings_and_tenants_and_tells_what_must_wait(agent: AgentHome) -> None:
    agent.start()
    wait_until(lambda: "aurora" in agent.status()["delivery"]["tenants"], seconds=30)
    agent.write_tenant("borealis")
    (agent.root / "config" / "development.yml").write_text(
        "log: {level: debug}\nagent: {flight_recorder_hours: 2}\nports: {mlflow: 15001}\n"
    )
    assert agent.process is not None
    agent.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "settings and tenants read again" in agent.log, seconds=5, what="the reload")
    wait_until(lambda: "borealis" in agent.status()["delivery"]["tenants"], seconds=10, what="the new tenant")
    (line,) = [json.loads(line) for line in agent.log.splitlines() if "hold after a restart" in line]
    assert {"agent.flight_recorder_hours", "ports.mlflow"} <= set(line["settings"])
    assert "log.level" not in line["settings"]
    (agent.root / "config" / "development.yml").write_text("agent: {nonsense: 1}\n")
    agent.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "nonsense" in agent.log, seconds=10, what="the refusal of bad settings")
    wait_until(lambda: "nonsense" in str(health(agent)[1]["degraded"]), seconds=10, what="the problem in the health")
    assert agent.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_either_signal_drains_and_ends_well(agent: AgentHome, number: signal.Signals) -> None:
    agent.start()
    wait_until(lambda: agent.status()["sampling"]["sweeps"] > 5, seconds=30)
    assert agent.stop(number) == 0
    assert agent.status()["state"] == "stopped"
    assert {path.suffix for path in (agent.home / "agent" / "spool").rglob("*.seg*")} == {".segz"}


def test_the_service_manager_hears_of_start_life_and_end(agent: AgentHome, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        agent.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        agent.start()
        assert manager.recv(4096).startswith(b"READY=1\n")
        assert [manager.recv(4096) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        assert agent.stop() == 0
        rest: list[bytes] = []
        manager.settimeout(0)
        while not rest or not rest[-1].startswith(b"STOPPING"):
            rest.append(manager.recv(4096))


def test_the_roots_of_a_host_can_be_elsewhere(agent: AgentHome) -> None:
    data = Path(__file__).parents[1] / "data" / "linux-6.18"
    agent.environment |= {
        "COLLECTORS__AGENT__PROC_ROOT": str(data / "proc"),
        "COLLECTORS__AGENT__SYS_ROOT": str(data / "sys"),
    }
    agent.start()
    wait_until(lambda: health(agent)[0] == 200 and "collectors_host_load1" in values(agent), seconds=30)
    assert values(agent)["collectors_host_load1"] == float((data / "proc" / "loadavg").read_text().split()[0])
    assert agent.stop() == 0
