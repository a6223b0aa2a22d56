"""A model's files on disk: how they arrive whole, and how many stay."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def place(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a directory and put it at `path` in one step: others see all of it or nothing.

    Two processes may do so at once; the first one's stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".incoming-", dir=path.parent))
    try:
        write(scratch / "files")
        if not path.exists():
            (scratch / "files").rename(path)
            path.touch()  # newest is what arrived last, not what was trained last
    except OSError:
        if not path.exists():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def keep_newest(directory: Path, count: int) -> None:
    """Remove all but the `count` newest directories in `directory`; hidden ones are still being written."""
    versions = [one for one in directory.iterdir() if one.is_dir() and not one.name.startswith(".")]
    for old in sorted(versions, key=lambda one: one.stat().st_mtime, reverse=True)[count:]:
        shutil.rmtree(old, ignore_errors=True)
