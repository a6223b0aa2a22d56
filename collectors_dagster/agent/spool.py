"""The durable spool: what the sampler has seen, appended to segments on disk.

Guarantees: a record whose :meth:`Spool.append` returned survives the death of the process; a power cut takes at most
the last ``fsync_interval_seconds``. The spool is bounded in bytes and hours, and what it gives up it tells of: in its
statistics, in the log, and by a gap record in the spool itself.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from collectors_dagster.agent.records import (
    CONTROL,
    MAGIC,
    ClockChange,
    Gap,
    Record,
    SegmentHeader,
    clock_payload,
    frame,
    gap_payload,
    header_payload,
    scan,
    schema_payload,
)
from collectors_dagster.agent.recovery import ClosedSegment, described, recover
from collectors_dagster.agent.segments import Segment, compress_segment, open_path, read_segment, sync_directory
from collectors_dagster.clock import Clock
from collectors_dagster.collectors.runner import Column, Sweep

log = structlog.get_logger("spool")

SEGMENT_SECONDS = 60.0
SEGMENT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much the spool holds, and how much a power cut may take.

    Attributes
    ----------
    hours : float
        Delivered records older than this are dropped.
    max_bytes : int
        Beyond this the oldest are dropped, delivered or not.
    """

    max_bytes: int
    hours: float
    fsync_interval_seconds: float


@dataclass(slots=True)
class SpoolStatistics:
    """What the spool holds and what it had to give up."""

    segments: int = 0
    bytes: int = 0
    appended_records: int = 0
    lost_records: int = 0
    dropped_segments: int = 0
    dropped_undelivered_segments: int = 0
    last_error: str | None = None


class Spool:
    """The writing end. One per directory (see ``lock``); used by the sampling thread.

    Parameters
    ----------
    directory : Path
        ``<spool>/<epoch>``; created by the caller.
    header : SegmentHeader
        Written into each segment.

    Notes
    -----
    Whoever made it closes it.
    """

    def __init__(self, directory: Path, header: SegmentHeader, limits: SpoolLimits, clock: Clock) -> None:
        self.statistics = SpoolStatistics()
        self._directory = directory
        self._header = header
        self._limits = limits
        self._clock = clock
        self._released = 0
        self._open: _OpenSegment | None = None
        self._gap: Gap | None = None
        self._changes: tuple[ClockChange, ...] = ()
        found = recover(directory)
        self._closed = found.closed
        self._next_seq = found.next_seq
        self._count()

    @property
    def next_seq(self) -> int:
        """The number that the next record will carry."""
        return self._next_seq

    def append(self, sweep: Sweep, wall_ns: int, mono_ns: int, changes: Iterable[ClockChange] = ()) -> int | None:
        """Write one sweep; return its sequence number, or ``None`` if it was lost (the disk is full or failing).

        Parameters
        ----------
        changes : iterable of ClockChange
            What happened to the clocks since the sweep before; told with the next record that can be written.
        """
        self._changes += tuple(changes)
        self._rotate_if_due()
        record = Record(self._next_seq, wall_ns, mono_ns, 0, sweep.values.tobytes())
        if self._write(record, sweep.columns) or (self._make_room() and self._write(record, sweep.columns)):
            self._next_seq += 1
            self.statistics.appended_records += 1
            return record.seq
        self._lose(wall_ns)
        return None

    def release(self, seq: int) -> None:
        """Say that everything up to `seq` is delivered: it may be dropped when its time is over."""
        self._released = seq

    def close(self) -> None:
        """Close the segment being written, durably."""
        self._rotate()

    def _write(self, record: Record, columns: tuple[Column, ...]) -> bool:
        try:
            if self._open is None:
                self._open = _OpenSegment(self._directory, record.seq, self._clock)
                sync_directory(self._directory)
            self._open.append(record, columns, self._header, self._told())
        except OSError as error:
            self.statistics.last_error = f"{self._directory}: {error.strerror}"
            return False
        self._gap, self._changes = None, ()
        self._sync(self._open)
        return True

    def _told(self) -> list[bytes]:
        """Return what is to be said before the next record, beside what it needs itself."""
        return [*([gap_payload(self._gap)] if self._gap else []), *map(clock_payload, self._changes)]

    def _sync(self, opened: "_OpenSegment") -> None:
        try:
            opened.sync_if_due(self._limits.fsync_interval_seconds)
        except OSError as error:  # the record is written; a power cut may take it
            self.statistics.last_error = f"{self._directory}: not synchronised: {error.strerror}"

    def _lose(self, wall_ns: int) -> None:
        if self._gap is None:
            log.error("the spool cannot be written; samples are lost", error=self.statistics.last_error)
            self._gap = Gap(wall_ns, wall_ns, 0, str(self.statistics.last_error))
        self._gap = self._gap._replace(to_ns=wall_ns, records=self._gap.records + 1)
        self.statistics.lost_records += 1

    def _rotate_if_due(self) -> None:
        if self._open is not None and self._open.due:
            self._rotate()
            self._expire()

    def _rotate(self) -> None:
        opened, self._open = self._open, None
        if opened is None:
            return
        closed = opened.close(self._next_seq - 1)
        if closed is not None:
            self._closed.append(closed)
        self._count()

    def _expire(self) -> None:
        """Drop what is too old or too much, but never the newest segment: it holds the sequence."""
        while len(self._closed) > 1:
            if self.statistics.bytes > self._limits.max_bytes:
                self._drop_oldest("quota")
            elif self._is_old(self._closed[0]):
                self._drop_oldest("age")
            else:
                break

    def _is_old(self, closed: ClosedSegment) -> bool:
        """Tell whether a segment is delivered and past its hours."""
        if closed.last_seq > self._released:
            return False
        oldest_kept_ns = (self._clock.now().timestamp() - self._limits.hours * 3600) * 1e9
        return _content(closed.segment).to_ns < oldest_kept_ns

    def _make_room(self) -> bool:
        if len(self._closed) < 2:
            return False
        self._drop_oldest("no space left")
        return True

    def _drop_oldest(self, reason: str) -> None:
        oldest = self._closed.pop(0)
        if oldest.last_seq > self._released:
            self._give_up(_content(oldest.segment)._replace(reason=reason))
        oldest.segment.path.unlink(missing_ok=True)
        self.statistics.dropped_segments += 1
        self._count()

    def _give_up(self, dropped: Gap) -> None:
        self.statistics.dropped_undelivered_segments += 1
        log.warning("undelivered samples dropped", reason=dropped.reason, records=dropped.records)
        known = self._gap or dropped._replace(records=0)
        self._gap = known._replace(to_ns=dropped.to_ns, records=known.records + dropped.records)

    def _count(self) -> None:
        """Count what is closed; the segment being written adds at most `SEGMENT_BYTES` and a record."""
        self.statistics.segments = len(self._closed)
        self.statistics.bytes = sum(closed.size for closed in self._closed)


def _content(segment: Segment) -> Gap:
    """Say what would be missing without a segment."""
    samples = [record for record in scan(read_segment(segment).data, len(MAGIC)).records if record.schema != CONTROL]
    if not samples:
        return Gap(0, 0, 0, "")
    return Gap(samples[0].wall_ns, samples[-1].wall_ns, len(samples), "")


class _OpenSegment:
    """The file being written."""

    def __init__(self, directory: Path, first_seq: int, clock: Clock) -> None:
        self.segment = Segment(first_seq, open_path(directory, first_seq))
        self._clock = clock
        directory.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC  # append: also after a truncation
        self._fd = os.open(self.segment.path, flags, 0o640)
        self._size = 0
        self._schemas: dict[tuple[Column, ...], int] = {}
        self._columns: tuple[Column, ...] = ()
        self._schema = CONTROL
        self._opened_at = self._synced_at = clock.monotonic()

    @property
    def due(self) -> bool:
        return self._size >= SEGMENT_BYTES or self._clock.monotonic() - self._opened_at >= SEGMENT_SECONDS

    def append(self, record: Record, columns: tuple[Column, ...], header: SegmentHeader, told: Iterable[bytes]) -> None:
        """Write a record and the control records it needs, in one call; on failure nothing of it remains."""
        known = columns is self._columns
        schema = self._schema if known else self._schemas.get(columns, len(self._schemas) + 1)
        frames = [MAGIC, _control(record, header_payload(header))] if not self._size else []
        frames += [_control(record, payload) for payload in told]
        frames += [] if schema in self._schemas.values() else [_control(record, schema_payload(schema, columns))]
        self._put(b"".join((*frames, frame(record._replace(schema=schema)))))
        if not known:
            self._schemas[columns] = schema
            self._columns, self._schema = columns, schema

    def sync_if_due(self, interval_seconds: float) -> None:
        if self._clock.monotonic() - self._synced_at >= interval_seconds:
            _sync_data(self._fd)
            self._synced_at = self._clock.monotonic()

    def close(self, last_seq: int) -> ClosedSegment | None:
        """Make it durable and compress it; an empty one is removed."""
        path = self.segment.path
        try:
            if self._size:
                _sync_data(self._fd)
                path = compress_segment(path)
            else:
                path.unlink()
        except OSError as error:
            log.warning("a segment stays uncompressed", segment=path.name, error=error.strerror)
        finally:
            os.close(self._fd)
        return described(Segment(self.segment.first_seq, path), last_seq)

    def _put(self, data: bytes) -> None:
        try:
            written = os.write(self._fd, data)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        if written < len(data):  # what a full disk does: no error, a short write
            os.ftruncate(self._fd, self._size)
            raise OSError(28, "no space left on device (short write)")
        self._size += written


def _control(record: Record, payload: bytes) -> bytes:
    return frame(record._replace(schema=CONTROL, payload=payload))


def _sync_data(descriptor: int) -> None:
    sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
    sync(descriptor)
