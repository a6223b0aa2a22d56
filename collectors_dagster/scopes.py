"""Which part of a host a tenant observes: all of it, some of its cgroups, some of its processes. Pure.

A scope decides twice: what the collectors look at for somebody, and what of it is delivered to whom. Both ask the
labels of a series only, so a series that was collected for one tenant reaches another one only if it is in that one's
scope too.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from collectors_dagster.samples import Labels

CGROUP, EXECUTABLE, USER = "cgroup", "executable", "user"
"""Labels by which cgroups and groups of processes are told apart."""
CGROUP_SOURCES = ("cgroup", "process")
"""Collectors whose series belong to a cgroup."""
PROCESS_SOURCES = ("process",)
"""Collectors whose series belong to processes."""

ALL_BELOW = "**"
LONGEST_PATTERN = 400
MOST_COMPONENTS = 16


def components_of(path: str) -> tuple[str, ...]:
    """Return the names on the way to a cgroup.

    Examples
    --------
    >>> components_of("/system.slice/cron.service"), components_of("/")
    (('system.slice', 'cron.service'), ())
    """
    return tuple(name for name in path.split("/") if name)


def checked_cgroup_pattern(value: str) -> str:
    """Return `value` if it is the path of a cgroup, in which names may hold ``*``, ``?`` and ``[...]``.

    Raises
    ------
    ValueError
        With what is allowed: a path could otherwise lead out of the hierarchy, or mean the whole host.
    """
    if not value.startswith("/") or not value.isprintable() or len(value) > LONGEST_PATTERN:
        raise ValueError(
            f"it must be the path of a cgroup from / on, printable, at most {LONGEST_PATTERN} characters, "
            "e.g. /system.slice/shop-*.service"
        )
    names = value.removeprefix("/").split("/")
    if any(name in ("", ".", "..") for name in names):
        raise ValueError("it must be a plain path: no empty part, no . and no .. in it, no / at its end")
    if ALL_BELOW in "".join(names[:-1]) or (ALL_BELOW in names[-1] and names[-1] != ALL_BELOW):
        raise ValueError("** (all cgroups below) may only be its last part, e.g. /machine.slice/**")
    if names == [ALL_BELOW]:
        raise ValueError("it means every cgroup; to observe the whole host, write host: true")
    if len(names) > MOST_COMPONENTS:
        raise ValueError(f"it must have at most {MOST_COMPONENTS} parts")
    return value


def covers(pattern: str, path: str) -> bool:
    """Tell whether a cgroup is one of those that `pattern` names, or lies below one.

    Examples
    --------
    >>> covers("/shop-*", "/shop-1/worker"), covers("/shop-*/**", "/shop-1"), covers("/shop", "/shopping")
    (True, False, False)
    """
    wanted, names = components_of(pattern), components_of(path)
    if wanted and wanted[-1] == ALL_BELOW:
        wanted = (*wanted[:-1], "*")
    return len(wanted) <= len(names) and all(map(fnmatchcase, names, wanted))


@dataclass(frozen=True, slots=True)
class ProcessSelector:
    """Processes with all of these properties.

    Attributes
    ----------
    user : str or None
        Name, or number where the host knows no name.
    executable : str or None
        The kernel's short name of the program, at most 15 bytes of it; may hold ``*``, ``?`` and ``[...]``.
    cgroup : str or None
        As :func:`covers` understands it: a container, a service, a slice.
    """

    user: str | None = None
    executable: str | None = None
    cgroup: str | None = None

    def selects(self, *, user: str, executable: str, cgroup: str) -> bool:
        """Tell whether such a process is meant."""
        return (
            (self.user is None or self.user == user)
            and (self.executable is None or fnmatchcase(executable, self.executable))
            and (self.cgroup is None or covers(self.cgroup, cgroup))
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of a host that a tenant observes.

    Attributes
    ----------
    host : bool
        All of it.
    cgroups : tuple of str
        Patterns: these cgroups, and the processes in them.
    processes : tuple of ProcessSelector
        Processes of any of these kinds.

    Examples
    --------
    >>> scope = Scope(host=False, cgroups=("/shop",))
    >>> scope.covers("cgroup", (("cgroup", "/shop"),)), scope.covers("cgroup", (("cgroup", "/bank"),))
    (True, False)
    >>> scope.covers("cpu", ())
    False
    """

    host: bool = True
    cgroups: tuple[str, ...] = ()
    processes: tuple[ProcessSelector, ...] = ()

    @property
    def sources(self) -> tuple[str, ...] | None:
        """Collectors that can give anything; ``None`` for all."""
        if self.host:
            return None
        return CGROUP_SOURCES if self.cgroups else PROCESS_SOURCES

    def covers(self, collector: str, labels: Labels) -> bool:
        """Tell whether a series belongs to this part of the host."""
        if self.host:
            return True
        told = dict(labels)
        if collector == "cgroup" and CGROUP in told:
            return self._covers_cgroup(told[CGROUP])
        if collector == "process" and told.keys() >= {USER, EXECUTABLE, CGROUP}:
            return self.selects(user=told[USER], executable=told[EXECUTABLE], cgroup=told[CGROUP])
        return False

    def selects(self, *, user: str, executable: str, cgroup: str) -> bool:
        """Tell whether processes are named here, by themselves or by their cgroup; a host names none."""
        return self._covers_cgroup(cgroup) or any(
            each.selects(user=user, executable=executable, cgroup=cgroup) for each in self.processes
        )

    def _covers_cgroup(self, path: str) -> bool:
        return any(covers(pattern, path) for pattern in self.cgroups)
