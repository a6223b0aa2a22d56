"""The hierarchies of cgroups on a host: which there are, which groups match, and their files; nothing beside them.

Version 2 has one hierarchy for all controllers, version 1 one per controller, a hybrid host both. A cgroup is named by
its path, which is the same in all of them. Every directory on the way is opened without following symbolic links, so
no path, whoever wrote it, leads out of the hierarchy.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path

from collectors_dagster.collectors.procfs import parser
from collectors_dagster.config.files import flags
from collectors_dagster.errors import SourceUnavailableError
from collectors_dagster.scopes import ALL_BELOW, MOST_COMPONENTS, components_of

UNIFIED = "unified"
CONTROLLERS = ("cpu", "cpuacct", "memory", "blkio", "pids")
"""Hierarchies of version 1 that are read; others (devices, freezer) hold no figures."""
DIRECTORY = os.O_RDONLY | flags("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC")  # a host without them has no cgroups
LONGEST_PATH = 1024
LARGEST_FILE = 65536

GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.ELOOP, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES})
"""Errors by which the kernel says that a cgroup, or one of its files, is not there (for us)."""


@dataclass(slots=True)
class Visits:
    """What is left of the directories that a search may see: whoever may make cgroups may make very many.

    Attributes
    ----------
    exceeded : bool
        There were more: what was found is not all.
    """

    left: int
    exceeded: bool = False

    def spend(self) -> bool:
        """Take one; tell whether there was one."""
        self.exceeded = self.exceeded or not self.left
        self.left -= not self.exceeded
        return not self.exceeded


class CgroupTree:
    """The hierarchies mounted below ``/sys/fs/cgroup``.

    Parameters
    ----------
    root : Path
        ``<sys>/fs/cgroup``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def hierarchies(self) -> dict[str, Path]:
        """Return the root directory of each hierarchy, by controller; `UNIFIED` for version 2.

        Raises
        ------
        SourceUnavailableError
            If there is none.
        """
        if (self._root / "cgroup.controllers").is_file():
            return {UNIFIED: self._root}
        found = {name: self._root / name for name in CONTROLLERS if (self._root / name).is_dir()}
        if (self._root / UNIFIED / "cgroup.controllers").is_file():
            found[UNIFIED] = self._root / UNIFIED
        if not found:
            raise SourceUnavailableError(f"{self._root}: no hierarchy of cgroups is mounted there", source="cgroup")
        return found

    def matching(self, pattern: str, visits: Visits) -> set[str]:
        """Return the paths of the cgroups that a checked pattern names, in any hierarchy, as far as `visits` reach."""
        found: set[str] = set()
        for root in self.hierarchies().values():
            with _opened(root, ()) as descriptor:
                if descriptor is not None:
                    search = _Search(descriptor, visits, ())
                    found.update("/" + "/".join(way) for way in search.matching(components_of(pattern)))
        return {path for path in found if shortened(path) == path}

    def exists(self, path: str) -> bool:
        """Tell whether a cgroup is in any hierarchy."""
        return any(self._is_in(root, path) for root in self.hierarchies().values())

    @staticmethod
    def _is_in(root: Path, path: str) -> bool:
        with _opened(root, components_of(path)) as descriptor:
            return descriptor is not None


class CgroupFile:
    """One file of one cgroup, read over and over; it may vanish at any time.

    Parameters
    ----------
    root : Path
        Of the hierarchy.
    keep : bool
        Keep the descriptor open between readings.
    """

    __slots__ = ("_components", "_fd", "_keep", "_name", "_root")

    def __init__(self, root: Path, path: str, name: str, *, keep: bool) -> None:
        self._root = root
        self._components = components_of(path)
        self._name = name
        self._keep = keep
        self._fd = -1

    def read(self) -> bytes | None:
        """Return the content; ``None`` if the file or its cgroup is not there.

        Raises
        ------
        SourceUnavailableError
            If it cannot be read for another reason.
        """
        try:
            return self._content()
        except OSError as error:
            known = self._fd >= 0
            self.close()
            if known:  # the cgroup behind the descriptor was removed; one of the same name may be there
                return self.read()
            if error.errno in GONE:
                return None
            where = self._root.joinpath(*self._components, self._name)
            raise SourceUnavailableError(f"{where} cannot be read: {error.strerror}", source="cgroup") from error

    def close(self) -> None:
        """Close the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _content(self) -> bytes | None:
        if self._fd < 0:
            self._fd = self._opened()
        if self._fd < 0:
            return None
        data = os.pread(self._fd, LARGEST_FILE, 0)
        if not self._keep:
            self.close()
        return data

    def _opened(self) -> int:
        with _opened(self._root, self._components) as directory:
            if directory is None:
                return -1
            return os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


@parser("cgroup")
def parse_membership(data: bytes) -> dict[str, str]:
    r"""Return the path of a process in each hierarchy, from ``/proc/PID/cgroup``.

    Examples
    --------
    >>> parse_membership(b"4:memory:/shop\n3:cpu,cpuacct:/\n0::/shop\n")
    {'memory': '/shop', 'cpu': '/', 'cpuacct': '/', 'unified': '/shop'}
    """
    paths = {}
    for line in data.removesuffix(b"\n").split(b"\n") if data else ():  # a name may hold any byte but this and NUL
        number, controllers, path = line.split(b":", 2)
        shown = path.decode("utf-8", "backslashreplace")
        names = [UNIFIED] if number == b"0" else controllers.decode("utf-8", "backslashreplace").split(",")
        paths.update(dict.fromkeys(names, shown))
    return paths


def cgroup_of(memberships: dict[str, str]) -> str:
    """Return the one path by which a process's cgroup is named: version 2's, else the deepest that holds figures.

    Examples
    --------
    >>> cgroup_of({"memory": "/shop", "cpu": "/", "unified": "/"})
    '/shop'
    """
    told = memberships.get(UNIFIED, "/")
    if told != "/":
        return shortened(told)
    others = (memberships.get(name, "/") for name in CONTROLLERS)
    return shortened(max(others, key=lambda path: (len(components_of(path)), path)))


def shortened(path: str) -> str:
    """Return the path, or its nearest ancestor that is short enough for a label; a scope covers both alike.

    Anybody may nest cgroups until their path has four thousand bytes, and a database indexes what names a series.

    Examples
    --------
    >>> shortened("/user.slice/" + "x" * 2000), shortened("/system.slice/shop.service")
    ('/user.slice', '/system.slice/shop.service')
    """
    while len(path.encode("utf-8", "surrogateescape")) > LONGEST_PATH:
        path = path.rpartition("/")[0]
    return path or "/"


def own_cgroup(tree: CgroupTree, membership: Path) -> str:
    """Return the cgroup that we run in, as the mounted hierarchies name it.

    In a container they may begin at our own cgroup while the kernel still tells the host's path: then it is ``/``.

    Raises
    ------
    CollectionError
        If the kernel does not tell.
    """
    try:
        path = cgroup_of(parse_membership(membership.read_bytes()))
    except OSError as error:
        raise SourceUnavailableError(f"{membership} cannot be read: {error.strerror}", source="cgroup") from error
    return path if ".." not in components_of(path) and tree.exists(path) else "/"


@contextmanager
def _opened(root: Path, components: tuple[str, ...]) -> Iterator[int | None]:
    """Yield a descriptor of a directory below `root`, reached step by step; ``None`` if it is not there."""
    descriptor = None
    try:
        descriptor = _descend(root, components)
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _descend(root: Path, components: tuple[str, ...]) -> int | None:
    if ".." in components or "." in components:
        return None
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # cpu may be a link to cpu,cpuacct
    except OSError:
        return None
    for name in components:
        above = descriptor
        try:
            descriptor = os.open(name, DIRECTORY, dir_fd=above)
        except OSError:
            return None
        finally:
            os.close(above)
    return descriptor


@dataclass(frozen=True, slots=True)
class _Search:
    """An open directory, how it was reached, and how far the search below it may go."""

    directory: int
    visits: Visits
    way: tuple[str, ...]

    def matching(self, wanted: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Yield the way to each directory below this one that matches."""
        if len(self.way) >= MOST_COMPONENTS or not wanted:
            return
        first, *rest = wanted
        for name in self._named(first):
            if first == ALL_BELOW or not rest:
                yield (*self.way, name)
            if first == ALL_BELOW or rest:
                yield from self._inside(name, wanted if first == ALL_BELOW else tuple(rest))

    def _inside(self, name: str, wanted: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if self.visits.exceeded:
            return
        try:
            descriptor = os.open(name, DIRECTORY, dir_fd=self.directory)
        except OSError:  # it vanished, or is a symbolic link
            return
        try:
            yield from _Search(descriptor, self.visits, (*self.way, name)).matching(wanted)
        finally:
            os.close(descriptor)

    def _named(self, wanted: str) -> list[str]:
        """Return the directories of this name; only a pattern needs a look at all that there are."""
        if wanted != ALL_BELOW and not any(sign in wanted for sign in "*?["):
            return [wanted] if self.visits.spend() and self._is_directory(wanted) else []
        names = self._names()
        return names if wanted == ALL_BELOW else [name for name in names if fnmatchcase(name, wanted)]

    def _is_directory(self, name: str) -> bool:
        with suppress(OSError):
            return stat.S_ISDIR(os.stat(name, dir_fd=self.directory, follow_symlinks=False).st_mode)
        return False

    def _names(self) -> list[str]:
        with suppress(OSError), os.scandir(self.directory) as entries:
            directories = (entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            return sorted(takewhile(lambda _: self.visits.spend(), directories))
        return []
