"""Starting :mod:`tests.support.token_worker`."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from collectors_dagster.config.settings import PROJECT_ROOT
from tests.support.environment import clean_environment
from tests.support.spotify_tokens import OWNER
from tests.support.token_server import TokenServer


@dataclass(frozen=True)
class TokenProcess:
    """A worker."""

    process: "subprocess.Popen[str]"

    def go(self) -> None:
        """Let it begin; it was ready."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Return what it got; fail with what it said."""
        out, err = self.process.communicate(timeout=250)
        assert self.process.returncode == 0, err
        return json.loads(out)

    def failure(self) -> str:
        """Return the last line of what a worker said that failed."""
        _, err = self.process.communicate(timeout=300)
        assert self.process.returncode == 1
        return err.strip().splitlines()[-1]

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self.process.kill()
        self.process.communicate(timeout=300)


def start_worker(database: SecretStr, server: TokenServer, do: str, **more: Any) -> TokenProcess:
    """Return a worker that is ready to begin."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.token_worker"],
        cwd=PROJECT_ROOT,
        env=clean_environment(PYTHONPATH=str(PROJECT_ROOT)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    told = {"database": database.get_secret_value(), "url": server.url, "do": do}
    told |= {"tenant": OWNER.tenant_id, "user": OWNER.user_id, **more}
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n", process.communicate(timeout=300)
    return TokenProcess(process)
