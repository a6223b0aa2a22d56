"""Where fresh samples begin: a border between two intervals near the end of the spool, found without what is before.

Pure. Intervals follow the wall clock record by record, so what is an interval's last record depends on the records
before it, but only until the clock has moved on into another interval: from there on every history agrees.

What lies on both sides of such a border may be thinned later on, so a border is also one between two of the longest
stretches that one thinned record stands for: else a record would stand for sweeps of two lanes, and belong to none.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

from collectors_dagster.agent.intervals import border_records, following_bucket
from collectors_dagster.agent.reader import Observation
from collectors_dagster.agent.thinning import LEVELS
from collectors_dagster.agent.timing import NANOSECONDS

LOOK_BACK_INTERVALS = 4
"""One to agree with every history, one that is complete and goes first, the open one, and one for a slow start."""
STRETCH_NS = LEVELS[-1] * NANOSECONDS
FARTHEST_SECONDS = 600.0
"""An interval whose borders meet those of the stretches less often has a fresh lane only by chance: it is caught up in
order."""


def look_back_records(resolution_seconds: float, sample_interval_seconds: float) -> int:
    """Return how many of the newest records are sure to hold a border that :func:`fresh_start` finds.

    Examples
    --------
    >>> look_back_records(10.0, 1.0)
    126
    """
    common_seconds = math.lcm(round(resolution_seconds * NANOSECONDS), STRETCH_NS) / NANOSECONDS
    seconds = LOOK_BACK_INTERVALS * resolution_seconds + min(common_seconds, FARTHEST_SECONDS)
    whole = math.ceil(seconds / sample_interval_seconds)
    return whole + border_records(sample_interval_seconds)


def fresh_start(seen: Iterable[Observation], resolution_ns: int) -> int | None:
    """Return a record near the end with at least one complete interval behind it, or ``None`` if no border is certain.

    Whoever goes on behind it makes the same intervals as one who has read the spool from its beginning, and however
    much is thinned, no record stands for sweeps on both sides of it.
    """
    borders = list(_borders(seen, resolution_ns))
    settled = borders[:-1] or borders  # the newest interval may have only just begun: one that is complete goes first
    return next((seq for seq, between_stretches in reversed(settled) if between_stretches), None)


def _borders(seen: Iterable[Observation], resolution_ns: int) -> Iterator[tuple[int, bool]]:
    """Yield the last record of each interval, and whether it is also the last of a stretch."""
    bucket: int | None = None
    for before, each in pairwise(seen):
        own = each.wall_ns // resolution_ns
        if bucket is not None:
            following = following_bucket(bucket, own)
            if following != bucket:
                yield before.seq, before.wall_ns // STRETCH_NS != each.wall_ns // STRETCH_NS
            bucket = following
        elif own > before.wall_ns // resolution_ns:
            bucket = own
