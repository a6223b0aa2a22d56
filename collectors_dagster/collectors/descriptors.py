"""How many files a collector may keep open: a part of what the process may."""

import resource


def allowance(part: float) -> int:
    """Return how many descriptors `part` of the process's limit is.

    The rest is for the spool, the database and the other collectors: whoever kept more open would make them fail.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return int((soft if soft != resource.RLIM_INFINITY else 65536) * part)
