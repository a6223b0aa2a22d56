"""What a collector is: it reads one source and answers readings."""

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from collectors_dagster.clock import Clock
from collectors_dagster.errors import CollectionError
from collectors_dagster.samples import Labels, Metric
from collectors_dagster.scopes import Scope


class Watched:
    """What somebody wants to see of cgroups and processes, as it is now.

    The agent replaces :attr:`scopes` when the tenants' files change (another thread than the one that reads it).

    Attributes
    ----------
    scopes : tuple of Scope
        Each once, in a fixed order.
    """

    __slots__ = ("scopes",)

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes


@dataclass(frozen=True, slots=True)
class Host:
    """Where a host is read.

    Attributes
    ----------
    proc_root, sys_root : Path
        Mount points of procfs and sysfs: a container reads its host under ``/host/proc``, a test a recorded tree.
    ticks_per_second : int
        Unit of the times in ``/proc/stat`` (``USER_HZ``).
    page_bytes : int
        Unit of the memory that sockets and processes hold.
    etc_root : Path
        Where ``passwd`` lies.
    watched : Watched
        Parts of the host to look at beside what is always looked at.
    busiest_processes : int
        Groups of processes to follow for their processor time, and as many for their memory.
    """

    clock: Clock
    proc_root: Path = Path("/proc")
    sys_root: Path = Path("/sys")
    ticks_per_second: int = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    page_bytes: int = mmap.PAGESIZE
    etc_root: Path = Path("/etc")
    watched: Watched = field(default_factory=lambda: Watched(Scope()))
    busiest_processes: int = 5


@dataclass(frozen=True, slots=True)
class Series:
    """One metric with one set of labels."""

    metric: Metric
    labels: Labels = ()


class Reading(NamedTuple):
    """What a collector saw at one instant.

    Attributes
    ----------
    series : tuple of Series
        The same object as last time unless the set changed, so that a change is seen by identity.
    values : sequence of float
        One per series; NaN where a part did not answer.
    errors : tuple of CollectionError
        Parts that failed although the rest was read.
    """

    series: tuple[Series, ...]
    values: Sequence[float]
    errors: tuple[CollectionError, ...] = ()


EVERY_SWEEP = 0.0
"""An interval that every sweep fulfils."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often a source is read, and how long that may take.

    A collector declares what differs from the defaults by class attributes of the same names.

    Attributes
    ----------
    interval_seconds : float
        Between two readings; the sweeps in between have no values of this source. It is the source's rate limit too:
        neither faster sweeps nor pacing read it more often (but for the tenth by which a sweep may be early).
    timeout_seconds : float
        A reading that takes longer is counted as failed, though its values are kept.
    """

    interval_seconds: float = EVERY_SWEEP
    timeout_seconds: float = 0.5


def cadence_of(collector: object) -> Cadence:
    """Return what a collector declares.

    Examples
    --------
    >>> class Slow:
    ...     interval_seconds = 5.0
    >>> cadence_of(Slow())
    Cadence(interval_seconds=5.0, timeout_seconds=0.5)
    """
    default = Cadence()
    return Cadence(
        float(getattr(collector, "interval_seconds", default.interval_seconds)),
        float(getattr(collector, "timeout_seconds", default.timeout_seconds)),
    )


@runtime_checkable
class Waiting(Protocol):
    """A collector whose source answers after a while.

    All of them are asked before the others are read, and read last: they wait side by side, not in turn. (No event
    loop: what makes a reading of a host wait, a driver or a hung mount, cannot be awaited, and asyncio alone would be
    a third of the agent's memory.)
    """

    def begin(self) -> None:
        """Ask the source, without waiting; :meth:`Collector.read` takes the answer."""
        ...


class Collector(Protocol):
    """Reads one source. Nothing is opened before the first reading.

    Attributes
    ----------
    name : str
        E.g. ``cpu``; tenants choose collectors by it.
    metrics : tuple of Metric
        Everything it may ever report.
    """

    @property
    def name(self) -> str:
        """See above."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See above."""
        ...

    def read(self) -> Reading:
        """Return the present values.

        Raises
        ------
        CollectionError
            If the source is absent or answers nonsense.
        """
        ...

    def close(self) -> None:
        """Give descriptors back; reading again opens them again."""
        ...


class CollectorFactory(Protocol):
    """A collector's class, seen as what makes it."""

    def __call__(self, host: Host) -> Collector:
        """Return a collector for `host`."""
        ...
