"""Space on local filesystems: the mount table, and statvfs that cannot hang a sweep."""

import _thread
import os
import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from collectors_dagster.clock import Clock
from collectors_dagster.collectors.procfs import ProcFile, parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.errors import CollectionError, SourceUnavailableError
from collectors_dagster.samples import Kind, Metric


def _gauge(name: str, unit: str, text: str, exporter: str, otel: str | None) -> Metric:
    return Metric(f"filesystem_{name}", Kind.GAUGE, unit, text, exporter=exporter, otel=otel)


METRICS = (
    _gauge("size_bytes", "bytes", "Size of the filesystem.", "node_filesystem_size_bytes", "system.filesystem.limit"),
    _gauge(
        "available_bytes",
        "bytes",
        "Space that an ordinary user can still fill.",
        "node_filesystem_avail_bytes",
        "system.filesystem.usage",
    ),
    _gauge("files", "files", "Inodes of the filesystem.", "node_filesystem_files", "system.filesystem.inodes.usage"),
    _gauge("files_free", "files", "Inodes not in use.", "node_filesystem_files_free", "system.filesystem.inodes.usage"),
    _gauge(
        "read_only",
        "flag",
        "1 where nothing can be written, be it by choice or after an error.",
        "node_filesystem_readonly",
        None,
    ),
)
LOCAL_TYPE = re.compile("bcachefs|btrfs|exfat|ext[234]|f2fs|jfs|ntfs3?|reiserfs|ufs|vfat|xfs|zfs")
REFRESH_SECONDS = 10.0
"""Space changes slowly; the table of mounts and statvfs are read this often."""
DEADLINE_SECONDS = 0.25
"""A sweep never waits longer than this for a filesystem to answer."""

Usage = tuple[float, float, float, float, float]
"""In the order of `METRICS`; NaN where the platform does not tell."""
AskUsage = Callable[[str], Usage]
Statvfs = Callable[[str], "os.statvfs_result"]
UNKNOWN: Usage = (float("nan"),) * 5


class Mount(NamedTuple):
    """A mounted filesystem."""

    mountpoint: str
    fstype: str


@parser("disk")
def parse_mountinfo(data: bytes) -> tuple[Mount, ...]:
    """Return one mount per local filesystem: of bind mounts the one with the shortest path.

    A container's own root is an overlay; it is listed, because it is all the space such a host has.
    """
    chosen: dict[bytes, Mount] = {}
    for line in (
        data.removesuffix(b"\n").split(b"\n") if data else ()
    ):  # the kernel escapes this byte, and not all others
        fields = line.split(b" ")
        fstype = fields[fields.index(b"-", 6) + 1].decode("utf-8", "backslashreplace")
        mount = Mount(_unescaped(fields[4]), fstype)
        known = chosen.get(fields[2])
        if _local(mount) and (known is None or len(mount.mountpoint) < len(known.mountpoint)):
            chosen[fields[2]] = mount
    return tuple(sorted(chosen.values()))


def _local(mount: Mount) -> bool:
    return LOCAL_TYPE.fullmatch(mount.fstype) is not None or (mount.fstype == "overlay" and mount.mountpoint == "/")


def _unescaped(path: bytes) -> str:
    for octal, byte in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        path = path.replace(octal, byte)
    return path.decode("utf-8", "surrogateescape")


class _Prober:
    """One thread that asks filesystems in turn whenever it is told to, and may get stuck in one of them.

    A bare thread and bare locks, kept from one question to the next: what ``threading`` adds is not used here, and a
    thread begun anew costs more than all of the asking.
    """

    def __init__(self, ask: AskUsage) -> None:
        self.asking: str | None = None
        self._ask = ask
        self._mountpoints: Sequence[str] | None = ()
        self._answers: dict[str, Usage] = {}
        self._stuck = False
        self._question, self._answer = _thread.allocate_lock(), _thread.allocate_lock()
        self._question.acquire()
        self._answer.acquire()
        _thread.start_new_thread(self._run, ())

    @property
    def free(self) -> bool:
        """Whether what it got stuck in has answered."""
        return not self._answer.locked()

    def ask(self, mountpoints: Sequence[str], seconds: float) -> tuple[dict[str, Usage], bool]:
        """Return the answers that came within `seconds`, and whether it is stuck: then it asks no more."""
        self.asking, self._mountpoints, self._answers = None, mountpoints, {}
        self._question.release()
        self._stuck = not self._answer.acquire(timeout=seconds)
        return dict(self._answers), self._stuck

    def close(self) -> None:
        """Let the thread end, once."""
        self._mountpoints = None
        self._question.release()

    def _run(self) -> None:
        while True:
            self._question.acquire()
            mountpoints = self._mountpoints
            if mountpoints is None:
                return
            for mountpoint in mountpoints:
                self.asking = mountpoint
                self._answers[mountpoint] = self._answered(mountpoint)
                if self._stuck:
                    break
            self._answer.release()

    def _answered(self, mountpoint: str) -> Usage:
        try:
            return self._ask(mountpoint)
        except Exception:  # noqa: BLE001 - nobody hears of it in this thread, and the next question needs the thread
            return UNKNOWN


def usage_of(mountpoint: str, statvfs: Statvfs | None = None) -> Usage:
    """Return how full a filesystem is.

    Parameters
    ----------
    statvfs : callable or None
        ``None`` for the system's.

    Raises
    ------
    OSError
        If it does not tell.
    """
    found = (statvfs or os.statvfs)(mountpoint)
    block = found.f_frsize
    return (
        float(found.f_blocks * block),
        float(found.f_bavail * block),
        float(found.f_files),
        float(found.f_ffree),
        float(found.f_flag & os.ST_RDONLY),
    )


class Space:
    """Usage of filesystems, asked with a deadline; one that hangs costs one thread and only its own values."""

    def __init__(self, *, ask: AskUsage = usage_of, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._ask = ask
        self._deadline = deadline_seconds
        self._prober: _Prober | None = None
        self._stuck: dict[str, _Prober] = {}

    def ask(self, mountpoints: tuple[str, ...]) -> dict[str, Usage]:
        """Return the usage of every filesystem that answers; the others are missing."""
        if self._stuck:
            self._let_go()
        prober = self._prober or _Prober(self._ask)
        self._prober = prober
        answers, stuck = prober.ask([name for name in mountpoints if name not in self._stuck], self._deadline)
        if stuck:
            self._prober = None
            self._stuck[prober.asking or ""] = prober
        return answers

    def close(self) -> None:
        """End the thread that asks; the next question begins another one."""
        self._let_go()
        prober, self._prober = self._prober, None
        if prober is not None:
            prober.close()

    def _let_go(self) -> None:
        """Forget those that are stuck no more."""
        for mountpoint, prober in list(self._stuck.items()):
            if prober.free:
                self._stuck.pop(mountpoint).close()


class Filesystems:
    """Space on the local filesystems of a host, refreshed every `REFRESH_SECONDS`.

    Parameters
    ----------
    mounts : callable
        Returns the filesystems to ask; may raise :class:`CollectionError`.
    """

    def __init__(self, mounts: Callable[[], tuple[Mount, ...]], clock: Clock, *, space: Space | None = None) -> None:
        self._list_mounts = mounts
        self._clock = clock
        self._space = space or Space()
        self._due = clock.monotonic()
        self._reading = Reading((), ())
        self._mounts: tuple[Mount, ...] = ()

    def read(self) -> Reading:
        """Return the latest values, asking anew when they are due."""
        if self._clock.monotonic() < self._due:
            return self._reading
        self._due = self._clock.monotonic() + REFRESH_SECONDS
        found = self._refresh()
        self._reading = found._replace(errors=()) if found.errors else found  # told once
        return found

    def close(self) -> None:
        """End the thread that asks."""
        self._space.close()

    def _refresh(self) -> Reading:
        try:
            return self._ask(self._list_mounts())
        except CollectionError as error:
            return self._reading._replace(errors=(error,))

    def _ask(self, mounts: tuple[Mount, ...]) -> Reading:
        answers = self._space.ask(tuple(mount.mountpoint for mount in mounts))
        usages = [answers.get(mount.mountpoint, UNKNOWN) for mount in mounts]
        silent = [mount.mountpoint for mount in mounts if mount.mountpoint not in answers]
        if mounts != self._mounts:
            self._mounts, self._reading = mounts, Reading(_series(mounts), ())
        return Reading(self._reading.series, tuple(chain.from_iterable(usages)), _silence(silent))


class MountTable:
    """The kernel's table of mounts. It seldom changes, and parsing it costs more than reading it."""

    def __init__(self, host: Host) -> None:
        self._file = ProcFile(host.proc_root / "self/mountinfo", source="disk", single=False)
        self._data: bytes | None = None
        self._mounts: tuple[Mount, ...] = ()

    def mounts(self) -> tuple[Mount, ...]:
        """Return the local filesystems.

        Raises
        ------
        CollectionError
            If the table cannot be read or understood.
        """
        data = self._file.read()
        if data != self._data:
            self._mounts = parse_mountinfo(data)
            self._data = data
        return self._mounts

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _silence(mountpoints: list[str]) -> tuple[CollectionError, ...]:
    return tuple(
        SourceUnavailableError(f"the filesystem at {name!r} does not answer", source="disk") for name in mountpoints
    )


def _series(mounts: tuple[Mount, ...]) -> tuple[Series, ...]:
    return tuple(
        Series(metric, (("fstype", mount.fstype), ("mountpoint", _shown(mount.mountpoint))))
        for mount in mounts
        for metric in METRICS
    )


def _shown(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
