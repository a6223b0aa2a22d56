"""Disk traffic and space through psutil."""

import math

import psutil

from collectors_dagster.collectors.disk import METRICS
from collectors_dagster.collectors.filesystem import METRICS as FILESYSTEM_METRICS
from collectors_dagster.collectors.protocol import Host, Reading, Series

TRAFFIC = METRICS[:4]
SPACE = FILESYSTEM_METRICS[:2]


class PortableDisk:
    """Traffic of physical disks and space on mounted ones."""

    name = "disk"
    metrics = (*TRAFFIC, *SPACE)

    def __init__(self, host: Host) -> None:
        self._shape: tuple[tuple[str, ...], tuple[tuple[str, str], ...]] = ((), ())
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        disks = psutil.disk_io_counters(perdisk=True, nowrap=False)
        mounts = {(mount.fstype, mount.mountpoint): _space(mount.mountpoint) for mount in psutil.disk_partitions()}
        if (tuple(disks), tuple(mounts)) != self._shape:
            self._shape = (tuple(disks), tuple(mounts))
            self._series = _series(*self._shape)
        traffic = [
            value
            for disk in disks.values()
            for value in (disk.read_count, disk.write_count, disk.read_bytes, disk.write_bytes)
        ]
        return Reading(self._series, [*traffic, *(value for space in mounts.values() for value in space)])

    def close(self) -> None:
        """Nothing is held."""


def _space(mountpoint: str) -> tuple[float, float]:
    try:
        usage = psutil.disk_usage(mountpoint)
    except OSError:
        return (math.nan, math.nan)
    return (usage.total, usage.free)


def _series(disks: tuple[str, ...], mounts: tuple[tuple[str, str], ...]) -> tuple[Series, ...]:
    traffic = [Series(metric, (("device", disk),)) for disk in disks for metric in TRAFFIC]
    labels = [(("fstype", fstype), ("mountpoint", mountpoint)) for fstype, mountpoint in mounts]
    space = [Series(metric, mount) for mount in labels for metric in SPACE]
    return (*traffic, *space)
