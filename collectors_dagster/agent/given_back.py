"""Memory that only the start needed, given back to the kernel.

Reading settings, importing and the first handshake with the database touch much that is never touched again: a third of
the pages of code in memory, and holes between what is left of the objects. Both are given back once all of that is
over; whatever is needed after all comes back page by page, from the files it came from.
"""

import ctypes
import mmap
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collectors_dagster.clock import Clock

SETTLED_SECONDS = 20.0
"""After the start: by then the database was spoken to, if it is there."""
AGAIN_SECONDS = 3600.0
"""A connection that was lost, settings that were read again, an incident that was shipped leave holes as well."""

_CODE = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ [0-9a-f:]+ [1-9][0-9]* +/", re.MULTILINE)


class Stretch(NamedTuple):
    """Addresses of this process, in bytes."""

    start: int
    length: int


def code_in(maps: bytes) -> Iterator[Stretch]:
    r"""Yield where a process has mapped the code of programs and libraries: files that it can only read and run.

    Nothing there can have been changed, so nothing is lost with a page: the file has it.

    Examples
    --------
    >>> list(code_in(b"1000-3000 r-xp 00000000 08:01 7 /lib/a.so\n3000-4000 rw-p 00000000 08:01 7 /lib/a.so\n"))
    [Stretch(start=4096, length=8192)]
    """
    for found in _CODE.finditer(maps):
        start, end = int(found[1], 16), int(found[2], 16)
        yield Stretch(start, end - start)


def give_back(maps: Path = Path("/proc/self/maps")) -> None:
    """Give back what is not needed now; where the system has no way to, nothing happens."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    with suppress(AttributeError):  # musl has none, and keeps less
        libc.malloc_trim(0)
    with suppress(AttributeError, OSError):  # no procfs, no madvise
        for code in code_in(maps.read_bytes()):
            libc.madvise(ctypes.c_void_p(code.start), ctypes.c_size_t(code.length), mmap.MADV_DONTNEED)


class Returning:
    """Gives memory back when the start is over, and now and then. For one thread."""

    def __init__(self, clock: Clock, *, give: Callable[[], None] = give_back) -> None:
        self._clock = clock
        self._give = give
        self._due = clock.monotonic() + SETTLED_SECONDS

    def look(self) -> None:
        """Give back, if it is time."""
        if self._clock.monotonic() >= self._due:
            self._due = self._clock.monotonic() + AGAIN_SECONDS
            self._give()
