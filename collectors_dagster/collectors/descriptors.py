"""How many files a collector may keep open: a part of what the process may."""

import importlib
from contextlib import suppress
from typing import Any

ENOUGH = 32_768
"""Open files with which ten thousand processes are followed at the least cost."""
UNLIMITED = 65_536
"""What is reckoned with where there is no limit, or none that can be asked for (Windows)."""


def raise_limit() -> None:
    """Let this process open as many files as it is allowed to ask for, up to `ENOUGH`.

    Services start with a limit of 1,024 for the sake of programs that use ``select``; we do not.
    """
    resource = _resource()
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if resource.RLIM_INFINITY != soft < wanted:
        with suppress(ValueError, OSError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def allowance(part: float) -> int:
    """Return how many descriptors `part` of the process's limit is.

    The rest is for the spool, the database and the other collectors: whoever kept more open would make them fail.
    """
    resource = _resource()
    if resource is None:
        return int(UNLIMITED * part)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return int((soft if soft != resource.RLIM_INFINITY else UNLIMITED) * part)


def _resource() -> Any | None:
    """Return the module of limits; Windows has none."""
    try:
        return importlib.import_module("resource")
    except ImportError:
        return None
