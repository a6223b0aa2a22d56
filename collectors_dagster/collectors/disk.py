"""Disk traffic and filesystem space: ``/proc/diskstats``, ``/proc/self/mountinfo``, statvfs."""

from pathlib import Path
from typing import NamedTuple

from collectors_dagster.collectors.filesystem import METRICS as FILESYSTEM_METRICS
from collectors_dagster.collectors.filesystem import Filesystems, MountTable
from collectors_dagster.collectors.parts import Parts
from collectors_dagster.collectors.procfs import ProcFile, naturals, parser, shown
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric

SECTOR_BYTES = 512
"""The unit of ``/proc/diskstats``, whatever the disk's own sectors are."""


class Column(NamedTuple):
    """A metric's place in a line of ``/proc/diskstats``, and the factor to its unit."""

    metric: Metric
    place: int
    factor: float = 1


def _counter(
    name: str, unit: str, text: str, exporter: str, otel: str | None = None, *, detail: bool = False
) -> Metric:
    foreign = f"node_disk_{exporter}_total"
    return Metric(f"disk_{name}_total", Kind.COUNTER, unit, text, detail=detail, exporter=foreign, otel=otel)


READS = _counter("reads", "operations", "Reads completed.", "reads_completed", "system.disk.operations")
WRITES = _counter("writes", "operations", "Writes completed.", "writes_completed", "system.disk.operations")
READ_BYTES = _counter("read_bytes", "bytes", "Bytes read.", "read_bytes", "system.disk.io")
WRITTEN_BYTES = _counter("written_bytes", "bytes", "Bytes written.", "written_bytes", "system.disk.io")
READ_SECONDS = _counter(
    "read_seconds", "seconds", "Time that reads took, summed.", "read_time_seconds", "system.disk.operation_time"
)
WRITE_SECONDS = _counter(
    "write_seconds", "seconds", "Time that writes took, summed.", "write_time_seconds", "system.disk.operation_time"
)
IO_SECONDS = _counter(
    "io_seconds", "seconds", "Time with at least one request in flight.", "io_time_seconds", "system.disk.io_time"
)
WEIGHTED_IO_SECONDS = _counter(
    "weighted_io_seconds",
    "seconds",
    "Time summed over the requests in flight.",
    "io_time_weighted_seconds",
    "system.disk.weighted_io_time",
)
IN_FLIGHT = Metric(
    "disk_in_flight",
    Kind.GAUGE,
    "operations",
    "Requests that the device has not answered yet.",
    peak=True,
    detail=True,
    exporter="node_disk_io_now",
    otel="system.disk.pending_operations",
)
READS_MERGED = _counter(
    "reads_merged", "operations", "Reads joined with a neighbour.", "reads_merged", "system.disk.merged", detail=True
)
WRITES_MERGED = _counter(
    "writes_merged", "operations", "Writes joined with a neighbour.", "writes_merged", "system.disk.merged", detail=True
)
DISCARDS = _counter("discards", "operations", "Discards of unused space completed.", "discards_completed", detail=True)
DISCARDED_BYTES = _counter("discarded_bytes", "bytes", "Bytes discarded.", "discarded_sectors", detail=True)
DISCARD_SECONDS = _counter(
    "discard_seconds", "seconds", "Time that discards took, summed.", "discard_time_seconds", detail=True
)
FLUSHES = _counter("flushes", "operations", "Flushes of the device's cache completed.", "flush_requests", detail=True)
FLUSH_SECONDS = _counter(
    "flush_seconds", "seconds", "Time that flushes took, summed.", "flush_requests_time_seconds", detail=True
)

COLUMNS = (
    Column(READS, 3),
    Column(WRITES, 7),
    Column(READ_BYTES, 5, SECTOR_BYTES),
    Column(WRITTEN_BYTES, 9, SECTOR_BYTES),
    Column(IO_SECONDS, 12, 0.001),
    Column(WEIGHTED_IO_SECONDS, 13, 0.001),
    Column(READ_SECONDS, 6, 0.001),
    Column(WRITE_SECONDS, 10, 0.001),
    Column(IN_FLIGHT, 11),
    Column(READS_MERGED, 4),
    Column(WRITES_MERGED, 8),
    Column(DISCARDS, 14),  # these three since Linux 4.18
    Column(DISCARDED_BYTES, 16, SECTOR_BYTES),
    Column(DISCARD_SECONDS, 17, 0.001),
    Column(FLUSHES, 18),  # these two since 5.5
    Column(FLUSH_SECONDS, 19, 0.001),
)
METRICS = tuple(column.metric for column in COLUMNS)
FIELDS = 14
"""A line has at least so many, device numbers and name included."""

VIRTUAL = (b"loop", b"ram", b"zram", b"fd", b"sr")

Traffic = tuple[bytes, tuple[float, ...]]
"""A disk's name, and its values in the order of `METRICS`: as many as its kernel tells."""


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


class Diskstats:
    """Parses ``/proc/diskstats`` again and again; a line that did not change is not parsed anew."""

    __slots__ = ("_disks", "_known")

    def __init__(self, disks: WholeDisks) -> None:
        self._disks = disks
        self._known: dict[bytes, Traffic | None] = {}

    def parse(self, data: bytes) -> list[Traffic]:
        """Return the traffic of whole disks.

        Raises
        ------
        InvalidSampleError
            If `data` is nonsense.
        """
        before, self._known = self._known, {}
        self._known = _parse_diskstats(data, self._disks, before)
        return [traffic for traffic in self._known.values() if traffic is not None]


@parser("disk")
def _parse_diskstats(
    data: bytes, disks: WholeDisks, before: dict[bytes, Traffic | None]
) -> dict[bytes, Traffic | None]:
    return {line: before[line] if line in before else _parse_disk(line.split(), disks) for line in data.splitlines()}


def _parse_disk(fields: list[bytes], disks: WholeDisks) -> Traffic | None:
    name = fields[2]
    if name not in disks:
        return None
    if len(fields) < FIELDS:
        raise ValueError("a disk has fewer than eleven numbers")
    numbers = naturals(fields[3:])
    told = [column for column in COLUMNS if column.place < len(fields)]
    return name, tuple(numbers[column.place - 3] * column.factor for column in told)


class Disk(Parts):
    """Traffic of whole disks, and space on local filesystems."""

    name = "disk"
    metrics = METRICS + FILESYSTEM_METRICS

    def __init__(self, host: Host) -> None:
        self._mounts = MountTable(host)
        super().__init__(_Traffic(host), Filesystems(self._mounts.mounts, host.clock))

    def close(self) -> None:
        """Close the files."""
        super().close()
        self._mounts.close()


class _Traffic:
    """What ``/proc/diskstats`` says."""

    def __init__(self, host: Host) -> None:
        self._file = ProcFile(host.proc_root / "diskstats", source=Disk.name, single=False)
        self._diskstats = Diskstats(WholeDisks(host.sys_root))
        self._shape: list[tuple[bytes, int]] = []
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        disks = self._diskstats.parse(self._file.read())
        shape = [(name, len(values)) for name, values in disks]
        if shape != self._shape:
            self._shape, self._series = shape, _series(shape)
        return Reading(self._series, [value for _, values in disks for value in values])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _series(shape: list[tuple[bytes, int]]) -> tuple[Series, ...]:
    return tuple(Series(metric, (("device", shown(device)),)) for device, told in shape for metric in METRICS[:told])
