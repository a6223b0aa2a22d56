"""The durable spool: what the sampler has seen, appended to segments on disk.

Guarantees: a record whose :meth:`Spool.append` returned survives the death of the process; a power cut takes at most
the last ``fsync_interval_seconds``. The spool is bounded in bytes and hours, and what it gives up it tells of: in its
statistics, in the log, and by a gap record in the spool itself.
"""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from collectors_dagster.agent.continuity import PAUSE_FACTOR, Before, last_sweep
from collectors_dagster.agent.form import Form
from collectors_dagster.agent.given_up import GivenUp, Stretch
from collectors_dagster.agent.packed import Summary
from collectors_dagster.agent.protection import Guard
from collectors_dagster.agent.quota import Action, Drop, Holding, Quotas, Thin, less, next_action, recorder
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
    gaps_in,
    header_payload,
    schema_payload,
)
from collectors_dagster.agent.recovery import described, recover
from collectors_dagster.agent.reserve import cursor_reserve, room_reserve
from collectors_dagster.agent.segments import (
    CLOSED_SUFFIX,
    OPEN_SUFFIX,
    Segment,
    open_path,
    pack_segment,
    read_records,
    sync_directory,
    write_packed,
)
from collectors_dagster.agent.thinning import thinned, thinned_summary
from collectors_dagster.clock import Clock
from collectors_dagster.collectors.runner import Column, Sweep
from collectors_dagster.config.files import PLAIN
from collectors_dagster.errors import SpoolError
from collectors_dagster.logs import get_logger

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Only these are mended by giving older segments up; a disk that fails otherwise keeps what it has."""

log = get_logger("spool")

SEGMENT_SECONDS = 60.0
SEGMENT_BYTES = 1024 * 1024
RETRY_SECONDS = 60.0
ROOM_TRIES = 3
"""Segments that may give way to one record on a full disk."""


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much the spool holds, and how much a power cut may take.

    Attributes
    ----------
    sample_interval_seconds : float
        Pause between two records; longer ones are gaps.
    """

    quotas: Quotas
    fsync_interval_seconds: float
    sample_interval_seconds: float = 1.0


@dataclass(slots=True)
class SpoolStatistics:
    """What the spool holds and what it had to give up.

    Attributes
    ----------
    segments, bytes : int
        Closed segments; the one being written adds at most `SEGMENT_BYTES` and a record.
    undelivered_segments, undelivered_bytes : int
        Those of them that are not delivered to every tenant.
    oldest_ns, recorder_from_ns : int or None
        Wall clock of the oldest record, and of the oldest from which on every sweep is there.
    recorder_segments, recorder_bytes : int
        Segments that hold every sweep.
    lost_records : int
        Sweeps that could not be written.
    dropped_records : int
        Records given up before they were delivered.
    damaged_segments : int
        Segments of which something could not be read: at the start, and when they were packed or thinned.
    upkeep_seconds, longest_upkeep_seconds : float
        Duration of the latest step between two sweeps (packing, thinning, dropping), and of the longest.
    """

    segments: int = 0
    bytes: int = 0
    undelivered_segments: int = 0
    undelivered_bytes: int = 0
    oldest_ns: int | None = None
    recorder_from_ns: int | None = None
    recorder_segments: int = 0
    recorder_bytes: int = 0
    appended_records: int = 0
    lost_records: int = 0
    thinned_segments: int = 0
    dropped_segments: int = 0
    dropped_undelivered_segments: int = 0
    dropped_records: int = 0
    damaged_segments: int = 0
    upkeep_seconds: float = 0.0
    longest_upkeep_seconds: float = 0.0
    last_error: str | None = None


class Spool:
    """The writing end. One per directory (see ``lock``); used by the sampling thread.

    Parameters
    ----------
    directory : Path
        ``<spool>/<epoch>``; created by the caller.
    header : SegmentHeader
        Written into each segment.
    form : Form, optional
        Of what is written from now on; plain, and compressed with what saves most, if it is not given.

    Notes
    -----
    Whoever made it closes it.
    """

    def __init__(
        self, directory: Path, header: SegmentHeader, limits: SpoolLimits, clock: Clock, form: Form | None = None
    ) -> None:
        self.statistics = SpoolStatistics()
        self._directory = directory
        self._header = header
        self._limits = limits
        self._clock = clock
        self._form = form or Form()
        self._released = 0
        self._open: _OpenSegment | None = None
        self._reserve = cursor_reserve(directory)
        self._given_up = GivenUp(directory, round(PAUSE_FACTOR * limits.sample_interval_seconds * 1e9))
        self._room = room_reserve(directory)
        self._reserve_due = clock.monotonic()
        self._gap = self._reserve.noted()
        self._changes: tuple[ClockChange, ...] = ()
        self._is_full = False
        found = recover(directory)
        self._holdings = found.holdings
        self._pack_due = clock.monotonic()
        self._unpacked = [one.first_seq for one in found.holdings if not one.packed]
        self._next_seq = found.next_seq
        self._unsettled = True
        self.statistics.damaged_segments = found.damaged
        self._hold_reserves()
        self._count()

    @property
    def next_seq(self) -> int:
        """The number that the next record will carry."""
        return self._next_seq

    @property
    def form(self) -> Form:
        """How it is written."""
        return self._form

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
        if self._write(record, sweep.columns) or (self._is_full and self._write_with_room(record, sweep.columns)):
            self._next_seq += 1
            self.statistics.appended_records += 1
            return record.seq
        self._lose(wall_ns)
        return None

    def release(self, seq: int) -> None:
        """Say that everything up to `seq` is delivered: it may be dropped when its time is over."""
        self._released = seq

    def tend(self) -> None:
        """Do one step of upkeep, between two sweeps: pack a closed segment, thin or drop one, or fill the reserve."""
        started = self._clock.monotonic()
        if not self._step():
            return
        self._count()
        self.statistics.upkeep_seconds = self._clock.monotonic() - started
        self.statistics.longest_upkeep_seconds = max(
            self.statistics.longest_upkeep_seconds, self.statistics.upkeep_seconds
        )

    def close(self) -> None:
        """Close the segment being written, durably, and pack what is closed."""
        self._rotate()
        for _ in range(len(self._unpacked)):  # once each: what cannot be packed is put back
            self._pack(self._unpacked.pop(0))
        self._count()

    def _step(self) -> bool:
        if self._unpacked and self._clock.monotonic() >= self._pack_due:
            self._pack(self._unpacked.pop(0))
            return True
        if self._unsettled:
            action = next_action(self._holdings, self._released, self._now_ns(), self._limits.quotas)
            self._unsettled = action is not None
            if action is not None:
                self._do(action)
                return True
            self._count()
        if self._clock.monotonic() < self._reserve_due or (self._reserve.is_whole() and self._room.is_whole()):
            return False
        return self._hold_reserves()

    def _hold_reserves(self) -> bool:
        self._reserve_due = self._clock.monotonic() + RETRY_SECONDS
        return self._reserve.hold() and self._room.hold()

    def _now_ns(self) -> int:
        return round(self._clock.now().timestamp() * 1e9)

    def _write(self, record: Record, columns: tuple[Column, ...]) -> bool:
        try:
            if self._open is None:
                self._open = _OpenSegment(self._directory, record.seq, self._clock, self._form)
                sync_directory(self._directory)
            self._open.append(record, columns, self._header, self._told())
        except OSError as error:
            self.statistics.last_error = f"{self._directory}: {error.strerror}"
            self._is_full = error.errno in NO_ROOM
            return False
        if self._gap is not None:
            self._gap = None
            self._reserve.clear()
        self._changes = ()
        self._sync(self._open)
        return True

    def _told(self) -> list[bytes]:
        """Return what is to be said before the next record, beside what it needs itself."""
        if self._gap is None and not self._changes:
            return []
        return [*([gap_payload(self._gap)] if self._gap else []), *map(clock_payload, self._changes)]

    def _write_with_room(self, record: Record, columns: tuple[Column, ...]) -> bool:
        """Write on a disk that was full a moment ago: older segments give way."""
        for _ in range(ROOM_TRIES):
            action = less(self._holdings[:-1], self._released, "no space left")
            if action is None:
                return False
            self._do(action)
            self._count()
            if self._write(record, columns):
                return True
        return False

    def _sync(self, opened: "_OpenSegment") -> None:
        try:
            opened.sync_if_due(self._limits.fsync_interval_seconds)
        except OSError as error:  # the record is written; a power cut may take it
            self.statistics.last_error = f"{self._directory}: not synchronised: {error.strerror}"

    def _lose(self, wall_ns: int) -> None:
        if self._gap is None:
            log.error("the spool cannot be written; samples are lost", error=self.statistics.last_error)
            self._gap = Gap(wall_ns, wall_ns, 0, str(self.statistics.last_error)[:500])
        self._gap = self._gap._replace(to_ns=wall_ns, records=self._gap.records + 1)
        self._reserve.note(self._gap)
        self.statistics.lost_records += 1

    def _rotate_if_due(self) -> None:
        if self._open is not None and self._open.due:
            self._rotate()

    def _rotate(self) -> None:
        opened, self._open = self._open, None
        if opened is None:
            return
        opened.close()
        self._unsettled = True
        holding = opened.holding()
        if holding is not None:
            self._holdings.append(holding)
            self._unpacked.append(holding.first_seq)
        self._count()

    def _pack(self, first_seq: int) -> None:
        """Bring a closed segment into its small form; one that cannot be is readable as it is."""
        position = self._position(first_seq)
        if position is None or self._holdings[position].packed:  # dropped, or thinned, in the meantime
            return
        segment = self._segment(self._holdings[position])
        try:
            content = pack_segment(segment, self._form)
        except FileNotFoundError:
            self._holdings.pop(position)
            return
        except (OSError, SpoolError) as error:
            self._pack_later(segment, error)
            return
        self.statistics.damaged_segments += content.damaged > 0
        packed = described(segment._replace(path=segment.path.with_suffix(CLOSED_SUFFIX)))
        self._holdings[position : position + 1] = [packed] if packed else []

    def _pack_later(self, segment: Segment, error: Exception) -> None:
        self._unpacked.append(segment.first_seq)
        if isinstance(error, OSError) and self._room.give_way():
            return
        self._pack_due = self._clock.monotonic() + RETRY_SECONDS
        log.warning("a segment stays as it was written for now", segment=segment.path.name, error=str(error))

    def _do(self, action: Action) -> None:
        if isinstance(action, Drop):
            self._drop(action)
        elif not self._thin(action):
            oldest = next(one for one in self._holdings if not one.delivered(self._released))
            self._drop(Drop(oldest, "nothing could be thinned"))

    def _thin(self, action: Thin) -> bool:
        """Replace a segment by fewer records; tell whether there is less now."""
        old = action.holding
        segment = self._segment(old)
        try:
            content = read_records(segment, self._form.sealer)
            interval = self._limits.sample_interval_seconds
            records = thinned(content.records, action.level_seconds, interval, self._before(old, interval))
            summary = thinned_summary(old.summary, records, action.level_seconds)
            if summary is None:
                return False
            self._rewrite(segment, records, summary)
        except (OSError, SpoolError) as error:
            log.warning("a segment cannot be thinned", segment=segment.path.name, error=str(error))
            return False
        log.info("undelivered samples thinned", segment=segment.path.name, seconds=action.level_seconds)
        self.statistics.thinned_segments += 1
        self.statistics.damaged_segments += content.damaged > 0
        packed = described(segment._replace(path=segment.path.with_suffix(CLOSED_SUFFIX)))
        position = self._position(old.first_seq)
        if position is not None and packed is not None:
            self._holdings[position] = packed
        return packed is not None

    def _before(self, holding: Holding, interval_seconds: float) -> Before | None:
        """Return the last sweep before a segment, if it is there, and whether the segment goes on where it ends."""
        position = self._position(holding.first_seq)
        if not position:
            return None
        before = self._holdings[position - 1]
        pause_ns = holding.summary.from_ns - before.summary.to_ns
        adjoins = before.summary.last_seq + 1 == holding.summary.first_seq
        adjoins = adjoins and pause_ns <= PAUSE_FACTOR * interval_seconds * 1e9
        try:
            return last_sweep(read_records(self._segment(before), self._form.sealer).records, adjoins=adjoins)
        except (OSError, SpoolError):
            return None

    def _rewrite(self, segment: Segment, records: list[Record], summary: Summary) -> None:
        try:
            write_packed(segment.first_seq, self._directory, records, summary, self._form)
        except OSError:
            if not self._room.give_way():
                raise
            write_packed(segment.first_seq, self._directory, records, summary, self._form)
        if not segment.compressed:
            segment.path.unlink(missing_ok=True)

    def _drop(self, action: Drop) -> None:
        dropped = action.holding
        if not os.access(self._directory, os.W_OK):  # mounted read-only, say: nothing can give way, nothing is lost
            self.statistics.last_error = f"{self._directory}: nothing can be removed there"
            return
        if not dropped.delivered(self._released):
            self._give_up(dropped, action.reason)
        try:
            self._segment(dropped).path.unlink(missing_ok=True)
        except OSError as error:
            self.statistics.last_error = f"{self._directory}: {error.strerror}"
            return
        self._given_up.keep()
        position = self._position(dropped.first_seq)
        if position is not None:
            self._holdings.pop(position)
        self.statistics.dropped_segments += 1

    def _give_up(self, dropped: Holding, reason: str) -> None:
        """Tell of undelivered records, and of the gaps that they told of, before they are removed."""
        summary = dropped.summary
        self.statistics.dropped_undelivered_segments += 1
        self.statistics.dropped_records += summary.records
        log.warning("undelivered samples dropped", reason=reason, records=summary.records)
        lost = [*self._gaps_in(dropped), Gap(summary.from_ns, summary.to_ns, summary.records, reason)]
        lost = [self._gap, *lost] if self._gap is not None else lost
        self._gap = Gap(
            min(gap.from_ns for gap in lost),
            max(gap.to_ns for gap in lost),
            sum(gap.records for gap in lost),
            lost[0].reason,
        )
        self._reserve.note(self._gap)
        self._given_up.add(Stretch(summary.first_seq, summary.last_seq, summary.from_ns, summary.to_ns))

    def _gaps_in(self, holding: Holding) -> list[Gap]:
        try:
            return gaps_in(read_records(self._segment(holding), self._form.sealer).records)
        except (OSError, SpoolError):
            return []

    def _position(self, first_seq: int) -> int | None:
        return next((at for at, one in enumerate(self._holdings) if one.first_seq == first_seq), None)

    def _segment(self, holding: Holding) -> Segment:
        suffix = CLOSED_SUFFIX if holding.packed else OPEN_SUFFIX
        return Segment(holding.first_seq, open_path(self._directory, holding.first_seq).with_suffix(suffix))

    def _count(self) -> None:
        """Count what is closed."""
        counted, holdings = self.statistics, self._holdings
        waiting = [one for one in holdings if not one.delivered(self._released)]
        whole = recorder(holdings)
        counted.segments, counted.bytes = len(holdings), sum(one.size for one in holdings)
        counted.undelivered_segments, counted.undelivered_bytes = len(waiting), sum(one.size for one in waiting)
        counted.recorder_segments, counted.recorder_bytes = len(whole), sum(one.size for one in whole)
        counted.oldest_ns = holdings[0].summary.from_ns if holdings else None
        counted.recorder_from_ns = whole[0].summary.from_ns if whole else None


class _OpenSegment:
    """The file being written."""

    def __init__(self, directory: Path, first_seq: int, clock: Clock, form: Form) -> None:
        self.segment = Segment(first_seq, open_path(directory, first_seq))
        self._clock = clock
        self._form = form
        self._guard = Guard(form)
        directory.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | PLAIN  # append: also after a truncation
        self._fd = os.open(self.segment.path, flags, 0o640)
        self._size = 0
        self._records = self._last_seq = self._from_ns = self._to_ns = 0
        self._schemas: list[tuple[Column, ...]] = []
        self._columns: tuple[Column, ...] = ()
        self._schema = CONTROL
        self._opened_at = self._synced_at = clock.monotonic()

    @property
    def due(self) -> bool:
        return self._size >= SEGMENT_BYTES or self._clock.monotonic() - self._opened_at >= SEGMENT_SECONDS

    def append(self, record: Record, columns: tuple[Column, ...], header: SegmentHeader, told: list[bytes]) -> None:
        """Write a record and the control records it needs, in one call; on failure nothing of it remains."""
        known = columns is self._columns
        if known and not told:  # nearly always
            self._put(self._framed(Record(record.seq, record.wall_ns, record.mono_ns, self._schema, record.payload)))
            self._note(record)
            return
        schema = self._schema if known else self._number(columns)
        controls = [header_payload(header)] if not self._size else []
        controls += told
        is_new = schema > len(self._schemas)
        controls += [schema_payload(schema, columns)] if is_new else []
        records = [*(record._replace(schema=CONTROL, payload=payload) for payload in controls)]
        records.append(record._replace(schema=schema))
        self._put(b"".join((b"" if self._size else MAGIC, *map(self._framed, records))))
        self._note(record)
        if is_new:
            self._form.sensitive.miss(columns)
            self._schemas.append(columns)
        self._columns, self._schema = columns, schema

    def holding(self) -> Holding | None:
        """Return what was written, without reading it again; ``None`` if nothing was."""
        if not self._records:
            return None
        first_seq = self.segment.first_seq
        summary = Summary(first_seq, self._last_seq, self._from_ns, self._to_ns, self._records)
        return Holding(first_seq, packed=False, summary=summary, size=self._size)

    def sync_if_due(self, interval_seconds: float) -> None:
        if self._clock.monotonic() - self._synced_at >= interval_seconds:
            _sync_data(self._fd)
            self._synced_at = self._clock.monotonic()

    def close(self) -> None:
        """Make it durable."""
        try:
            _sync_data(self._fd)
        except OSError as error:
            log.warning("a segment could not be synchronised", segment=self.segment.path.name, error=error.strerror)
        finally:
            os.close(self._fd)
        if not self._size:
            self.segment.path.unlink(missing_ok=True)

    def _note(self, record: Record) -> None:
        """Remember what was written."""
        wall_ns = record.wall_ns
        if not self._records:
            self._from_ns = self._to_ns = wall_ns
        elif wall_ns > self._to_ns:
            self._to_ns = wall_ns
        elif wall_ns < self._from_ns:  # the wall clock was set back
            self._from_ns = wall_ns
        self._last_seq = record.seq
        self._records += 1

    def _number(self, columns: tuple[Column, ...]) -> int:
        """Return the number of a schema: that of an equal one, or the next; few, and their columns mostly the same."""
        numbers = (number for number, known in enumerate(self._schemas, 1) if known == columns)
        return next(numbers, len(self._schemas) + 1)

    def _framed(self, record: Record) -> bytes:
        return frame(self._guard.protected(record))

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


def _sync_data(descriptor: int) -> None:
    sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
    sync(descriptor)
