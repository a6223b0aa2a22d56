"""How many files a collector may keep open: a part of what the process may."""

import resource
from contextlib import suppress

ENOUGH = 32_768
"""Open files with which ten thousand processes are followed at the least cost."""


def raise_limit() -> None:
    """Let this process open as many files as it is allowed to ask for, up to `ENOUGH`.

    Services start with a limit of 1,024 for the sake of programs that use ``select``; we do not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if resource.RLIM_INFINITY != soft < wanted:
        with suppress(ValueError, OSError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def allowance(part: float) -> int:
    """Return how many descriptors `part` of the process's limit is.

    The rest is for the spool, the database and the other collectors: whoever kept more open would make them fail.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return int((soft if soft != resource.RLIM_INFINITY else 65536) * part)
