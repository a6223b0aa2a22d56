"""Files that are seen whole or not at all, and what systems call differently about them."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def flags(*names: str) -> int:
    """Return flags for ``os.open``, those of `names` that this system has."""
    value = 0
    for name in names:
        value |= getattr(os, name, 0)
    return value


PLAIN = flags("O_CLOEXEC", "O_BINARY")
"""For every file opened by descriptor: no child inherits it, and bytes stay as they are (Windows adds line ends)."""


OPENS_DIRECTORIES = os.name != "nt"
"""Windows opens no directory, and has no way to make its names durable."""


def _read_at(descriptor: int, size: int, offset: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


def _write_at(descriptor: int, content: bytes, offset: int) -> int:
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.write(descriptor, content)


read_at: Callable[[int, int, int], bytes] = getattr(os, "pread", _read_at)
"""Reads bytes at an offset; where the system cannot do that in one step, a descriptor belongs to one thread."""
write_at: Callable[[int, bytes, int], int] = getattr(os, "pwrite", _write_at)
"""Writes likewise."""


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, replace: bool = True) -> None:
    """Write `content` so that a reader sees the old file or the new one, and a power cut leaves one of them.

    Parameters
    ----------
    path : Path
        Its directory must exist; the temporary file lies beside it, hidden.
    mode : int
        Permissions of the new file, before the process's umask.
    replace : bool
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If `path` exists and `replace` is false.
    OSError
        If the directory cannot be written.
    """
    temporary = path.parent / f".{path.name}.{os.urandom(6).hex()}.tmp"
    try:
        _write_durably(temporary, content, mode)
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename, a link refuses to replace
        _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_durably(path: Path) -> bool:
    """Remove `path` and say whether it was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    _sync_directory(path.parent)
    return True


def _write_durably(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_directory(directory: Path) -> None:
    """Make the new name itself survive a power cut, where the filesystem can."""
    if not OPENS_DIRECTORIES:
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network filesystems refuse to sync a directory
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
