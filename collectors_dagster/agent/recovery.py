"""After a crash: torn tails cut, half-done files removed, the sequence continued."""

import os
from pathlib import Path
from typing import NamedTuple

import structlog

from collectors_dagster.agent.records import CONTROL, MAGIC, Scan, scan
from collectors_dagster.agent.segments import OPEN_SUFFIX, Segment, compress_segment, list_segments, read_segment

log = structlog.get_logger("spool")

UNCLEAN_JUMP = 10_000
"""Sequence numbers skipped after an unclean end: a power cut may have taken records that were delivered already, and
their numbers must not be used again (far more than any sync interval holds)."""


class ClosedSegment(NamedTuple):
    """A segment that is not written any more."""

    segment: Segment
    last_seq: int
    size: int


class Recovered(NamedTuple):
    """What earlier runs left.

    Attributes
    ----------
    next_seq : int
        First sequence number that was never used.
    """

    closed: list[ClosedSegment]
    next_seq: int


def recover(directory: Path) -> Recovered:
    """Bring a spool's directory into order and return what it holds, oldest first."""
    for leftover in directory.glob("*.tmp"):
        leftover.unlink()
    _remove_doubles(directory)
    found = list_segments(directory)
    unclean = any(not segment.compressed for segment in found)
    kept = [segment for segment in map(_closed, found) if segment is not None]
    if not kept:
        return Recovered([], 1 + UNCLEAN_JUMP * unclean)
    last_seq = _last_seq(kept[-1])
    ends = [segment.first_seq - 1 for segment in kept[1:]] + [last_seq]
    closed = [described(segment, end) for segment, end in zip(kept, ends, strict=True)]
    return Recovered([segment for segment in closed if segment], last_seq + 1 + UNCLEAN_JUMP * unclean)


def _remove_doubles(directory: Path) -> None:
    """Remove plain forms whose compressed form is there: a crash between the two steps leaves both."""
    for segment in list_segments(directory):
        if segment.compressed:
            segment.path.with_suffix(OPEN_SUFFIX).unlink(missing_ok=True)


def _closed(segment: Segment) -> Segment | None:
    """Close what was being written when the process died; a segment without samples is removed."""
    if segment.compressed:
        return segment
    content = _cut(segment)
    if all(record.schema == CONTROL for record in content.records):
        segment.path.unlink()
        return None
    try:
        return Segment(segment.first_seq, compress_segment(segment.path))
    except OSError as error:  # no room for the compressed form: it is readable as it is
        log.warning("a segment stays uncompressed", segment=segment.path.name, error=error.strerror)
        return segment


def _cut(segment: Segment) -> Scan:
    data = read_segment(segment).data
    content = scan(data, len(MAGIC)) if data.startswith(MAGIC) else Scan([], 0, damaged=True)
    if content.end < len(data):
        log.info("torn tail cut", segment=segment.path.name, bytes=len(data) - content.end)
        os.truncate(segment.path, content.end)
    return content


def _last_seq(segment: Segment) -> int:
    """Return the last number used; of a newest segment that is unreadable, one that was certainly not."""
    numbers = [
        record.seq for record in scan(read_segment(segment).data, len(MAGIC)).records if record.schema != CONTROL
    ]
    return max(numbers, default=segment.first_seq + UNCLEAN_JUMP)


def described(segment: Segment, last_seq: int) -> ClosedSegment | None:
    """Return what to remember of a segment; ``None`` if its file is not there."""
    try:
        return ClosedSegment(segment, last_seq, segment.path.stat().st_size)
    except FileNotFoundError:
        return None
