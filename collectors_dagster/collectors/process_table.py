"""The processes of a host, look after look: who came, who worked, who is gone. ``/proc/PID``.

A descriptor on ``/proc/PID/stat`` is kept per process. It is cheaper than opening the file again, and it belongs to
that one process: when the process is dead the kernel answers ``ESRCH``, whoever has its number now. Where descriptors
are short, the file is opened each time, and the time of the start tells processes apart. Kernel threads are remembered
and left out.
"""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import NamedTuple

from collectors_dagster.collectors.accounts import Accounts
from collectors_dagster.collectors.cgroup_tree import cgroup_of, parse_membership
from collectors_dagster.collectors.descriptors import allowance
from collectors_dagster.collectors.procfs import natural, parser, shown
from collectors_dagster.collectors.protocol import Host
from collectors_dagster.errors import CollectionError, InvalidSampleError, SourceUnavailableError

DESCRIPTORS = 0.5
"""Part of the process's descriptors that may be kept open here."""
MOST_DESCRIPTORS = 16_384
RECHECK_LOOKS = 60
"""After so many looks a process's user and cgroup are read again, and kernel threads are looked at again."""
KERNEL_THREAD = 0x00200000
"""``PF_KTHREAD`` among the flags."""
LARGEST = 4096
VANISHED = frozenset({errno.ENOENT, errno.ESRCH})
SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE})


class Stat(NamedTuple):
    """``/proc/PID/stat`` in numbers, as far as it is needed."""

    executable: bytes
    state: bytes
    flags: int
    user_ticks: int
    system_ticks: int
    threads: int
    start_ticks: int
    resident_pages: int


@parser("process")
def parse_process_stat(data: bytes) -> Stat:
    """Return the numbers in ``/proc/PID/stat``.

    The name stands in parentheses and may hold anything, parentheses and newlines too: it ends at the last one.

    Examples
    --------
    >>> parse_process_stat(b"7 (a) (b) S 1 7 7 0 -1 64 0 0 0 0 5 6 0 0 20 0 2 0 99 4096 3").executable
    b'a) (b'
    """
    begin, end = data.index(b"("), data.rindex(b")")
    fields = data[end + 2 :].split()
    return Stat(
        data[begin + 1 : end],
        fields[0],
        natural(fields[6]),
        natural(fields[11]),
        natural(fields[12]),
        natural(fields[17]),
        natural(fields[19]),
        natural(fields[21]),
    )


@parser("process")
def parse_process_user(data: bytes) -> int:
    r"""Return the effective user's number, from ``/proc/PID/status``.

    Examples
    --------
    >>> parse_process_user(b"Name:\tcat\nUid:\t1000\t0\t1000\t1000\n")
    0
    """
    _, found, rest = data.partition(b"\nUid:")
    if not found:
        raise ValueError("no Uid")
    return natural(rest.split(None, 2)[1])


class Identity(NamedTuple):
    """By what processes are grouped."""

    executable: str
    user: str
    cgroup: str


@dataclass(slots=True, eq=False)
class Process:
    """One process, from the first look at it to the last.

    Attributes
    ----------
    fd : int
        Descriptor on its ``stat``; -1 where none is kept.
    line : bytes
        What ``stat`` said last: a line that is the same means a process that did nothing.
    since, changed_at, detailed_at, identified_at : int
        Numbers of looks: the first, the last in which it did something, and those in which more was read of it.
    fresh : bool
        It was started since the look before `since`, so that all it ever did lies behind that look.
    traffic : tuple of int or None
        Bytes read and written so far; ``None`` as long as they are not known.
    """

    pid: int
    fd: int
    line: bytes
    stat: Stat
    identity: Identity
    since: int
    fresh: bool
    changed_at: int
    identified_at: int
    detailed_at: int = -1
    open_files: int | None = None
    traffic: tuple[int, int] | None = None

    @property
    def ended(self) -> bool:
        """Whether it is only waited for by its parent."""
        return self.stat.state in b"ZX"


@dataclass(slots=True)
class Look:
    """What one look saw.

    Attributes
    ----------
    number : int
        Counted from 1.
    came : list of Process
        Seen for the first time.
    worked : list of (Process, Stat, Identity)
        Known ones that did something or are something else now, with what they were before.
    gone : list of Process
        Known ones that ended.
    errors : list of CollectionError
        What could not be understood.
    """

    number: int
    came: list[Process] = field(default_factory=list)
    worked: list[tuple[Process, Stat, Identity]] = field(default_factory=list)
    gone: list[Process] = field(default_factory=list)
    errors: list[CollectionError] = field(default_factory=list)


class ProcessTable:
    """All processes of a host but kernel threads."""

    def __init__(self, host: Host) -> None:
        self._root = host.proc_root
        self._prefix = f"{host.proc_root}/"
        self._accounts = Accounts(host.etc_root / "passwd")
        self._known: dict[int, Process] = {}
        self._kernel: set[int] = set()
        self._listed: set[int] = set()
        self._looks = 0
        self._descriptors = min(MOST_DESCRIPTORS, allowance(DESCRIPTORS))
        self._open = 0

    def look(self) -> Look:
        """Look at all processes once.

        Raises
        ------
        SourceUnavailableError
            If they cannot be listed.
        """
        self._looks += 1
        look = Look(self._looks)
        pids = self._list()
        if self._looks % RECHECK_LOOKS == 0:
            self._kernel.clear()
        self._kernel &= pids
        for pid in self._known.keys() - pids:
            self._end(self._known[pid], look)
        self._revisit(look)
        for pid in pids - self._known.keys() - self._kernel:
            self._meet(pid, look)
        self._listed = pids
        return look

    def close(self) -> None:
        """Close all descriptors; the processes stay known."""
        for process in self._known.values():
            self._release(process)

    def _list(self) -> set[int]:
        try:
            return {int(name) for name in os.listdir(self._root) if name.isdecimal()}  # noqa: PTH208 - names are enough
        except OSError as error:
            self._give_back(error)
            message = f"{self._root}: the processes cannot be listed: {error.strerror}"
            raise SourceUnavailableError(message, source="process") from error

    def _revisit(self, look: Look) -> None:
        """Read every known process; most did nothing, which the line tells without being understood."""
        pread, number = os.pread, look.number
        for process in list(self._known.values()):
            try:
                line = pread(process.fd, LARGEST, 0) if process.fd >= 0 else self._read(process.pid)
            except OSError as error:
                self._lose(process, error, look)
                continue
            if line != process.line or must_recheck(process, number):
                self._update(process, line, look)

    def _update(self, process: Process, line: bytes, look: Look) -> None:
        try:
            stat = parse_process_stat(line)
            if stat.start_ticks != process.stat.start_ticks:  # the number was given to another process
                self._end(process, look)
                return
            before = process.stat, process.identity
            process.identity = self._identified(process, stat, look.number)
        except InvalidSampleError as error:
            look.errors.append(error)
            return
        except OSError as error:
            self._lose(process, error, look)
            return
        process.line, process.stat, process.changed_at = line, stat, look.number
        look.worked.append((process, *before))

    def _identified(self, process: Process, stat: Stat, number: int) -> Identity:
        """Return who a process is now: it may run another program, and change its user soon after its start."""
        young = process.identified_at == process.since
        if stat.executable == process.stat.executable and not young and not must_recheck(process, number):
            return process.identity
        process.identified_at = number
        return self._identity(process.pid, stat)

    def _meet(self, pid: int, look: Look) -> None:
        try:
            self._admit(pid, look)
        except InvalidSampleError as error:
            look.errors.append(error)
        except OSError as error:
            if error.errno in SHORTAGE:
                self._complain(error, look)

    def _admit(self, pid: int, look: Look) -> None:
        fd = os.open(f"{self._prefix}{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        keep = False
        try:
            line = os.pread(fd, LARGEST, 0)
            stat = parse_process_stat(line)
            if stat.flags & KERNEL_THREAD:
                self._kernel.add(pid)
                return
            identity = self._identity(pid, stat)
            keep = self._open < self._descriptors
        finally:
            if not keep:
                os.close(fd)
        self._open += keep
        number, fresh = look.number, look.number > 1 and pid not in self._listed
        process = Process(pid, fd if keep else -1, line, stat, identity, number, fresh, number, number)
        self._known[pid] = process
        look.came.append(process)

    def _identity(self, pid: int, stat: Stat) -> Identity:
        user = self._accounts.name(parse_process_user(self._read(pid, "status")))
        cgroup = cgroup_of(parse_membership(self._read(pid, "cgroup")))
        return Identity(intern(shown(stat.executable)), intern(user), intern(cgroup))  # thousands have the same

    def _read(self, pid: int, name: str = "stat") -> bytes:
        fd = os.open(f"{self._prefix}{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, LARGEST, 0)
        finally:
            os.close(fd)

    def _lose(self, process: Process, error: OSError, look: Look) -> None:
        """Take note that a process did not answer: mostly, it is dead."""
        if error.errno in VANISHED:
            self._end(process, look)
        else:
            self._complain(error, look)

    def _complain(self, error: OSError, look: Look) -> None:
        self._give_back(error)
        look.errors.append(SourceUnavailableError(f"a process cannot be read: {error.strerror}", source="process"))

    def _give_back(self, error: OSError) -> None:
        """Keep half as many descriptors from now on, if it was for want of them that something failed."""
        if error.errno in SHORTAGE:
            for process in [each for each in self._known.values() if each.fd >= 0][: self._open // 2 + 1]:
                self._release(process)
            self._descriptors = self._open

    def _end(self, process: Process, look: Look) -> None:
        self._release(process)
        self._listed.discard(process.pid)  # whoever has the number now is new
        del self._known[process.pid]
        look.gone.append(process)

    def _release(self, process: Process) -> None:
        if process.fd >= 0:
            os.close(process.fd)
            self._open -= 1
            process.fd = -1


def must_recheck(process: Process, number: int) -> bool:
    """Tell whether it is this process's turn: not all at once."""
    return (number + process.pid) % RECHECK_LOOKS == 0


class Details:
    """What is read only of processes that somebody follows: it needs rights, and more time."""

    def __init__(self, proc_root: Path) -> None:
        self._prefix = f"{proc_root}/"
        self._size_counts = _size_counts(proc_root / "self/fd")

    def update(self, process: Process, number: int) -> tuple[int, int]:
        """Read a process's open files and traffic; return the bytes read and written that are to be counted.

        A process that was there before anybody looked, or before anybody followed it, starts at zero. What the kernel
        does not tell us is ``None`` in the process.
        """
        process.detailed_at = number
        directory = f"{self._prefix}{process.pid}"
        open_files, traffic = self._open_files(f"{directory}/fd"), _traffic(f"{directory}/io")
        if (open_files is None or traffic is None) and (process.ended or not os.path.lexists(directory)):
            process.open_files, process.traffic = 0, process.traffic or (0, 0)
            return 0, 0  # a zombie tells nothing any more; or it ended in this moment, and the next look will tell
        newborn = process.fresh and process.since == number
        before = (0, 0) if newborn else process.traffic or traffic
        process.open_files, process.traffic = open_files, traffic
        if traffic is None or before is None:
            return 0, 0
        return traffic[0] - before[0], traffic[1] - before[1]

    def _open_files(self, directory: str) -> int | None:
        try:
            return os.stat(directory).st_size if self._size_counts else len(os.listdir(directory))  # noqa: PTH116, PTH208
        except OSError:
            return None


def _traffic(path: str) -> tuple[int, int] | None:
    """Return the bytes that a process read from and wrote to disks; ``None`` if the kernel does not tell us."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return parse_process_io(os.pread(fd, LARGEST, 0))
    except (OSError, InvalidSampleError):
        return None
    finally:
        os.close(fd)


@parser("process")
def parse_process_io(data: bytes) -> tuple[int, int]:
    r"""Return the bytes read and written, from ``/proc/PID/io``.

    Examples
    --------
    >>> parse_process_io(b"rchar: 9\nread_bytes: 4096\nwrite_bytes: 0\n")
    (4096, 0)
    """
    facts = dict(line.split(b": ", 1) for line in data.splitlines() if b": " in line)
    return natural(facts[b"read_bytes"]), natural(facts[b"write_bytes"])


def _size_counts(directory: Path) -> bool:
    """Tell whether the size of an ``fd`` directory is the number of open files (Linux 6.2 and later)."""
    try:
        size, listed = directory.stat().st_size, len(list(directory.iterdir()))
    except OSError:
        return False
    return size > 0 and abs(size - listed) <= 1
