"""One agent per spool."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collectors_dagster.config.files import PLAIN
from collectors_dagster.errors import SpoolError

BEHIND = 1 << 30
"""Windows locks bytes, and nobody else can read them: so one is locked that is not written."""


@contextmanager
def spool_lock(root: Path) -> Iterator[None]:
    """Hold the spool for the body; the kernel lets go when the process ends, however it ends.

    Raises
    ------
    SpoolError
        If the lock cannot be made, or another process holds it; the message names that process.
    """
    descriptor = _opened(root / "lock")
    try:
        _acquire(descriptor, root)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | PLAIN, 0o640)
    except OSError as error:
        raise SpoolError(f"{path} cannot be opened: {error.strerror}; change its rights") from error


def _acquire(descriptor: int, root: Path) -> None:
    try:
        _lock(descriptor)
    except OSError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        message = f"the spool {root} is in use by the agent with process id {owner}; stop it, or use another home"
        raise SpoolError(message) from None


def _lock(descriptor: int) -> None:
    """Take the lock without waiting.

    Raises
    ------
    OSError
        If another process holds it.
    """
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:
        msvcrt = importlib.import_module("msvcrt")
        os.lseek(descriptor, BEHIND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
