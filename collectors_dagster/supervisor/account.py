"""Whom the database steps down to when the stack is started by root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from collectors_dagster.errors import StartupError

CANDIDATES = ("collectors", "postgres", "nobody")
"""Accounts tried in this order when none is set."""


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account of this machine."""

    name: str
    uid: int
    gid: int

    def popen_arguments(self) -> _Identity:
        """Return the arguments that make :class:`subprocess.Popen` run as this account alone."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_run(self, program: Path) -> bool:
        """Return whether this account reaches and executes `program`."""
        return self._succeeds(str(program), "--version")

    def can_enter(self, directory: Path) -> bool:
        """Return whether this account reaches what lies in `directory`."""
        return self._succeeds("/bin/sh", "-c", 'cd "$1"', "sh", str(directory))

    def _succeeds(self, *command: str) -> bool:
        identity = self.popen_arguments()
        try:
            tried = subprocess.run(command, cwd="/", capture_output=True, check=False, **identity)  # noqa: S603 - our own words
        except OSError:
            return False
        return tried.returncode == 0


def database_account(setting: str | None) -> Account | None:
    """Return whom PostgreSQL runs as: ``None`` (ourselves) unless we are root.

    Raises
    ------
    StartupError
        If we are root and no such account exists.
    """
    if os.geteuid() != 0:
        return None
    for name in (setting,) if setting else CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    wanted = setting or " or ".join(CANDIDATES)
    raise StartupError(
        f"PostgreSQL refuses to run as root and there is no account named {wanted}: "
        "create one (useradd --system collectors) or set COLLECTORS__POSTGRES__ACCOUNT"
    )


def owner_of(path: Path) -> Account | None:
    """Return the account that owns `path`, or ``None`` for root's and nobody's files."""
    uid = path.stat().st_uid
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid) if uid else None
