"""The reading end of a spool: follows the segments, also the one being written. Needs no writer in the process."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from collectors_dagster.agent.records import (
    CONTROL,
    FLOAT_BYTES,
    MAGIC,
    ClockChange,
    Gap,
    Record,
    SegmentHeader,
    parse_control,
    scan,
    values_of,
)
from collectors_dagster.agent.segments import Segment, list_segments, read_segment
from collectors_dagster.collectors.runner import Column
from collectors_dagster.errors import SpoolError

IDLE_READS = 3
"""Empty reads after which we look for a following segment although the file is still there (a full disk leaves
segments uncompressed)."""

log = structlog.get_logger("spool")


class Observation(NamedTuple):
    """One sweep, read back.

    Attributes
    ----------
    columns : tuple of Column
        The same object for as long as the set of series does not change.
    changes : tuple of ClockChange
        What happened to the clocks since the sweep before.
    """

    seq: int
    wall_ns: int
    mono_ns: int
    boot_id: str
    columns: tuple[Column, ...]
    values: tuple[float, ...]
    changes: tuple[ClockChange, ...] = ()


class SpoolReader:
    """Reads observations in order.

    Parameters
    ----------
    directory : Path
        ``<spool>/<epoch>``.
    from_seq : int
        First number wanted; what the spool dropped before it was read is skipped.
    """

    def __init__(self, directory: Path, from_seq: int) -> None:
        self._directory = directory
        self._from_seq = from_seq
        self._current: _SegmentReader | None = None
        self._schemas: dict[bytes, tuple[Column, ...]] = {}
        self.damaged_segments = 0

    def read(self) -> list[Observation]:
        """Return the next observations, at most a segment's worth; nothing if all that is written was read."""
        while True:
            found = self._decoded()
            if found or not self._may_be_complete:
                return found
            following = self._following()
            if not following:
                return []
            found = self._decoded()  # once more: what was written before the following segment was begun
            if found:
                return found
            self._open(following[0], newest=len(following) == 1)

    def close(self) -> None:
        """Close the file being followed."""
        if self._current is not None:
            self._current.close()
            self._current = None

    @property
    def _may_be_complete(self) -> bool:
        return self._current is None or self._current.may_be_complete

    def _following(self) -> list[Segment]:
        """Return the segments still to be read, in order."""
        segments = list_segments(self._directory) if self._directory.is_dir() else []
        if self._current is not None:
            return [segment for segment in segments if segment.first_seq > self._current.first_seq]
        before = [segment for segment in segments if segment.first_seq <= self._from_seq]
        return segments[max(0, len(before) - 1) :]

    def _open(self, segment: Segment, *, newest: bool) -> None:
        if self._current is not None and self._current.damaged:
            self.damaged_segments += 1
            log.warning("a segment is damaged; the rest of it is skipped", first_seq=self._current.first_seq)
        self.close()
        with suppress(FileNotFoundError):  # compressed or dropped in this moment: listed anew at once
            self._current = _SegmentReader(segment, self._schemas, newest=newest)

    def _decoded(self) -> list[Observation]:
        if self._current is None:
            return []
        found = [seen for seen in self._current.read() if seen.seq >= self._from_seq]
        if found:
            self._from_seq = found[-1].seq + 1
        return found


class _SegmentReader:
    """One segment, decoded as far as it is written."""

    def __init__(self, segment: Segment, known: dict[bytes, tuple[Column, ...]], *, newest: bool) -> None:
        self.first_seq = segment.first_seq
        self.damaged = False
        self._known = known
        self._newest = newest
        self._idle = 0
        self._schemas: dict[int, tuple[Column, ...]] = {}
        self._boot_id = ""
        self._changes: tuple[ClockChange, ...] = ()
        self._offset = len(MAGIC)
        self._fd: int | None = None
        self._rest: bytes | None = None
        if segment.compressed:
            content = read_segment(segment)
            self._rest, self.damaged = content.data[len(MAGIC) :], not content.whole
        else:
            self._fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def may_be_complete(self) -> bool:
        """Whether a following segment may exist: the writer unlinks a file when it has compressed it."""
        if self._fd is None or self.damaged or not self._newest:
            return True
        return self._idle >= IDLE_READS or not os.fstat(self._fd).st_nlink

    def read(self) -> list[Observation]:
        """Return what was written since the last call."""
        data = self._new_bytes()
        self._idle = 0 if data else self._idle + 1
        content = scan(data)
        self.damaged = self.damaged or content.damaged
        self._offset += content.end
        return [seen for seen in map(self._observation, content.records) if seen is not None]

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _new_bytes(self) -> bytes:
        if self._fd is None:
            data, self._rest = self._rest or b"", None
            return data
        return os.pread(self._fd, max(0, os.fstat(self._fd).st_size - self._offset), self._offset)

    def _observation(self, record: Record) -> Observation | None:
        if record.schema == CONTROL:
            self._learn(record.payload)
            return None
        columns = self._schemas.get(record.schema)
        if columns is None or len(columns) * FLOAT_BYTES != len(record.payload):
            self.damaged = True
            return None
        seq, wall_ns, mono_ns, _, payload = record
        changes, self._changes = self._changes, ()
        return Observation(seq, wall_ns, mono_ns, self._boot_id, columns, values_of(payload), changes)

    def _learn(self, payload: bytes) -> None:
        try:
            told = parse_control(payload)
        except SpoolError as error:
            log.warning("a control record is skipped", error=str(error))
            return
        if isinstance(told, SegmentHeader):
            self._boot_id = told.boot_id
        elif isinstance(told, ClockChange):
            self._changes += (told,)
        elif not isinstance(told, Gap):
            self._schemas[told[0]] = self._known.setdefault(payload, told[1])
