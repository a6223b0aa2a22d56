"""A terminal with a program in it, and a person before it who reads and presses keys."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from tests.support.patience import patient

SIZE = struct.pack("HHHH", 50, 140, 0, 0)
"""Rows and columns."""


@dataclass
class Terminal:
    """What is on it, and the process that runs in it."""

    process: "subprocess.Popen[bytes]"
    master: int
    seen: str = field(default="")

    def wait_for(self, condition: Callable[[str], bool], seconds: float, what: str) -> None:
        """Read until `condition` holds of all that was shown since it began."""
        deadline = monotonic() + patient(seconds)
        while not condition(self.seen):
            left = deadline - monotonic()
            assert left > 0, f"{what} was not shown within {patient(seconds):g} s: {self.seen[-2000:]!r}"
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65_536).decode(errors="replace")

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self.master, key.encode())

    def close(self) -> None:
        """Close it; who works in it gets no signal for that."""
        os.close(self.master)
        self.master = -1


@contextmanager
def in_a_terminal(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a command in a terminal of 140 columns; kill it at the end if it is still there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, SIZE)
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env={**environment, "TERM": "xterm"}, start_new_session=True
    )
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        process.kill()
        process.wait(120)
        if terminal.master >= 0:
            terminal.close()
