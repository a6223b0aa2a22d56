"""Spools in temporary directories, and what is written into them."""

from array import array
from collections.abc import Sequence
from pathlib import Path

from collectors_dagster.agent.reader import Observation, SpoolReader
from collectors_dagster.agent.records import SegmentHeader
from collectors_dagster.agent.spool import Spool, SpoolLimits
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.runner import Column, Sweep
from collectors_dagster.samples import Kind, Metric

LOAD = Column("load", Metric("load1", Kind.GAUGE, "processes", "", peak=True))
READS = Column("disk", Metric("disk_reads_total", Kind.COUNTER, "operations", ""), (("device", "vda"),))
COLUMNS = (LOAD, READS)
HEADER = SegmentHeader("agent-1", "epoch-1", "boot-1", "host-1")
AMPLE = SpoolLimits(max_bytes=10**9, hours=24.0, fsync_interval_seconds=5.0)


def open_spool(
    directory: Path, clock: ManualClock, limits: SpoolLimits = AMPLE, header: SegmentHeader = HEADER
) -> Spool:
    """Return a spool of one host."""
    return Spool(directory, header, limits, clock)


def sweep(*values: float, columns: tuple[Column, ...] = COLUMNS) -> Sweep:
    """Return a sweep with these values."""
    return Sweep(columns, array("d", values))


def append_seconds(
    spool: Spool,
    clock: ManualClock,
    values: Sequence[tuple[float, ...]],
    columns: tuple[Column, ...] = COLUMNS,
) -> list[int | None]:
    """Append one sweep a second; return the numbers given."""
    numbers = []
    for row in values:
        clock.sleep(1)
        wall_ns = int(clock.now().timestamp()) * 10**9
        numbers.append(spool.append(sweep(*row, columns=columns), wall_ns, round(clock.monotonic() * 1e9)))
    return numbers


def read_all(reader: SpoolReader) -> list[Observation]:
    """Return everything that a reader still finds."""
    found = []
    while more := reader.read():
        found += more
    return found


def read_spool(directory: Path, from_seq: int = 0) -> list[Observation]:
    """Return everything that a new reader finds."""
    reader = SpoolReader(directory, from_seq)
    found = read_all(reader)
    reader.close()
    return found
