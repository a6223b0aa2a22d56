"""Disk traffic through psutil, and space on mounted disks."""

import math
import os

import psutil

from collectors_dagster.collectors.disk import (
    IO_SECONDS,
    READ_BYTES,
    READ_SECONDS,
    READS,
    READS_MERGED,
    WRITE_SECONDS,
    WRITES,
    WRITES_MERGED,
    WRITTEN_BYTES,
)
from collectors_dagster.collectors.filesystem import METRICS as FILESYSTEM_METRICS
from collectors_dagster.collectors.filesystem import Filesystems, Mount, Space, Usage, usage_of
from collectors_dagster.collectors.parts import Parts
from collectors_dagster.collectors.protocol import Host, Reading, Series

MILLISECOND = 0.001
FIELDS = {
    "read_count": (READS, 1),
    "write_count": (WRITES, 1),
    "read_bytes": (READ_BYTES, 1),
    "write_bytes": (WRITTEN_BYTES, 1),
    "read_time": (READ_SECONDS, MILLISECOND),
    "write_time": (WRITE_SECONDS, MILLISECOND),
    "busy_time": (IO_SECONDS, MILLISECOND),
    "read_merged_count": (READS_MERGED, 1),
    "write_merged_count": (WRITES_MERGED, 1),
}
"""What psutil calls a metric, and the factor to its unit; the first four are known everywhere."""
TRAFFIC = tuple(metric for metric, _ in FIELDS.values())


HAS_STATVFS = hasattr(os, "statvfs")
"""Windows has none, and no inodes either."""


class PortableDisk:
    """Traffic of physical disks and space on mounted ones."""

    name = "disk"
    metrics = TRAFFIC + FILESYSTEM_METRICS

    def __init__(self, host: Host) -> None:
        self._parts = Parts(
            _Traffic(), Filesystems(_mounts, host.clock, space=Space(ask=usage_of if HAS_STATVFS else _usage))
        )

    def read(self) -> Reading:
        """Return the present values."""
        return self._parts.read()

    def close(self) -> None:
        """Nothing is held."""


class _Traffic:
    """What psutil counts."""

    def __init__(self) -> None:
        self._disks: tuple[str, ...] = ()
        self._fields: tuple[str, ...] = ()
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        disks = {name: disk._asdict() for name, disk in psutil.disk_io_counters(perdisk=True, nowrap=False).items()}
        if tuple(disks) != self._disks:
            self._disks = tuple(disks)
            known = next(iter(disks.values()), {})
            self._fields = tuple(field for field in FIELDS if field in known)
            self._series = tuple(
                Series(FIELDS[field][0], (("device", name),)) for name in disks for field in self._fields
            )
        return Reading(self._series, [disk[f] * FIELDS[f][1] for disk in disks.values() for f in self._fields])

    def close(self) -> None:
        """Nothing is held."""


def _mounts() -> tuple[Mount, ...]:
    return tuple(Mount(mount.mountpoint, mount.fstype) for mount in psutil.disk_partitions())


def _usage(mountpoint: str) -> Usage:
    found = psutil.disk_usage(mountpoint)
    return (float(found.total), float(found.free), math.nan, math.nan, math.nan)
