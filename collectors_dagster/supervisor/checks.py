"""What must hold before anything is started; each failure is one line with its remedy."""

import errno
import os
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

from collectors_dagster.config import Settings
from collectors_dagster.config.environment import variable_for
from collectors_dagster.errors import StartupError
from collectors_dagster.supervisor.component import Component

OLDEST_PYTHON = (3, 11)
FREE_BYTES = 1024**3
"""Room for the cluster, its log of changes, and a first week of data."""


def check_python(running: tuple[int, ...] = sys.version_info[:2]) -> None:
    """Refuse a Python that is too old."""
    if running < OLDEST_PYTHON:
        have, need = (".".join(map(str, version[:2])) for version in (running, OLDEST_PYTHON))
        raise StartupError(f"Python {have} is too old: make the virtual environment anew with Python {need} or newer")


def check_writable(home: Path) -> None:
    """Refuse a data directory that cannot be made or written."""
    probe = home / ".writable"
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StartupError(
            f"the data directory {home} cannot be written ({error.strerror}): "
            "change its rights or set COLLECTORS_HOME to another"
        ) from error


def check_owner(home: Path, user: int) -> None:
    """Refuse a data directory of somebody else: half of its files could not be read."""
    state = home / "run"
    if user and state.exists() and state.stat().st_uid != user:
        raise StartupError(
            f"the data directory {home} was made by another account: "
            "run as that account or set COLLECTORS_HOME to another directory"
        )


def check_space(home: Path, needed: int = FREE_BYTES) -> None:
    """Refuse a disk that is full, or will be soon."""
    free = shutil.disk_usage(home).free
    if free < needed:
        raise StartupError(
            f"the disk of {home} has {free // 1024**2} MB left and {needed // 1024**2} MB are needed: "
            "free some or set COLLECTORS_HOME to another disk"
        )


def check_ports(settings: Settings, components: Iterable[Component]) -> None:
    """Refuse ports that somebody else listens on."""
    for component in components:
        for name, port in component.ports.items():
            _check_port(component.listens_on or settings.bind_address, port, component, variable_for(("ports", name)))


def check_machine(settings: Settings) -> None:
    """Check everything that does not depend on what is to be started."""
    check_python()
    check_writable(settings.home)
    check_owner(settings.home, os.geteuid())
    check_space(settings.home)


def _check_port(address: str, port: int, component: Component, variable: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise StartupError(
                    f"this machine has no address {address}: "
                    f"set {variable_for(component.address_setting)} to one that it has"
                ) from error
            raise StartupError(
                f"port {port} for {component.name} cannot be used ({error.strerror}){_holder(port)}: "
                f"stop the program that has it or set {variable} to another"
            ) from error


def _holder(port: int) -> str:
    """Return who listens on `port`, as far as we may know."""
    try:
        every = psutil.net_connections("tcp")
        pid = next(each.pid for each in every if each.status == psutil.CONN_LISTEN and each.laddr[1:] == (port,))
        return f", {psutil.Process(pid).name()} with pid {pid} has it" if pid else ""
    except (StopIteration, psutil.Error, OSError):
        return ""
