"""What the agent costs at work: a minute at 1 Hz beside node_exporter, in the same minute.

Ours is measured three times, each in a process of its own: the sampling loop with its spool (the whole path from the
kernel to the disk), the same with only the sources that node_exporter's eleven collectors have, and the whole agent as
it is run (with delivery to a real PostgreSQL, tenants, status). The peer is Debian's ``prometheus-node-exporter`` with
the eleven collectors that read the same areas, scraped once a second; without it its goals are left out, and said so.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from bench.agent_loop import LOOPS, SECONDS, WARM_SECONDS
from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.surroundings import process_environment
from collectors_dagster.integrations.timescale import migrate
from tests.support.postgres import PASSWORD, free_port, running_postgres

ROOT = Path(__file__).resolve().parent.parent
PEER = "prometheus-node-exporter"
PEER_COLLECTORS = (
    *("cpu", "meminfo", "diskstats", "netdev", "loadavg", "stat", "vmstat", "filesystem", "pressure", "sockstat"),
    "filefd",
)
CLOCK = SystemClock()


def _resident(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def _cpu_ms(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system) * 1000


@contextmanager
def node_exporter() -> Iterator[tuple[int, str] | None]:
    """Run the peer; yield its process and address, or nothing where it is not installed."""
    program = shutil.which(PEER) or shutil.which("node_exporter")
    if program is None:
        yield None
        return
    port = free_port()
    chosen = [f"--collector.{name}" for name in PEER_COLLECTORS]
    words = ["--collector.disable-defaults", *chosen, "--web.disable-exporter-metrics"]
    process = subprocess.Popen(
        [program, *words, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        CLOCK.sleep(1)
        yield process.pid, f"http://127.0.0.1:{port}/metrics"
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def whole_agent(home: Path) -> Iterator[int]:
    """Run the agent as it is run, delivering to two tenants; yield its process."""
    with running_postgres() as server:
        server.create_database("collectors")
        migrate(server.conninfo("collectors"), clock=CLOCK)
        environment = {k: v for k, v in process_environment().items() if not k.startswith(("COLLECTORS", "POSTGRES"))}
        environment |= {
            "COLLECTORS_HOME": str(home),
            "COLLECTORS__PORTS__AGENT": str(free_port()),
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(server.port),
            "POSTGRES_DB": "collectors",
            "POSTGRES_USER": "collectors",
            "POSTGRES_PASSWORD": PASSWORD,
        }
        agent = subprocess.Popen(
            [sys.executable, "-m", "collectors_dagster.cli", "agent", "run"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield agent.pid
        finally:
            agent.terminate()
            agent.wait(20)


def scrape(address: str) -> int:
    """Return how many samples a scrape brings."""
    with urllib.request.urlopen(address, timeout=10) as reply:
        return sum(1 for line in reply if not line.startswith(b"#"))


def measure() -> Report:
    """Let all of them work in the same minute."""
    with tempfile.TemporaryDirectory(prefix="collectors-bench-") as scratch, ExitStack() as running:
        Path(scratch).chmod(0o755)
        agent = running.enter_context(whole_agent(Path(scratch) / "home"))
        peer = running.enter_context(node_exporter())
        loops = {name: _loop(name, Path(scratch) / name.replace(" ", "-")) for name in LOOPS}
        CLOCK.sleep(WARM_SECONDS)
        before = {"agent": _cpu_ms(agent)} | ({"peer": _cpu_ms(peer[0])} if peer else {})
        peer_series = 0
        for _ in range(SECONDS):
            began = time.perf_counter()
            if peer:
                peer_series = scrape(peer[1])
            CLOCK.sleep(max(0.0, 1.0 - (time.perf_counter() - began)))
        detail: dict[str, object] = {
            "agent_cpu_ms_per_second": (_cpu_ms(agent) - before["agent"]) / SECONDS,
            "agent_rss_mb": _resident(agent),
        }
        peer_ms = (_cpu_ms(peer[0]) - before["peer"]) / SECONDS if peer else 0.0
        found = {name: json.loads(loop.communicate(timeout=120)[0]) for name, loop in loops.items()}
        detail |= {"loops": found, "peer_cpu_ms_per_scrape": peer_ms, "peer_series": peer_series}
        if peer:
            detail["peer_rss_mb"] = _resident(peer[0])
        else:
            detail["peer"] = f"{PEER} is not installed: its goals are left out"
    host = found["host"]
    goals = [
        Goal("series in a sweep of the host", host["series"], 246, "higher"),
        Goal("host sweep with its record on disk at 1 Hz, CPU ms", host["cpu_ms_per_sweep"], 0.7),
        Goal("resident memory of the sampling loop, MB", host["rss_mb"], 30.0),
        Goal("resident memory of the whole agent, MB", float(str(detail["agent_rss_mb"])), 30.0),
    ]
    if peer_ms:
        ratio = found["with processes"]["cpu_ms_per_sweep"] / peer_ms
        goals += [
            Goal("host sweep / node_exporter with 11 collectors", host["cpu_ms_per_sweep"] / peer_ms, 0.20),
            Goal("host and process sweep / node_exporter with 11 collectors", ratio, 0.7),
        ]
    return Report("agent", tuple(goals), {**detail, "load_before": os.getloadavg(), "seconds": SECONDS})


def _loop(name: str, directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.agent_loop", name, str(directory)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    main(measure, __doc__)
