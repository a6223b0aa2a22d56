"""sd_notify, heard on a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors_dagster.agent.service_manager import ServiceManager
from collectors_dagster.clock import ManualClock


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(0)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def test_it_tells_when_it_is_ready_and_when_it_stops(manager: socket.socket, manual_clock: ManualClock) -> None:
    teller = ServiceManager({"NOTIFY_SOCKET": manager.getsockname()}, manual_clock)
    teller.ready("agent a samples")
    teller.alive()
    teller.stopping()
    assert heard(manager) == ["READY=1\nSTATUS=agent a samples", "STOPPING=1\nSTATUS=delivering what is ready"]


@pytest.mark.parametrize(
    ("pid", "expected"), [("", 11), (str(os.getpid()), 11), ("1", 0)], ids=["any", "ours", "other"]
)
def test_a_sign_of_life_is_given_twice_per_watchdog_time_to_whoever_waits_for_ours(
    manager: socket.socket, manual_clock: ManualClock, pid: str, expected: int
) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": pid}
    teller = ServiceManager(environment, manual_clock)
    for _ in range(151):
        teller.alive()
        manual_clock.move(1)
    assert heard(manager) == ["WATCHDOG=1"] * expected


def test_an_abstract_socket_is_reached(manual_clock: ManualClock) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("")
        name = listening.getsockname().decode()
        ServiceManager({"NOTIFY_SOCKET": name.replace("\0", "@", 1)}, manual_clock).ready("x")
        assert listening.recv(4096).startswith(b"READY=1")


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "many"}])
def test_nobody_to_tell_is_no_trouble(environment: dict[str, str], manual_clock: ManualClock) -> None:
    teller = ServiceManager(environment, manual_clock)
    teller.ready("x")
    teller.alive()
    teller.stopping()
