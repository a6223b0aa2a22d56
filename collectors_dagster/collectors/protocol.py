"""What a collector is: it reads one source and answers readings."""

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from collectors_dagster.clock import Clock
from collectors_dagster.errors import CollectionError
from collectors_dagster.samples import Labels, Metric


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
        Unit of the memory that sockets hold.
    """

    clock: Clock
    proc_root: Path = Path("/proc")
    sys_root: Path = Path("/sys")
    ticks_per_second: int = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    page_bytes: int = mmap.PAGESIZE


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
