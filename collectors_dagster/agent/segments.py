"""Segments of the spool as files: names, listing, compression, durable writing."""

import os
import re
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collectors_dagster.config.files import write_atomically

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


class Content(NamedTuple):
    """A segment's plain bytes.

    Attributes
    ----------
    whole : bool
        False if a damaged compressed file gave only its beginning.
    """

    data: bytes
    whole: bool


def read_segment(segment: Segment) -> Content:
    """Return a segment's content.

    Raises
    ------
    FileNotFoundError
        If it was closed or dropped in the meantime: list again.
    """
    data = segment.path.read_bytes()
    return _inflated(data) if segment.compressed else Content(data, whole=True)


def _inflated(data: bytes) -> Content:
    stream = zlib.decompressobj()
    plain = bytearray()
    with suppress(zlib.error):  # what came before the damage is usable: records carry checksums of their own
        for start in range(0, len(data), 4096):
            plain += stream.decompress(data[start : start + 4096])
    return Content(bytes(plain), whole=stream.eof)


def compress_segment(path: Path) -> Path:
    """Replace a closed segment by its compressed form, durably; return the new file."""
    target = path.with_suffix(CLOSED_SUFFIX)
    write_atomically(target, zlib.compress(path.read_bytes(), 1), mode=0o640)
    path.unlink()
    return target


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
