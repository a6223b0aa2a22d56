"""One agent per spool."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collectors_dagster.errors import SpoolError


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
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise SpoolError(f"{path} cannot be opened: {error.strerror}; change its rights") from error


def _acquire(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        message = f"the spool {root} is in use by the agent with process id {owner}; stop it, or use another home"
        raise SpoolError(message) from None
