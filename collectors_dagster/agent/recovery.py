"""After a crash: torn tails cut, half-done files removed, the sequence continued."""

import os
from pathlib import Path
from typing import NamedTuple

from collectors_dagster.agent.quota import Holding
from collectors_dagster.agent.records import MAGIC, scan
from collectors_dagster.agent.segments import OPEN_SUFFIX, Segment, is_sound, list_segments, summary_of
from collectors_dagster.logs import get_logger

log = get_logger("spool")

UNCLEAN_JUMP = 10_000
"""Sequence numbers skipped after an unclean end: a power cut may have taken records that were delivered already, and
their numbers must not be used again (far more than any sync interval holds)."""


class Recovered(NamedTuple):
    """What earlier runs left.

    Attributes
    ----------
    holdings : list of Holding
        Oldest first; those that were being written are still to be packed.
    next_seq : int
        First sequence number that was never used.
    damaged : int
        Packed segments with wrong checksums; damage in the others is found when they are packed.
    """

    holdings: list[Holding]
    next_seq: int
    damaged: int


def recover(directory: Path) -> Recovered:
    """Bring a spool's directory into order and return what it holds."""
    for leftover in directory.glob("*.tmp"):
        leftover.unlink()
    _remove_doubles(directory)
    found = list_segments(directory)
    unclean = any(not segment.compressed for segment in found)
    for segment in found:
        if not segment.compressed:
            _cut(segment)
    holdings, damaged = [], sum(not is_sound(segment) for segment in found if segment.compressed)
    for segment in found:
        holding = described(segment)
        if holding is not None:
            holdings.append(holding)
        elif not segment.compressed:  # a packed one is kept: another version or a person may make something of it
            segment.path.unlink()
    return Recovered(holdings, _next_seq(found, holdings) + UNCLEAN_JUMP * unclean, damaged)


def described(segment: Segment) -> Holding | None:
    """Return what to remember of a segment; ``None`` if its file cannot be read now, or holds no sample."""
    try:
        summary = summary_of(segment)
        size = segment.path.stat().st_size
    except OSError:  # not there, or the disk fails: it is found again at the next start
        return None
    return None if summary is None else Holding(segment.first_seq, segment.compressed, summary, size)


def _remove_doubles(directory: Path) -> None:
    """Remove plain forms whose packed form is there: a crash between the two steps leaves both."""
    for segment in list_segments(directory):
        if segment.compressed:
            segment.path.with_suffix(OPEN_SUFFIX).unlink(missing_ok=True)


def _cut(segment: Segment) -> None:
    """Cut what was in flight off a segment that was being written."""
    data = segment.path.read_bytes()
    content = scan(data, len(MAGIC))
    if content.end < len(data):
        log.info("torn tail cut", segment=segment.path.name, bytes=len(data) - content.end)
        os.truncate(segment.path, content.end)


def _next_seq(found: list[Segment], holdings: list[Holding]) -> int:
    """Return a number behind all that were used; behind a newest segment that is unreadable, far behind."""
    if not found:
        return 1
    known = max((holding.summary.last_seq + 1 for holding in holdings), default=1)
    newest = found[-1]
    if newest.compressed and (not holdings or holdings[-1].first_seq != newest.first_seq):
        known = max(known, newest.first_seq + UNCLEAN_JUMP + 1)
    return known
