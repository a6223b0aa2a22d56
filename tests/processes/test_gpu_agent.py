"""An agent with GPUs (of a stand-in library): it spools them, outlives their driver and leaves nothing behind."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents import AgentHome, agent_home
from tests.support.gpus import StubNvml, wait_for_end
from tests.support.postgres import free_port
from tests.support.spools import read_spool
from tests.support.waiting import wait_until


@pytest.fixture
def agent(tmp_path: Path, nvml: StubNvml) -> Iterator[AgentHome]:
    root = tmp_path / "agent"
    root.mkdir()
    with agent_home(root) as home:
        home.environment |= {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(free_port())}
        home.write_tenant("aurora", collectors="[load, gpu]")
        home.start()
        yield home


def spooled(agent: AgentHome) -> dict[str, float]:
    """Return the latest value of every GPU metric in the spool."""
    found: dict[str, float] = {}
    for epoch in (path for path in (agent.home / "agent" / "spool").iterdir() if path.is_dir()):
        for seen in read_spool(epoch):
            for column, value in zip(seen.columns, seen.values, strict=True):
                if column.collector == "gpu" and value == value:  # noqa: PLR0124 - not NaN
                    found[column.metric.name] = value
    return found


def of_gpus(agent: AgentHome) -> dict[str, Any]:
    tally: dict[str, Any] = agent.status()["sampling"]["collectors"]["gpu"]
    return tally


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_gpus_are_spooled_and_a_hung_driver_stops_no_sweep(agent: AgentHome, nvml: StubNvml) -> None:
    wait_until(lambda: "gpu_power_watts" in spooled(agent), 30, "GPUs in the spool")
    assert spooled(agent)["gpu_power_watts"] == 123.456
    nvml.tell("hang nvmlDeviceGetPowerUsage")
    wait_until(lambda: "does not answer" in (of_gpus(agent)["last_error"] or ""), 30, "the failure in the status")
    sweeps = agent.status()["sampling"]["sweeps"]
    wait_until(lambda: agent.status()["sampling"]["sweeps"] > sweeps + 10, 30, "further sweeps")
    assert agent.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_behind(agent: AgentHome, nvml: StubNvml, number: signal.Signals) -> None:
    assert agent.process is not None
    wait_until(lambda: nvml.calls("nvmlDeviceGetPowerUsage") > 5, 30, "questions to the driver")
    (child,) = children_of(agent.process.pid)
    os.kill(child, 0)
    agent.stop(number)
    wait_for_end(child)
