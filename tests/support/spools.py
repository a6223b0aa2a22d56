"""Spools in temporary directories, and what is written into them."""

from array import array
from collections.abc import Sequence
from pathlib import Path

from collectors_dagster.agent.form import Form
from collectors_dagster.agent.quota import Quotas
from collectors_dagster.agent.reader import Observation, SpoolReader
from collectors_dagster.agent.records import SegmentHeader
from collectors_dagster.agent.spool import Spool, SpoolLimits
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.runner import Column, Sweep
from collectors_dagster.samples import Kind, Metric
from collectors_dagster.security.sealing import Sealer

LOAD = Column("load", Metric("load1", Kind.GAUGE, "processes", "", peak=True))
READS = Column("disk", Metric("disk_reads_total", Kind.COUNTER, "operations", ""), (("device", "vda"),))
COLUMNS = (LOAD, READS)
HEADER = SegmentHeader("agent-1", "epoch-1", "boot-1", "host-1")


def limits(
    max_bytes: int = 10**9, max_hours: float = 10**6, recorder_max_bytes: int = 10**9, recorder_hours: float = 24.0
) -> SpoolLimits:
    """Return limits that leave room where nothing else is said."""
    return SpoolLimits(Quotas(max_bytes, max_hours, recorder_max_bytes, recorder_hours), fsync_interval_seconds=5.0)


AMPLE = limits()


def open_spool(
    directory: Path,
    clock: ManualClock,
    limits: SpoolLimits = AMPLE,
    header: SegmentHeader = HEADER,
    sealer: Sealer | None = None,
    *,
    form: Form | None = None,
) -> Spool:
    """Return a spool of one host."""
    return Spool(directory, header, limits, clock, form or Form(sealer))


def sweep(*values: float, columns: tuple[Column, ...] = COLUMNS) -> Sweep:
    """Return a sweep with these values."""
    return Sweep(columns, array("d", values))


def append_seconds(
    spool: Spool,
    clock: ManualClock,
    values: Sequence[tuple[float, ...]],
    columns: tuple[Column, ...] = COLUMNS,
) -> list[int | None]:
    """Append one sweep a second, with the upkeep after each as the sampler does; return the numbers given."""
    numbers = []
    for row in values:
        clock.sleep(1)
        wall_ns = int(clock.now().timestamp()) * 10**9
        numbers.append(spool.append(sweep(*row, columns=columns), wall_ns, round(clock.monotonic() * 1e9)))
        spool.tend()
    return numbers


def read_all(reader: SpoolReader) -> list[Observation]:
    """Return everything that a reader still finds."""
    found = []
    while more := reader.read():
        found += more
    return found


def read_spool(directory: Path, from_seq: int = 0, sealer: Sealer | None = None) -> list[Observation]:
    """Return everything that a new reader finds."""
    reader = SpoolReader(directory, from_seq, sealer)
    found = read_all(reader)
    reader.close()
    return found
