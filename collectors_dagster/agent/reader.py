"""The reading end of a spool: follows the segments, also the one being written. Needs no writer in the process."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collectors_dagster.agent.protection import opened
from collectors_dagster.agent.records import (
    CONTROL,
    MAGIC,
    ClockChange,
    Record,
    Schema,
    SegmentHeader,
    parse_control,
    scan,
)
from collectors_dagster.agent.rows import companions, row_of
from collectors_dagster.agent.segments import Segment, list_segments, missing_key, read_records
from collectors_dagster.collectors.runner import Column
from collectors_dagster.config.files import PLAIN, read_at
from collectors_dagster.errors import SpoolError
from collectors_dagster.logs import get_logger
from collectors_dagster.security.sealing import Sealer, UnknownKeyError

IDLE_READS = 3
"""Empty reads after which we look for a following segment although the file is still there (a full disk leaves
segments uncompressed)."""

MOST_SCHEMAS = 16
"""Sets of columns that are remembered beyond their segment, so that the same set is the same object."""

log = get_logger("spool")


class Observation(NamedTuple):
    """One sweep, or several that were thinned to one, read back.

    Attributes
    ----------
    columns : tuple of Column
        The same object for as long as the set of series does not change. Thinned ones have the maxima behind them.
    sweeps : int
        How many looks at the host this stands for.
    span_ns : int
        Time from the first of them to the last, which is this observation's instant.
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
    sweeps: int = 1
    span_ns: int = 0


class _Meaning(NamedTuple):
    """A schema, and the columns that its observations show."""

    schema: Schema
    columns: tuple[Column, ...]


class SpoolReader:
    """Reads observations in order.

    Parameters
    ----------
    directory : Path
        ``<spool>/<epoch>``.
    from_seq : int
        First number wanted; what the spool dropped before it was read is skipped.
    sealer : Sealer, optional
        Opens what is encrypted.
    """

    def __init__(self, directory: Path, from_seq: int, sealer: Sealer | None = None) -> None:
        self._directory = directory
        self._sealer = sealer
        self._from_seq = from_seq
        self._current: _SegmentReader | None = None
        self._schemas: dict[bytes, _Meaning] = {}
        self.damaged_segments = 0

    def read(self) -> list[Observation]:
        """Return the next observations, at most a segment's worth; nothing if all that is written was read.

        Raises
        ------
        SpoolError
            If the next segment is encrypted with a key that is not given; asked again, it is tried again.
        """
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
            log.warning("a segment is damaged; what cannot be read is skipped", first_seq=self._current.first_seq)
        self.close()
        with suppress(FileNotFoundError):  # compressed or dropped in this moment: listed anew at once
            self._current = _SegmentReader(segment, self._schemas, self._sealer, newest=newest)

    def _decoded(self) -> list[Observation]:
        if self._current is None:
            return []
        found = [seen for seen in self._current.read() if seen.seq >= self._from_seq]
        if found:
            self._from_seq = found[-1].seq + 1
        return found


def read_segment(segment: Segment, sealer: Sealer | None = None) -> list[Observation]:
    """Return everything in one segment, whether it is still being written or not.

    Raises
    ------
    FileNotFoundError
        If it is not there any more.
    SpoolError
        If it is encrypted with a key that is not given.
    """
    reader = _SegmentReader(segment, {}, sealer, newest=False)
    try:
        return reader.read()
    finally:
        reader.close()


class _SegmentReader:
    """One segment, decoded as far as it is written."""

    def __init__(self, segment: Segment, known: dict[bytes, _Meaning], sealer: Sealer | None, *, newest: bool) -> None:
        self.first_seq = segment.first_seq
        self.damaged = False
        self._segment = segment
        self._known = known
        self._sealer = sealer
        self._newest = newest
        self._idle = 0
        self._meanings: dict[int, _Meaning] = {}
        self._boot_id = ""
        self._changes: tuple[ClockChange, ...] = ()
        self._offset = len(MAGIC)
        self._fd: int | None = None
        self._rest: list[Record] = []
        if segment.compressed:
            content = read_records(segment, sealer)
            self._rest, self.damaged = content.records, content.damaged > 0
        else:
            self._fd = os.open(segment.path, os.O_RDONLY | PLAIN)

    @property
    def may_be_complete(self) -> bool:
        """Whether a following segment may exist: the writer unlinks a file when it has packed it."""
        if self._fd is None or self.damaged or not self._newest:
            return True
        return self._idle >= IDLE_READS or not os.fstat(self._fd).st_nlink

    def read(self) -> list[Observation]:
        """Return what was written since the last call."""
        records = self._new_records()
        return [seen for seen in map(self._observation, records) if seen is not None]

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _new_records(self) -> list[Record]:
        if self._fd is None:
            records, self._rest = self._rest, []
            return records
        data = read_at(self._fd, max(0, os.fstat(self._fd).st_size - self._offset), self._offset)
        self._idle = 0 if data else self._idle + 1
        content = scan(data)
        try:
            plain = opened(content.records, self._sealer)
        except UnknownKeyError as error:
            raise SpoolError(missing_key(self._segment, error)) from error
        self.damaged = self.damaged or content.damaged or content.skipped + plain.damaged > 0
        self._offset += content.end
        return plain.records

    def _observation(self, record: Record) -> Observation | None:
        if record.schema == CONTROL:
            self._learn(record.payload)
            return None
        meaning = self._meanings.get(record.schema)
        try:
            row = row_of(record, meaning.schema) if meaning else None
        except SpoolError:
            row = None
        if meaning is None or row is None:
            self.damaged = True
            return None
        values = (*row.values, *row.peaks) if meaning.schema.thinned else tuple(row.values)
        seq, wall_ns, mono_ns, _, _ = record
        changes, self._changes = self._changes, ()
        return Observation(
            seq,
            wall_ns,
            mono_ns,
            self._boot_id,
            meaning.columns,
            values,
            changes,
            sweeps=row.sweeps,
            span_ns=row.span_ns,
        )

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
        elif isinstance(told, Schema):
            columns = (*told.columns, *companions(told.columns)) if told.thinned else told.columns
            meaning = self._known.pop(payload, None) or _Meaning(told, columns)
            self._known[payload] = self._meanings[told.number] = meaning  # the newest last
            while len(self._known) > MOST_SCHEMAS:
                del self._known[next(iter(self._known))]
