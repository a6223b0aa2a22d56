"""Files that are seen whole or not at all."""

import contextlib
import os
from pathlib import Path


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
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_directory(directory: Path) -> None:
    """Make the new name itself survive a power cut, where the filesystem can."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network filesystems refuse to sync a directory
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
