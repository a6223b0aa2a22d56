"""Where fresh samples begin: a border between two intervals near the end of the spool, found without what is before.

Pure. Intervals follow the wall clock record by record, so what is an interval's last record depends on the records
before it, but only until the clock has moved on into another interval: from there on every history agrees.
"""

import math
from collections.abc import Iterable
from itertools import pairwise

from collectors_dagster.agent.intervals import border_records, following_bucket
from collectors_dagster.agent.reader import Observation

LOOK_BACK_INTERVALS = 4
"""One to agree with every history, one that is complete and goes first, the open one, and one for a slow start."""


def look_back_records(resolution_seconds: float, sample_interval_seconds: float) -> int:
    """Return how many of the newest records are sure to hold a border that :func:`fresh_start` finds.

    Examples
    --------
    >>> look_back_records(10.0, 1.0)
    66
    """
    whole = math.ceil(LOOK_BACK_INTERVALS * resolution_seconds / sample_interval_seconds)
    return whole + border_records(sample_interval_seconds)


def fresh_start(seen: Iterable[Observation], resolution_ns: int) -> int | None:
    """Return the last record before the newest complete interval, or ``None`` if no border is certain.

    Whoever goes on behind it makes the same intervals as one who has read the spool from its beginning.
    """
    borders = _borders(seen, resolution_ns)
    return borders[-2] if len(borders) > 1 else next(iter(borders), None)


def _borders(seen: Iterable[Observation], resolution_ns: int) -> list[int]:
    borders: list[int] = []
    bucket: int | None = None
    for before, each in pairwise(seen):
        own = each.wall_ns // resolution_ns
        if bucket is not None:
            following = following_bucket(bucket, own)
            if following != bucket:
                borders.append(before.seq)
            bucket = following
        elif own > before.wall_ns // resolution_ns:
            bucket = own
    return borders
