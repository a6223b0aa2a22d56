"""What files amount to: one number for a directory."""

import hashlib
from pathlib import Path


def directory_digest(directory: Path) -> str:
    """Return the SHA-256 of a directory: of every file's relative path and content."""
    total = hashlib.sha256()
    for path in sorted(one for one in directory.rglob("*") if one.is_file()):
        total.update(path.relative_to(directory).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
