"""Disk traffic through psutil, and space on mounted disks."""

import psutil

from collectors_dagster.collectors.disk import METRICS
from collectors_dagster.collectors.filesystem import METRICS as FILESYSTEM_METRICS
from collectors_dagster.collectors.filesystem import Filesystems, Mount
from collectors_dagster.collectors.protocol import Host, Reading, Series

TRAFFIC = METRICS[:4]
"""What every platform counts; times in flight mean something else on each."""


class PortableDisk:
    """Traffic of physical disks and space on mounted ones."""

    name = "disk"
    metrics = TRAFFIC + FILESYSTEM_METRICS

    def __init__(self, host: Host) -> None:
        self._filesystems = Filesystems(_mounts, host.clock)
        self._shape: tuple[tuple[str, ...], tuple[Series, ...]] = ((), ())
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        disks = psutil.disk_io_counters(perdisk=True, nowrap=False)
        space = self._filesystems.read()
        if (tuple(disks), space.series) != self._shape:
            self._shape = (tuple(disks), space.series)
            self._series = (*_series(tuple(disks)), *space.series)
        traffic = [
            value
            for disk in disks.values()
            for value in (disk.read_count, disk.write_count, disk.read_bytes, disk.write_bytes)
        ]
        return Reading(self._series, [*traffic, *space.values], space.errors)

    def close(self) -> None:
        """Nothing is held."""


def _mounts() -> tuple[Mount, ...]:
    return tuple(Mount(mount.mountpoint, mount.fstype) for mount in psutil.disk_partitions())


def _series(disks: tuple[str, ...]) -> tuple[Series, ...]:
    return tuple(Series(metric, (("device", disk),)) for disk in disks for metric in TRAFFIC)
