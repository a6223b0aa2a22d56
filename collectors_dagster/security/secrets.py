"""Secrets that the local stack makes for itself: one file each, readable by its owner only."""

import os
import re
import stat
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import TYPE_CHECKING

from collectors_dagster.config.files import write_atomically
from collectors_dagster.errors import SecurityError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from collectors_dagster.config import Settings

_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z]+)?")
_RANDOM_BYTES = 24


def read_or_create(settings: "Settings", name: str) -> "SecretStr":
    """Return the secret `name`, making it at the first call.

    Whoever asks at the same time, in whichever process, gets the same secret.

    Parameters
    ----------
    settings : Settings
        Their data directory holds ``secrets/``.
    name : str
        For example ``collectors.password``.

    Raises
    ------
    SecurityError
        If the file is readable by others, empty, not a plain file, or cannot be written; the message has the remedy.
    """
    from pydantic import SecretStr  # noqa: PLC0415 - who only redacts, as the agent does, does not load it

    if not _NAME.fullmatch(name):
        raise SecurityError(f"{name[:40]!r} is no name of a secret")
    path = settings.secret_path(name)
    try:
        if not path.is_symlink() and not path.exists():
            _create(path)
        return SecretStr(_read(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise SecurityError(f"{path}: {reason}; the data directory must be writable by this user")


def stored_secrets(directory: Path) -> list[str]:
    """Return all secrets that exist, in clear, for redaction; a file that cannot be read is left out."""
    found: list[str] = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        try:
            found.append(_read(path))
        except (OSError, SecurityError):
            continue
    return found


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        write_atomically(path, urlsafe_b64encode(os.urandom(_RANDOM_BYTES)), mode=0o600, replace=False)
    except FileExistsError:
        return  # another process was first: its secret is the one


def _read(path: Path) -> str:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise SecurityError(f"{path}: is not a plain file; remove it and what it points to, then start again")
    if found.st_mode & 0o077:
        raise SecurityError(f"{path}: is readable by others; chmod 600 it, or replace the secret if they read it")
    text = path.read_text(encoding="utf-8").strip()
    if not text:
        raise SecurityError(f"{path}: is empty; restore it from your backup")
    return text
