"""Segments of the spool as files: names, listing, packing, durable writing."""

import os
import re
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collectors_dagster.agent.form import Form
from collectors_dagster.agent.packed import (
    SUMMARY_BYTES,
    Summary,
    is_damaged,
    pack,
    read_summary,
    summarised,
    unpack,
)
from collectors_dagster.agent.protection import Unpacked, opened
from collectors_dagster.agent.records import MAGIC, Record, scan
from collectors_dagster.config.files import OPENS_DIRECTORIES, write_atomically
from collectors_dagster.errors import SpoolError, UnknownCodecError
from collectors_dagster.security.sealing import Sealer, UnknownKeyError

OPEN_SUFFIX = ".seg"
CLOSED_SUFFIX = ".segz"
_NAME = re.compile(r"(\d{12})\.segz?")


class Segment(NamedTuple):
    """A file of the spool; its name is the first sequence number in it."""

    first_seq: int
    path: Path

    @property
    def compressed(self) -> bool:
        """Whether it is closed and compressed."""
        return self.path.suffix == CLOSED_SUFFIX


def open_path(directory: Path, first_seq: int) -> Path:
    """Return the file of a segment being written.

    Examples
    --------
    >>> open_path(Path("spool"), 42).name
    '000000000042.seg'
    """
    return directory / f"{first_seq:012d}{OPEN_SUFFIX}"


def list_segments(directory: Path) -> list[Segment]:
    """Return the segments, oldest first; of a segment that is there twice, the compressed one."""
    found: dict[int, Segment] = {}
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):  # .seg before .segz
        match = _NAME.fullmatch(entry.name)
        if match:
            found[int(match[1])] = Segment(int(match[1]), Path(entry.path))
    return [found[first_seq] for first_seq in sorted(found)]


def read_records(segment: Segment, sealer: Sealer | None) -> Unpacked:
    """Return the records of a segment that is not written any more.

    Raises
    ------
    FileNotFoundError
        If it was packed, thinned or dropped in the meantime: list again.
    SpoolError
        If it is sealed with a key that is not given, or compressed with a codec that is not known here.
    """
    data = segment.path.read_bytes()
    try:
        if not segment.compressed:
            return _framed(data, sealer)
        return _framed(_inflated(data), sealer) if _is_older(data) else unpack(segment.first_seq, data, sealer)
    except UnknownKeyError as error:
        raise SpoolError(missing_key(segment, error)) from error
    except UnknownCodecError as error:
        raise SpoolError(f"{segment.path}: {error}, or move the file away to give up what is in it") from error


def missing_key(segment: Segment, error: UnknownKeyError) -> str:
    """Say what to do about a segment that cannot be opened."""
    return (
        f"{segment.path}: {error}; add that key behind the present one in agent.spool_keys or agent.spool_keys_file, "
        f"or move the file away to give up what is in it"
    )


def summary_of(segment: Segment) -> Summary | None:
    """Return what a segment holds, from its beginning if it is packed; None if nothing can be said.

    Raises
    ------
    FileNotFoundError
        If it is not there any more.
    """
    if segment.compressed:
        with segment.path.open("rb") as file:
            found = read_summary(file.read(SUMMARY_BYTES))
        return found or summarised(_heads(segment.path.read_bytes(), segment))
    return summarised(scan(segment.path.read_bytes(), len(MAGIC)).records)


def is_sound(segment: Segment) -> bool:
    """Tell whether the checksums of a packed segment are right; one of a version before is taken as sound."""
    data = segment.path.read_bytes()
    return _is_older(data) or not is_damaged(data)


def _heads(data: bytes, segment: Segment) -> list[Record]:
    """Return what can be read without a key."""
    if _is_older(data):
        return scan(_inflated(data), len(MAGIC)).records
    with suppress(UnknownKeyError, UnknownCodecError):
        return unpack(segment.first_seq, data, None).records
    return []


def _framed(data: bytes, sealer: Sealer | None) -> Unpacked:
    content = scan(data, len(MAGIC))
    plain, changed = opened(content.records, sealer)
    return Unpacked(plain, content.skipped + changed + (content.end < len(data)) + (not data.startswith(MAGIC)))


def _is_older(data: bytes) -> bool:
    """Tell whether a segment was closed by a version before the packed form: zlib's first byte."""
    return data.startswith(b"\x78")


def _inflated(data: bytes) -> bytes:
    """Return the content of a segment closed by a version before the packed form."""
    stream = zlib.decompressobj()
    plain = bytearray()
    with suppress(zlib.error):  # what came before the damage is usable: records carry checksums of their own
        for start in range(0, len(data), 4096):
            plain += stream.decompress(data[start : start + 4096])
    return bytes(plain)


def pack_segment(segment: Segment, form: Form) -> Unpacked:
    """Replace a closed segment's plain form by its packed one, durably; return what was in it."""
    assert not segment.compressed, f"{segment.path} is packed"
    content = read_records(segment, form.sealer)
    summary = summarised(content.records)
    if summary is not None:
        write_packed(segment.first_seq, segment.path.parent, content.records, summary, form)
    segment.path.unlink()
    return content


def write_packed(first_seq: int, directory: Path, records: list[Record], summary: Summary, form: Form) -> None:
    """Write a packed segment whole, durably, over one of the same name."""
    path = open_path(directory, first_seq).with_suffix(CLOSED_SUFFIX)
    write_atomically(path, pack(first_seq, records, summary, form), mode=0o640)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable, where the system can."""
    if not OPENS_DIRECTORIES:
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
