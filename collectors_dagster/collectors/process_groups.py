"""Accounts of groups of processes: sums that never go back when a member ends. Pure.

A group is all processes with one executable, user and cgroup. What a process does between two looks is added to the
group that it belongs to at the second one; what it did after the last look before its end is not seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from collectors_dagster.collectors.process_table import Identity, Look, Process, Stat

KEPT_LOOKS = 60
"""Looks for which a group without members keeps its account: programs that come and go are one group."""

STATES = ("running", "sleeping", "blocked", "stopped", "zombie")
STATE_OF = {b"R": "running", b"D": "blocked", b"T": "stopped", b"t": "stopped", b"Z": "zombie", b"X": "zombie"}
"""Letters of the kernel; all others sleep."""


@dataclass(slots=True, eq=False)
class Group:
    """The account of one group.

    Attributes
    ----------
    members : dict
        Living processes by number.
    user_ticks, system_ticks, starts, read_bytes, written_bytes : int
        Counted since the group is known; the bytes, since it is followed.
    recent_ticks : int
        Processor time since the last choice of what to follow.
    empty_since : int
        Number of the look that found no member any more.
    followed : bool
        Somebody sees it: it is not forgotten.
    named : tuple of int
        Places of the scopes that name it.
    """

    identity: Identity
    members: dict[int, Process] = field(default_factory=dict)
    user_ticks: int = 0
    system_ticks: int = 0
    starts: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    recent_ticks: int = 0
    empty_since: int = 0
    followed: bool = False
    named: tuple[int, ...] = ()

    @property
    def resident_pages(self) -> int:
        """Resident memory of all members, shared pages counted for each."""
        return sum(process.stat.resident_pages for process in self.members.values())

    @property
    def threads(self) -> int:
        """Threads of all members."""
        return sum(process.stat.threads for process in self.members.values())

    def states(self) -> dict[str, int]:
        """Return how many members are in each of `STATES`."""
        counts = dict.fromkeys(STATES, 0)
        for process in self.members.values():
            counts[STATE_OF.get(process.stat.state, "sleeping")] += 1
        return counts


class Groups:
    """All groups of a host."""

    def __init__(self) -> None:
        self._groups: dict[Identity, Group] = {}

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups.values())

    def account(self, look: Look) -> tuple[list[Group], int]:
        """Add what a look saw; return the groups that are new, and how many counters went back."""
        before = len(self._groups)
        for process in look.gone:
            self._leave(process, process.identity, look.number)
        for process in look.came:
            self._join(process, first=look.number == 1)
        backwards = sum(self._work(*each, look.number) for each in look.worked)
        new = list(self._groups.values())[before:]
        self._forget(look.number)
        return new, backwards

    def _join(self, process: Process, *, first: bool) -> None:
        group = self._enter(process)
        ticks = process.stat.user_ticks + process.stat.system_ticks
        if process.fresh:
            group.starts += 1
            group.user_ticks += process.stat.user_ticks
            group.system_ticks += process.stat.system_ticks
        if process.fresh or first:  # at first, all that is known is what a process did in its whole life
            group.recent_ticks += ticks

    def _work(self, process: Process, stat: Stat, identity: Identity, number: int) -> bool:
        """Add what one process did; tell whether a counter of it went back."""
        if identity != process.identity:
            self._leave(process, identity, number)
        group = self._enter(process)
        user = process.stat.user_ticks - stat.user_ticks
        system = process.stat.system_ticks - stat.system_ticks
        group.user_ticks += max(0, user)
        group.system_ticks += max(0, system)
        group.recent_ticks += max(0, user) + max(0, system)
        return user < 0 or system < 0

    def _enter(self, process: Process) -> Group:
        group = self._groups.get(process.identity)
        if group is None:
            group = self._groups[process.identity] = Group(process.identity)
        group.members[process.pid] = process
        return group

    def _leave(self, process: Process, identity: Identity, number: int) -> None:
        group = self._groups[identity]
        if group.members.get(process.pid) is process:
            del group.members[process.pid]
        group.empty_since = number

    def _forget(self, number: int) -> None:
        old = [
            key
            for key, group in self._groups.items()
            if not group.members and not group.followed and number - group.empty_since > KEPT_LOOKS
        ]
        for key in old:
            del self._groups[key]
