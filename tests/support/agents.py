"""Real agents in real processes, with a home and a configuration of their own."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from tests.support.environment import clean_environment
from tests.support.patience import patient
from tests.support.postgres import free_port
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]
QUICK = {
    "COLLECTORS__AGENT__SAMPLE_INTERVAL_SECONDS": "0.1",
    "COLLECTORS__PATTERNS__CIRCUIT_BREAKER__RECOVERY_TIMEOUT": "1",
    "COLLECTORS__PATTERNS__RATE_LIMITER__REQUESTS_PER_SECOND": "1000",
}


@dataclass
class AgentHome:
    """A home, a configuration and the agent that runs on them."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['COLLECTORS__PORTS__AGENT']}"

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    def deliver_to(self, conninfo: SecretStr, *, port: int | None = None) -> None:
        """Name the database; with `port`, a place where it is not."""
        url = urlsplit(conninfo.get_secret_value())
        self.environment |= {
            "POSTGRES_HOST": str(url.hostname),
            "POSTGRES_PORT": str(port or url.port),
            "POSTGRES_DB": url.path.lstrip("/"),
            "POSTGRES_USER": str(url.username),
            "POSTGRES_PASSWORD": str(url.password),
        }

    def write_tenant(self, tenant_id: str, collectors: str = "[load, cpu]", interval: int = 1) -> None:
        source = f"{{enabled: true, collectors: {collectors}, collection_interval: {interval}}}"
        path = self.root / "config" / "tenants" / f"{tenant_id}.yml"
        path.write_text(f"id: {tenant_id}\nname: {tenant_id}\nsources: {{system_performance: {source}}}\n")

    def start(self) -> None:
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "collectors_dagster.cli", "agent", "run"],
                cwd=REPOSITORY,
                env=clean_environment(**{**QUICK, **self.environment}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self.runs, seconds=30, what="the agent's status")

    def runs(self) -> bool:
        """Tell whether the present process has published its status; fail if it died."""
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return self.status().get("pid") == self.process.pid

    def status(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.home / "run" / "agent.json").read_bytes())
        except FileNotFoundError:
            return {}
        return content

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=patient(10))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "collectors_dagster.cli", "agent", *arguments],
            cwd=REPOSITORY,
            env=clean_environment(**self.environment),
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def agent_home(root: Path) -> Iterator[AgentHome]:
    """Yield a home with the shipped settings and no tenants; kill what still runs in it at the end."""
    (root / "config" / "tenants").mkdir(parents=True)
    for path in (REPOSITORY / "config").glob("*.yml"):
        shutil.copy(path, root / "config")
    settings = {
        "COLLECTORS_HOME": str(root / "home"),
        "COLLECTORS_CONFIG_DIR": str(root / "config"),
        "COLLECTORS__PORTS__AGENT": str(free_port()),
    }
    agent = AgentHome(root, settings)
    try:
        yield agent
    finally:
        if agent.process is not None and agent.process.poll() is None:
            agent.process.kill()
            agent.process.wait()
