"""Telling systemd how it goes (``sd_notify``): ready, alive, stopping. Without systemd nothing is said.

The protocol is a datagram of lines to the socket named in the environment: see sd_notify(3).
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

from collectors_dagster.clock import Clock


class ServiceManager:
    """The service manager that started us, if one did and wants to know.

    Parameters
    ----------
    environment : mapping
        ``NOTIFY_SOCKET``: where to send; ``WATCHDOG_USEC`` and ``WATCHDOG_PID``: whether and how often it wants a
        sign of life.
    """

    def __init__(self, environment: Mapping[str, str], clock: Clock) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        self._pause = _watchdog_seconds(environment) / 2
        self._due = clock.monotonic()

    def ready(self, status: str) -> None:
        """Say that the start is over."""
        self._send("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """Give a sign of life if one is due; call it at least every few seconds."""
        if self._pause and self._clock.monotonic() >= self._due:
            self._due = self._clock.monotonic() + self._pause
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1", "STATUS=delivering what is ready")

    def _send(self, *lines: str) -> None:
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0)
                sender.sendto("\n".join(lines).encode(), self._address)


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Return the time after which silence is taken for death; 0 if nobody waits for a sign of ours."""
    meant = environment.get("WATCHDOG_PID", "")
    if meant and meant != str(os.getpid()):
        return 0.0
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
