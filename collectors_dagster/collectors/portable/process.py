"""Groups of processes through psutil: the same accounts as on Linux, of what another system tells.

Bytes read and written are left out: macOS does not count them, and what Windows counts is not what went to disks. So
are states: both systems call nearly every process running.
"""

import os
from collections.abc import Callable
from sys import intern

import psutil

from collectors_dagster.collectors.accounts import Accounts
from collectors_dagster.collectors.process import (
    BY_STATE,
    COUNT,
    CPU_SYSTEM,
    CPU_USER,
    GROUPS,
    OPEN_FILES,
    READ_BYTES,
    RESIDENT,
    STARTS,
    THREADS,
    WRITTEN_BYTES,
    Processes,
)
from collectors_dagster.collectors.process_table import Identity, Look, Process, Stat, must_recheck
from collectors_dagster.collectors.procfs import shown
from collectors_dagster.collectors.protocol import Host
from collectors_dagster.errors import SourceUnavailableError

IDLE = 0
"""Number of what is no process: the kernel itself on macOS, the time that nobody used on Windows."""
NAME_BYTES = 15
"""As much of a program's name as Linux tells, so that one selector means the same on every host."""
NO_CGROUP = "/"
"""Where there are no cgroups, all processes are in the outermost one."""
NOBODY_KNOWN = "unknown"
"""User of a process whose user is not shown to us (Windows; names of users have a backslash there)."""
HAS_OPEN_FILES = hasattr(psutil.Process, "num_fds")
"""Windows counts handles, of which files are a small part."""
UNTOLD = (READ_BYTES, WRITTEN_BYTES, BY_STATE, *(() if HAS_OPEN_FILES else (OPEN_FILES,)))
HAS_ZOMBIES = os.name == "posix"
STATES = {psutil.STATUS_ZOMBIE: b"Z", psutil.STATUS_DEAD: b"X"}
"""The letters that matter to :class:`Process`."""


class PortableProcesses(Processes):
    """The groups of processes that somebody wants to see, as psutil tells them."""

    metrics = (GROUPS, CPU_USER, CPU_SYSTEM, RESIDENT, THREADS, OPEN_FILES, COUNT, STARTS)
    interval_seconds = 10.0
    """Each process costs several questions to the system, a tenth of a millisecond or two."""
    timeout_seconds = 2.0

    def __init__(self, host: Host) -> None:
        super().__init__(host, table=PortableTable(host), details=PortableDetails(), untold=UNTOLD)


class PortableTable:
    """All processes that the system shows us; one that it does not is an error, told once for all of them.

    Parameters
    ----------
    opened : callable
        Returns the process of a number.
    """

    def __init__(self, host: Host, opened: Callable[[int], psutil.Process] = psutil.Process) -> None:
        self._opened = opened
        self._ticks = host.ticks_per_second
        self._page_bytes = host.page_bytes
        self._accounts = Accounts(host.etc_root / "passwd")
        self._known: dict[int, tuple[Process, psutil.Process]] = {}
        self._listed: set[int] = set()
        self._looks = 0

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
        for pid in self._known.keys() - pids:
            self._end(pid, look)
        hidden = sum(not self._visit(pid, look) for pid in pids)
        if hidden:
            message = "the system does not show us every process: run the agent as root, on Windows as administrator"
            look.errors.append(SourceUnavailableError(message, source="process"))
        self._listed = pids
        return look

    def close(self) -> None:
        """Nothing is held."""

    def _list(self) -> set[int]:
        try:
            return set(psutil.pids()) - {IDLE}
        except (OSError, psutil.Error) as error:
            message = f"the processes cannot be listed: {error}"
            raise SourceUnavailableError(message, source="process") from error

    def _visit(self, pid: int, look: Look) -> bool:
        """Look at one process; tell whether it was shown to us, or is gone."""
        try:
            handle = self._opened(pid)
            if pid in self._known and self._known[pid][1] != handle:  # the number was given to another process
                self._end(pid, look)
            self._take(handle, look)
        except psutil.NoSuchProcess:  # also one that is only waited for by its parent
            if pid in self._known:
                self._end(pid, look)
        except (psutil.AccessDenied, OSError):
            if pid in self._known:
                self._end(pid, look)
            return False
        return True

    def _take(self, handle: psutil.Process, look: Look) -> None:
        with handle.oneshot():
            process, _ = self._known.get(handle.pid, (None, None))
            stat = self._stat(handle, process.stat.threads if process else 0)
            if process is None:
                self._admit(handle, stat, look)
                return
            before = process.stat, process.identity
            young = process.identified_at == process.since
            if stat.executable != process.stat.executable or young or must_recheck(process, look.number):
                process.identity, process.identified_at = self._identity(handle, stat), look.number
        process.stat, process.changed_at = stat, look.number
        if before != (process.stat, process.identity):
            look.worked.append((process, *before))

    def _admit(self, handle: psutil.Process, stat: Stat, look: Look) -> None:
        number, fresh = look.number, look.number > 1 and handle.pid not in self._listed
        process = Process(handle.pid, -1, b"", stat, self._identity(handle, stat), number, fresh, number, number)
        self._known[handle.pid] = process, handle
        look.came.append(process)

    def _stat(self, handle: psutil.Process, threads: int) -> Stat:
        """Return what is read of every process; for threads, and for states, Windows would go through all of them."""
        times = handle.cpu_times()
        return Stat(
            os.fsencode(handle.name())[:NAME_BYTES],
            STATES.get(handle.status(), b"S") if HAS_ZOMBIES else b"S",
            0,
            round(times.user * self._ticks),
            round(times.system * self._ticks),
            threads,
            0,
            handle.memory_info().rss // self._page_bytes,
        )

    def _identity(self, handle: psutil.Process, stat: Stat) -> Identity:
        return Identity(intern(shown(stat.executable)), intern(self._user(handle)), NO_CGROUP)

    def _user(self, handle: psutil.Process) -> str:
        """Return who a process acts as; the system is asked only for names that stand in no file."""
        if not hasattr(handle, "uids"):
            return _shown_user(handle)
        numbers = handle.uids()
        name = self._accounts.name(numbers.effective)
        if name == str(numbers.effective) and numbers.real == numbers.effective:
            return _shown_user(handle)
        return name

    def _end(self, pid: int, look: Look) -> None:
        self._listed.discard(pid)  # whoever has the number now is new
        process, _ = self._known.pop(pid)
        look.gone.append(process)


class PortableDetails:
    """How many threads followed processes have, and how many open files."""

    def update(self, process: Process, number: int) -> tuple[int, int]:
        """Count a process's threads, and its open files: ``None`` if we may not know."""
        process.detailed_at = number
        try:
            handle = psutil.Process(process.pid)
            process.stat = process.stat._replace(threads=handle.num_threads())
            process.open_files = handle.num_fds() if HAS_OPEN_FILES else None
        except psutil.NoSuchProcess:
            process.open_files = 0  # it ended in this moment, and the next look will tell
        except (psutil.AccessDenied, OSError):
            process.open_files = None
        return 0, 0


def _shown_user(handle: psutil.Process) -> str:
    try:
        return handle.username()
    except psutil.AccessDenied:
        return NOBODY_KNOWN
