"""Groups of processes, by executable, user and cgroup: ``/proc/PID``. Never a process by its number.

Followed are the busiest groups of the host, if somebody observes all of it, and those that the tenants' scopes name.
Of all others nothing but ``stat`` is read.
"""

import math
from collections.abc import Collection, Mapping
from itertools import compress
from typing import Protocol

from collectors_dagster.collectors.process_groups import STATES, Group, Groups
from collectors_dagster.collectors.process_table import Details, Identity, Look, Process, ProcessTable
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.collectors.turns import in_turn
from collectors_dagster.errors import CollectionError, InvalidSampleError
from collectors_dagster.samples import Kind, Labels, Metric
from collectors_dagster.scopes import CGROUP, EXECUTABLE, USER, Scope

INTERVAL_SECONDS = 5.0
CHOICE_LOOKS = 12
"""Looks after which the busiest groups are chosen anew: a set of series that changes all the time helps nobody."""
MOST_GROUPS = 140
"""Groups that are followed; beyond it, every scope keeps its share."""
LOYALTY = 2
"""A group that is followed gives way only to one that is this many times as busy."""


def _counter(name: str, unit: str, text: str, exporter: str | None, otel: str | None = None) -> Metric:
    return Metric(f"process_{name}_total", Kind.COUNTER, unit, text, exporter=exporter, otel=otel)


def _gauge(name: str, unit: str, text: str, exporter: str | None, otel: str | None = None) -> Metric:
    return Metric(f"process_{name}", Kind.GAUGE, unit, text, exporter=exporter, otel=otel)


EXPORTER = "namedprocess_namegroup"
CPU_USER = _counter(
    "cpu_user_seconds",
    "seconds",
    "Processor time in user mode, ended members included.",
    f"{EXPORTER}_cpu_seconds_total",
    "process.cpu.time",
)
CPU_SYSTEM = _counter(
    "cpu_system_seconds",
    "seconds",
    "Processor time in the kernel, ended members included.",
    f"{EXPORTER}_cpu_seconds_total",
    "process.cpu.time",
)
RESIDENT = _gauge(
    "resident_bytes",
    "bytes",
    "Resident memory; pages shared by members count for each.",
    f"{EXPORTER}_memory_bytes",
    "process.memory.usage",
)
THREADS = _gauge("threads", "threads", "Threads.", f"{EXPORTER}_num_threads", "process.thread.count")
OPEN_FILES = _gauge(
    "open_files", "files", "Open files.", f"{EXPORTER}_open_filedesc", "process.unix.file_descriptor.count"
)
READ_BYTES = _counter(
    "read_bytes",
    "bytes",
    "Bytes read from disks, ended members included.",
    f"{EXPORTER}_read_bytes_total",
    "process.disk.io",
)
WRITTEN_BYTES = _counter(
    "written_bytes",
    "bytes",
    "Bytes written to disks, ended members included.",
    f"{EXPORTER}_write_bytes_total",
    "process.disk.io",
)
COUNT = _gauge("count", "processes", "Processes.", f"{EXPORTER}_num_procs")
STARTS = _counter("starts", "processes", "Processes started.", None)
BY_STATE = _gauge("states", "processes", "Processes per state.", None, "system.process.count")
GROUPS = Metric("process_groups", Kind.GAUGE, "groups", "Groups of processes on the host, followed or not.")
WHOLE = (CPU_USER, CPU_SYSTEM, RESIDENT, THREADS, OPEN_FILES, READ_BYTES, WRITTEN_BYTES, COUNT, STARTS)
"""Metrics with one series per group, in the order of :meth:`Processes.read`."""


class Table(Protocol):
    """All processes of a host, look after look."""

    def look(self) -> Look:
        """Look at all of them once."""
        ...

    def close(self) -> None:
        """Give descriptors back."""
        ...


class Detailing(Protocol):
    """What is read of followed processes only."""

    def update(self, process: Process, number: int) -> tuple[int, int]:
        """Read more of a process; return the bytes read and written that are to be counted."""
        ...


class Processes:
    """The groups of processes that somebody wants to see.

    Parameters
    ----------
    table, details : Table, Detailing
        What looks at the processes; ``/proc`` where nothing else is given.
    untold : collection of Metric
        What `table` and `details` cannot tell.
    """

    name = "process"
    metrics: tuple[Metric, ...] = (GROUPS, *WHOLE, BY_STATE)
    interval_seconds = INTERVAL_SECONDS

    def __init__(
        self,
        host: Host,
        *,
        table: Table | None = None,
        details: Detailing | None = None,
        untold: Collection[Metric] = (),
    ) -> None:
        self._host = host
        self._table = table or ProcessTable(host)
        self._details = details or Details(host.proc_root)
        self._told = [metric not in untold for metric in (*WHOLE, *(BY_STATE for _ in STATES))]
        self._groups = Groups()
        self._scopes: tuple[Scope, ...] | None = None
        self._chosen_at = 0
        self._wanted = 0
        self._busiest: list[Identity] = []
        self._largest: list[Identity] = []
        self._followed: list[Group] = []
        self._series: tuple[Series, ...] = (Series(GROUPS),)

    @property
    def processes(self) -> int:
        """Processes that the latest look found, kernel threads left out."""
        return sum(len(group.members) for group in self._groups)

    def read(self) -> Reading:
        """Return the present values."""
        look = self._table.look()
        new, backwards = self._groups.account(look)
        self._choose(look, new)
        backwards += self._read_details(look.number)
        living = sum(1 for group in self._groups if group.members)
        if look.errors and not living:
            raise _told_once(look.errors)[0]
        values = [living, *(each for group in self._followed for each in compress(self._values(group), self._told))]
        return Reading(self._series, values, (*_told_once(look.errors), *_told_backwards(backwards), *self._refusal()))

    def close(self) -> None:
        """Close the descriptors."""
        self._table.close()

    def _choose(self, look: Look, new: list[Group]) -> None:
        """Take over whom to follow: all anew now and then, in between those that a scope names and that are new."""
        scopes = self._host.watched.scopes
        changed = scopes != self._scopes
        self._scopes = scopes
        for group in self._groups if changed else new:
            group.named = tuple(place for place, scope in enumerate(scopes) if _names(scope, group))
        if changed or look.number >= self._chosen_at + CHOICE_LOOKS:
            self._chosen_at = look.number
            self._follow(self._ranked(scopes))
            for group in self._groups:
                group.recent_ticks = 0
        elif named := [group for group in new if group.named]:
            self._follow([*self._followed, *named])

    def _follow(self, wanted: list[Group]) -> None:
        self._wanted = len(wanted)
        followed = sorted(wanted[:MOST_GROUPS], key=lambda group: group.identity)
        if followed != self._followed:
            for group in self._followed:
                group.followed = False
            for group in followed:
                group.followed = True
            self._followed = followed
            self._series = (
                Series(GROUPS),
                *(one for group in followed for one in compress(_series(group), self._told)),
            )

    def _ranked(self, scopes: Collection[Scope]) -> list[Group]:
        """Return whom to follow, the most important first."""
        ticks = {group.identity: group.recent_ticks for group in self._groups}
        pages = {group.identity: group.resident_pages for group in self._groups}
        most = self._host.busiest_processes if any(scope.host for scope in scopes) else 0
        self._busiest = [one for one in _leaders(ticks, self._busiest)[:most] if ticks[one]]
        self._largest = [one for one in _leaders(pages, self._largest)[:most] if pages[one]]
        groups = {group.identity: group for group in self._groups}
        named: list[list[Group]] = [[] for _ in scopes]
        for group in (groups[identity] for identity in _leaders(ticks, ())):
            for place in group.named if group.members or group.recent_ticks else ():
                named[place].append(group)
        return in_turn([*([groups[one] for one in leaders] for leaders in (self._busiest, self._largest)), *named])

    def _read_details(self, number: int) -> int:
        """Read open files and traffic of the members that did something; return how many counters went back."""
        backwards = 0
        for group in self._followed:
            for process in group.members.values():
                if process.detailed_at < process.changed_at:
                    read, written = self._details.update(process, number)
                    group.read_bytes += max(0, read)
                    group.written_bytes += max(0, written)
                    backwards += read < 0 or written < 0
        return backwards

    def _values(self, group: Group) -> list[float]:
        second, members = self._host.ticks_per_second, group.members.values()
        told = all(process.traffic is not None for process in members)
        files = [process.open_files for process in members if process.open_files is not None]
        states = group.states()
        return [
            group.user_ticks / second,
            group.system_ticks / second,
            group.resident_pages * self._host.page_bytes,
            group.threads,
            sum(files) if len(files) == len(members) else math.nan,
            group.read_bytes if told else math.nan,
            group.written_bytes if told else math.nan,
            len(members),
            group.starts,
            *(states[state] for state in STATES),
        ]

    def _refusal(self) -> list[CollectionError]:
        if self._wanted <= MOST_GROUPS:
            return []
        message = (
            f"{self._wanted} groups of processes are wanted, {MOST_GROUPS} are followed: "
            "narrow the tenants' scope.processes and scope.cgroups"
        )
        return [CollectionError(message, source=self.name)]


def _leaders(figures: Mapping[Identity, int], loyal: Collection[Identity]) -> list[Identity]:
    """Return the groups, those with the largest figure first; to drive out one of `loyal` takes a good deal more."""
    weighed = {identity: figure * (LOYALTY if identity in loyal else 1) for identity, figure in figures.items()}
    return sorted(weighed, key=lambda identity: (-weighed[identity], identity))


def _names(scope: Scope, group: Group) -> bool:
    return scope.selects(**group.identity._asdict())


def _told_once(errors: list[CollectionError]) -> list[CollectionError]:
    """Tell of many processes that cannot be read as of one thing that is wrong."""
    if len(errors) < 2:
        return errors
    return [CollectionError(f"{len(errors)} processes cannot be read; one says: {errors[0]}", source="process")]


def _told_backwards(count: int) -> list[CollectionError]:
    if not count:
        return []
    return [InvalidSampleError(f"{count} processes' counters went back; that step is not counted", source="process")]


def _series(group: Group) -> list[Series]:
    identity = group.identity
    labels: Labels = ((CGROUP, identity.cgroup), (EXECUTABLE, identity.executable), (USER, identity.user))
    before, user = labels[:2], labels[2]
    by_state = [Series(BY_STATE, (*before, ("state", state), user)) for state in STATES]
    return [*(Series(metric, labels) for metric in WHOLE), *by_state]
