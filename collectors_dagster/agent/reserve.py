"""Room kept for bad days: on a full disk, what is lost is still told, and small files can still be replaced.

A reserve is a file that is written in full when the spool begins. Its first pages are a journal that is written in
place, which needs no new room: the gap that is growing. The rest is ballast that is given up when something must be
written, and taken again when there is room. The cursor has a reserve of its own, so that nothing else uses its room up.
"""

import os
from pathlib import Path

from collectors_dagster.agent.records import CONTROL, Gap, Record, frame, gap_payload, parse_control, scan
from collectors_dagster.config.files import PLAIN, write_at
from collectors_dagster.errors import SpoolError

SLOT_BYTES = 4096
SLOTS = 2
CURSOR_BYTES = 32 * 1024
ROOM_BYTES = 256 * 1024
_JOURNAL_BYTES = SLOTS * SLOT_BYTES


class Reserve:
    """A file beside the segments.

    Parameters
    ----------
    ballast_bytes : int
        Room beside the journal.
    """

    def __init__(self, path: Path, ballast_bytes: int) -> None:
        self._path = path
        self._bytes = _JOURNAL_BYTES + ballast_bytes
        self._turn = 0

    def is_whole(self) -> bool:
        """Tell whether all of the room is held."""
        try:
            return self._path.stat().st_size >= self._bytes
        except OSError:
            return False

    def hold(self) -> bool:
        """Take the room that is missing; tell whether all of it is held now."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | PLAIN, 0o640)
            try:
                _fill(descriptor, self._bytes)
            finally:
                os.close(descriptor)
        except OSError:
            return False
        return True

    def give_way(self) -> bool:
        """Give the ballast up for something more important; tell whether there was any."""
        try:
            given = self._path.stat().st_size > _JOURNAL_BYTES
            if given:
                os.truncate(self._path, _JOURNAL_BYTES)
        except OSError:
            return False
        return given

    def note(self, gap: Gap) -> None:
        """Remember a gap that could not be written where it belongs; it replaces the one before."""
        self._turn += 1
        content = frame(Record(self._turn, gap.from_ns, gap.to_ns, CONTROL, gap_payload(gap)))
        self._write(content.ljust(SLOT_BYTES, b"\0"), self._turn % SLOTS * SLOT_BYTES)

    def noted(self) -> Gap | None:
        """Return the gap remembered last, also by a process that died."""
        try:
            data = self._path.read_bytes()[:_JOURNAL_BYTES]
        except OSError:
            return None
        slots = (data[at : at + SLOT_BYTES] for at in range(0, _JOURNAL_BYTES, SLOT_BYTES))
        records = [record for slot in slots for record in scan(slot).records[:1]]
        newest = max(records, key=lambda record: record.seq, default=None)
        if newest is None:
            return None
        self._turn = newest.seq
        return _gap(newest.payload)

    def clear(self) -> None:
        """Forget the gap: it is written where it belongs."""
        self._write(bytes(_JOURNAL_BYTES), 0)

    def _write(self, content: bytes, offset: int) -> None:
        """Overwrite what is there; a reserve that is missing cannot be filled on a full disk, so nothing is tried."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | PLAIN)
        except OSError:
            return
        try:
            write_at(descriptor, content, offset)
        except OSError:
            return
        finally:
            os.close(descriptor)


def cursor_reserve(directory: Path) -> Reserve:
    """Return the reserve of the gap and of the cursor, in the directory of the segments."""
    return Reserve(directory / "reserve", CURSOR_BYTES)


def room_reserve(directory: Path) -> Reserve:
    """Return the reserve for packing and thinning segments."""
    return Reserve(directory / "reserve.room", ROOM_BYTES)


def _fill(descriptor: int, size: int) -> None:
    """Write what is missing: blocks that were only promised may not be there when the disk is full."""
    present = os.fstat(descriptor).st_size
    while present < size:
        written = write_at(descriptor, bytes(size - present), present)
        if not written:
            raise OSError(28, "no space left on device (short write)")
        present += written
    os.fsync(descriptor)


def _gap(payload: bytes) -> Gap | None:
    try:
        told = parse_control(payload)
    except SpoolError:
        return None
    return told if isinstance(told, Gap) else None
