"""Disk traffic and filesystem space: ``/proc/diskstats``, ``/proc/self/mountinfo``, statvfs."""

from functools import partial
from pathlib import Path

from collectors_dagster.collectors.filesystem import METRICS as FILESYSTEM_METRICS
from collectors_dagster.collectors.filesystem import Filesystems, mounts_of
from collectors_dagster.collectors.procfs import ProcFile, natural, parser, shown
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric

SECTOR_BYTES = 512
"""The unit of ``/proc/diskstats``, whatever the disk's own sectors are."""

METRICS = (
    Metric("disk_reads_total", Kind.COUNTER, "operations", "Reads completed."),
    Metric("disk_writes_total", Kind.COUNTER, "operations", "Writes completed."),
    Metric("disk_read_bytes_total", Kind.COUNTER, "bytes", "Bytes read."),
    Metric("disk_written_bytes_total", Kind.COUNTER, "bytes", "Bytes written."),
    Metric("disk_io_seconds_total", Kind.COUNTER, "seconds", "Time with at least one request in flight."),
    Metric("disk_weighted_io_seconds_total", Kind.COUNTER, "seconds", "Time summed over the requests in flight."),
)
COLUMNS = ((3, 1.0), (7, 1.0), (5, SECTOR_BYTES), (9, SECTOR_BYTES), (12, 0.001), (13, 0.001))
"""Column of each of `METRICS` in a line, and the factor to its unit."""

VIRTUAL = (b"loop", b"ram", b"zram", b"fd", b"sr")


class WholeDisks:
    """Which block devices count: whole ones that stand on nothing else, so that sums count every byte once."""

    def __init__(self, sys_root: Path) -> None:
        self._block = sys_root / "block"
        self._known: dict[bytes, bool] = {}

    def __contains__(self, device: bytes) -> bool:
        known = self._known.get(device)
        if known is None:
            known = self._known[device] = self._look_up(device)
        return known

    def _look_up(self, device: bytes) -> bool:
        if device.startswith(VIRTUAL):
            return False
        entry = self._block / shown(device).replace("/", "!")
        slaves = entry / "slaves"
        return entry.is_dir() and not (slaves.is_dir() and any(slaves.iterdir()))


@parser("disk")
def parse_diskstats(data: bytes, disks: WholeDisks) -> tuple[tuple[bytes, ...], list[float]]:
    """Return the whole disks, and for each the values of `METRICS` in turn."""
    names: list[bytes] = []
    values: list[float] = []
    for line in data.splitlines():
        fields = line.split()
        if fields[2] in disks:
            names.append(fields[2])
            values += [natural(fields[column]) * factor for column, factor in COLUMNS]
    return tuple(names), values


class Disk:
    """Traffic of whole disks, and space on local filesystems."""

    name = "disk"
    metrics = METRICS + FILESYSTEM_METRICS

    def __init__(self, host: Host) -> None:
        self._diskstats = ProcFile(host.proc_root / "diskstats", source=self.name, single=False)
        self._disks = WholeDisks(host.sys_root)
        self._filesystems = Filesystems(partial(mounts_of, host), host.clock)
        self._shape: tuple[tuple[bytes, ...], tuple[Series, ...]] = ((), ())
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        devices, values = parse_diskstats(self._diskstats.read(), self._disks)
        space = self._filesystems.read()
        if devices != self._shape[0] or space.series is not self._shape[1]:
            self._shape = (devices, space.series)
            self._series = (*_series(devices), *space.series)
        return Reading(self._series, (*values, *space.values), space.errors)

    def close(self) -> None:
        """Close the files."""
        self._diskstats.close()


def _series(devices: tuple[bytes, ...]) -> tuple[Series, ...]:
    return tuple(Series(metric, (("device", shown(device)),)) for device in devices for metric in METRICS)
