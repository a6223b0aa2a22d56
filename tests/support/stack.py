"""A local stack of a test's own: its home, its ports, and the command that drives it."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from collectors_dagster.clock import SystemClock
from collectors_dagster.config import load_settings
from collectors_dagster.config.surroundings import process_environment
from collectors_dagster.supervisor.status import report
from tests.support.patience import patient
from tests.support.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
PORTS = ("postgres", "redis", "code_server", "webserver", "mlflow", "agent", "spotify_sandbox", "metrics")
BASE = "postgres,redis,migrations"


@dataclass(frozen=True)
class LocalStack:
    """Runs ``collectors`` as a user would, against a home of its own."""

    home: Path
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    account: str | None = None
    python: str = sys.executable

    def environment(self) -> dict[str, str]:
        named = {f"COLLECTORS__PORTS__{name.upper()}": str(port) for name, port in self.ports.items()}
        packages = {"PYTHONPATH": sysconfig.get_path("purelib")} if self.python != sys.executable else {}
        return {**process_environment(), **named, **packages, "COLLECTORS_HOME": str(self.home)}

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "-m", "collectors_dagster.cli", *words],
            cwd=ROOT,
            env=self.environment() | environment,
            capture_output=True,
            text=True,
            timeout=patient(240),
            check=False,
            user=self.account,
        )

    def begin_up(self, only: str) -> subprocess.Popen[str]:
        """Start `collectors up` and do not wait for it."""
        return subprocess.Popen(
            [self.python, "-m", "collectors_dagster.cli", "up", "--only", only],
            cwd=ROOT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def supervisor(self) -> psutil.Process | None:
        """Return the supervisor's process, whether it has told of itself or not."""
        found = (p for p in self.processes() if "collectors_dagster.supervisor" in p.cmdline())
        return next(found, None)

    def up(self, only: str = BASE, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--only", only, **environment)

    def asked(self) -> dict[str, Any]:
        """Return what `collectors status --json` prints."""
        done = self.run("status", "--json")
        assert done.returncode in {0, 1}, done.stderr  # 1: a component is unwell
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def status(self) -> dict[str, Any]:
        """Return the same without a process of its own: tests wait for what it says."""
        settings = load_settings(home=self.home, ports=self.ports)
        return report(settings, SystemClock()).as_json()

    def component(self, name: str) -> dict[str, Any]:
        return next(each for each in self.status()["components"] if each["name"] == name)

    def pid(self, name: str) -> int:
        pid = self.component(name)["pid"]
        assert isinstance(pid, int)
        return pid

    def kill(self, name: str) -> int:
        """Kill a component, or the supervisor, as hard as can be; return which process it was."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def processes(self) -> list[psutil.Process]:
        """Return every process that works in, or was told of, this home."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def connect(self) -> psycopg.Connection:
        password = (self.home / "secrets" / "collectors.password").read_text()
        return psycopg.connect(
            host="127.0.0.1", port=self.ports["postgres"], dbname="collectors", user="collectors", password=password
        )

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                return False
            words = [*process.cmdline(), process.cwd(), process.environ().get("COLLECTORS_HOME", "")]
        except (psutil.Error, OSError):
            return False
        return any(str(self.home) in word for word in words)


def python_for(account: str) -> str | None:
    """Return an interpreter that `account` can run: ours, or the system's of the same version."""
    system = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    return next((python for python in (sys.executable, system) if _runs(python, account)), None)


def _runs(python: str, account: str) -> bool:
    try:
        return subprocess.run([python, "-c", ""], user=account, cwd="/", check=False).returncode == 0
    except OSError:
        return False
