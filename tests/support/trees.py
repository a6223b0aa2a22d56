"""Hosts read from recorded files instead of the kernel."""

from pathlib import Path

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.protocol import Host, Reading, Watched
from collectors_dagster.scopes import Scope

DATA = Path(__file__).parents[1] / "data"


def recorded_host(tree: str, clock: ManualClock | None = None) -> Host:
    """Return a host whose procfs and sysfs lie under ``tests/data/<tree>``."""
    return host_at(DATA / tree, clock)


def host_at(root: Path, clock: ManualClock | None = None, *scopes: Scope) -> Host:
    """Return a host whose procfs and sysfs lie under `root`, observed as a whole unless `scopes` say otherwise."""
    watched = Watched(*(scopes or (Scope(),)))
    return Host(clock or ManualClock(), root / "proc", root / "sys", 100, 4096, root / "etc", watched)


def by_name(reading: Reading) -> dict[str, float]:
    """Return the values by metric name and label values: ``disk_reads_total/sda``."""
    return {
        "/".join((series.metric.name, *(value for _, value in series.labels))): value
        for series, value in zip(reading.series, reading.values, strict=True)
    }
