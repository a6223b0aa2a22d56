"""The child process that asks NVML: started, asked, listened to and ended without ever being waited for long."""

import importlib.util
import json
import os
import select
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from collectors_dagster.collectors.gpu.guard import Heard
from collectors_dagster.errors import SourceUnavailableError

SCRIPT = Path(__file__).with_name("child.py")
LENGTH = struct.Struct(">I")
LARGEST = 4 * 1024 * 1024
"""A longer message is nonsense: 16 GPUs in 7 parts each take 0.3 MB."""
PIECE = 65536
QUESTION = b"?"

Message = dict[str, Any]


def command(proc_root: Path) -> list[str]:
    """Return how the child is started: an interpreter without site-packages, told where pynvml lies.

    Raises
    ------
    SourceUnavailableError
        If nvidia-ml-py is not installed.
    """
    found = importlib.util.find_spec("pynvml")  # finds it without importing it
    if found is None or found.origin is None:
        raise SourceUnavailableError("gpu: the package nvidia-ml-py is missing; install it", source="gpu")
    return [sys.executable, "-I", "-S", str(SCRIPT), str(Path(found.origin).parent), str(proc_root)]


class Inbox:
    r"""Messages put together from the pieces in which they come.

    Examples
    --------
    >>> inbox = Inbox()
    >>> inbox.add(b"\x00\x00\x00\x0d" + b'{"absent'), inbox.take()
    (None, None)
    >>> inbox.add(b'":1}'), inbox.take(), inbox.take()
    (None, {'absent': 1}, None)
    """

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, piece: bytes) -> None:
        """Append what came."""
        self._bytes += piece

    def take(self) -> Message | None:
        """Return the next message if it is complete.

        Raises
        ------
        ValueError
            If it is too long, or not a JSON object.
        """
        if len(self._bytes) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._bytes)
        if length > LARGEST:
            raise ValueError(f"a message of {length} bytes")
        end = LENGTH.size + length
        if len(self._bytes) < end:
            return None
        message = json.loads(self._bytes[LENGTH.size : end])
        del self._bytes[:end]
        if not isinstance(message, dict):
            raise ValueError("a message that is no object")  # noqa: TRY004 - nonsense from outside, not a wrong call
        return message


class Child:
    """One process. Asking and listening never block.

    Attributes
    ----------
    message : dict or None
        What it said last, complete.
    """

    def __init__(self, proc_root: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
            command(proc_root),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the agent
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdout.fileno(), False)
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        self._inbox = Inbox()
        self.message: Message | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self) -> None:
        """Put the next question; a process that has died is noticed when it is listened to."""
        with suppress(BrokenPipeError):
            self._stdin.write(QUESTION)

    def hear(self, wait_seconds: float = 0.0) -> Heard:
        """Read what it has said so far.

        Parameters
        ----------
        wait_seconds : float
            How long to wait for the end of a message.

        Raises
        ------
        ValueError
            If it is not a message.
        """
        heard = self._read()
        while wait_seconds and heard in {Heard.SILENCE, Heard.PROGRESS}:
            if not self._poll.poll(wait_seconds * 1000):
                break
            heard = self._read()
        return heard

    def stop(self) -> bool:
        """Close the pipes and kill it; tell whether it is gone."""
        self._stdin.close()
        self._stdout.close()
        self._process.kill()
        return self.gone()

    def gone(self, wait_seconds: float = 0.0) -> bool:
        """Tell whether it has ended; while the driver holds it, not even SIGKILL ends it."""
        if wait_seconds:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(wait_seconds)
        return self._process.poll() is not None

    def obituary(self) -> str:
        """Say how it ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.1)  # its pipe is closed: it is as good as dead
        code = self._process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def _read(self) -> Heard:
        ended, received = self._receive()
        self.message = self._inbox.take()
        if self.message is not None:
            return _kind(self.message)
        if ended:
            return Heard.END
        return Heard.PROGRESS if received else Heard.SILENCE

    def _receive(self) -> tuple[bool, int]:
        """Read until nothing is left; tell whether the end was reached, and how many bytes came."""
        received = 0
        try:
            while piece := os.read(self._stdout.fileno(), PIECE):
                self._inbox.add(piece)
                received += len(piece)
        except BlockingIOError:
            return False, received
        return True, received


def _kind(message: Message) -> Heard:
    if "absent" in message:
        return Heard.ABSENCE
    return Heard.ANSWER if "values" in message else Heard.END
