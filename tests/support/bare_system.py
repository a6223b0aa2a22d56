"""A system without what only POSIX has: modules, names of ``os``, signals. Imported first, in a process of its own.

What of the standard library and of psutil is written for this system is loaded before, as it is.
"""

import asyncio  # noqa: F401 - see above
import multiprocessing.context  # noqa: F401 - see above
import os
import shutil  # noqa: F401 - see above
import signal
import socket
import ssl  # noqa: F401 - see above
import subprocess  # noqa: F401 - see above
import sys
import tempfile  # noqa: F401 - see above
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import psutil  # noqa: F401 - see above

MODULES = {"fcntl", "resource", "pwd", "grp", "termios"}
NAMES = {
    os: (
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "pread", "pwrite", "fdatasync", "posix_fallocate"),
        *("statvfs", "statvfs_result", "ST_RDONLY", "sysconf", "getuid", "geteuid", "uname", "getloadavg", "fork"),
    ),
    signal: ("SIGHUP", "SIGKILL", "SIGCHLD", "SIGQUIT", "SIGUSR1", "SIGUSR2"),
    socket: ("AF_UNIX",),
}


class Without(MetaPathFinder):
    """Finds none of `MODULES`."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname in MODULES:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


class Msvcrt(ModuleType):
    """What stands in for Windows's locks: the same call, kept by this system."""

    LK_NBLCK = 2

    def __init__(self, lock: int, unlocked: int) -> None:
        super().__init__("msvcrt")
        self._flags = lock | unlocked

    def locking(self, descriptor: int, mode: int, size: int) -> None:
        assert mode == self.LK_NBLCK
        os.lockf(descriptor, self._flags, size)


def strip() -> None:
    """Take it all away from this process."""
    sys.modules["msvcrt"] = Msvcrt(os.F_TLOCK, 0)
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Without())
    for module, names in NAMES.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


strip()
