"""Processes we started, known by number and birth, never by name."""

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from collectors_dagster.clock import Clock
from collectors_dagster.supervisor.component import Ending, Launch

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same number.

    Attributes
    ----------
    born : str
        On Linux the boot and the tick of its start, which no change of the wall clock moves; elsewhere the time.
    """

    pid: int
    born: str

    @property
    def is_alive(self) -> bool:
        """Whether this very process still exists (a zombie does not)."""
        return birth_of(self.pid) == self.born and not _is_zombie(self.pid)

    def members(self) -> list[int]:
        """Return the living processes of its group; the group may outlive the process that led it."""
        if birth_of(self.pid) not in {None, self.born}:
            return []  # the number has a new owner, and with it the group
        return [pid for pid in psutil.pids() if _leads(self.pid, pid) and not _is_zombie(pid)]

    def send(self, number: signal.Signals, *, whole_group: bool) -> None:
        """Signal the process, or all of its group; those that are gone are passed over."""
        targets = self.members() if whole_group else [self.pid] if self.is_alive else []
        for pid in targets:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def identify(pid: int) -> Identity | None:
    """Return who `pid` is now, or ``None`` if there is no such process."""
    born = birth_of(pid)
    return Identity(pid, born) if born else None


def birth_of(pid: int) -> str | None:
    """Return the mark of a process' start, or ``None`` if there is no such process."""
    try:
        if _BOOT_ID.exists():
            ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
            return f"{_BOOT_ID.read_text().strip()}/{ticks}"
        return f"{psutil.Process(pid).create_time():.2f}"
    except (OSError, psutil.Error):
        return None


def start(launch: Launch, prints_to: Path) -> subprocess.Popen[bytes]:
    """Start a process in a session and group of its own, writing to the end of a file."""
    with prints_to.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the command is ours
            launch.command,
            cwd=launch.directory,
            env=dict(launch.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **(launch.account.popen_arguments() if launch.account else {}),
        )


def stop(process: Identity, ending: Ending, clock: Clock) -> bool:
    """End a process and its group; return whether it went by itself within its time."""
    return stop_together([(process, ending)], clock) == []


def stop_together(processes: Sequence[tuple[Identity, Ending]], clock: Clock) -> list[Identity]:
    """End several processes and their groups at once; return those that had to be killed."""
    for process, ending in processes:
        process.send(ending.signal, whole_group=ending.whole_group)
    begun = clock.monotonic()
    killed = []
    for process, ending in processes:
        if not _gone_by(process, begun + ending.seconds, clock):
            process.send(signal.SIGKILL, whole_group=True)
            _gone_by(process, clock.monotonic() + 5.0, clock)
            killed.append(process)
    return killed


def end_each(processes: Sequence[Identity], seconds: float, clock: Clock) -> None:
    """End single processes, whichever group they are in; kill those that are left after `seconds`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            process.send(number, whole_group=False)
        deadline = clock.monotonic() + seconds
        while any(process.is_alive for process in processes) and clock.monotonic() < deadline:
            clock.sleep(0.05)


def _gone_by(process: Identity, deadline: float, clock: Clock) -> bool:
    while process.members():
        if clock.monotonic() >= deadline:
            return False
        clock.sleep(0.05)
    return True


def _leads(leader: int, pid: int) -> bool:
    try:
        return os.getpgid(pid) == leader
    except (ProcessLookupError, PermissionError):
        return False


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True
