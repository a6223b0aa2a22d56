"""Load averages: ``/proc/loadavg``."""

import math

from collectors_dagster.collectors.procfs import ProcFile, parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric

METRICS = tuple(
    Metric(
        f"load{minutes}",
        Kind.GAUGE,
        "processes",
        f"Runnable and blocked threads, averaged over {minutes} min.",
        exporter=f"node_load{minutes}",
        otel=f"system.cpu.load_average.{minutes}m",
    )
    for minutes in (1, 5, 15)
)
SERIES = tuple(Series(metric) for metric in METRICS)


@parser("load")
def parse_loadavg(data: bytes) -> list[float]:
    """Return the averages over 1, 5 and 15 minutes.

    Examples
    --------
    >>> parse_loadavg(b"0.36 0.16 0.12 2/91 10053")
    [0.36, 0.16, 0.12]
    """
    averages = list(map(float, data.split(None, 3)[:3]))
    if len(averages) < 3 or min(averages) < 0 or not math.isfinite(sum(averages)):
        raise ValueError("three averages expected")
    return averages


class Load:
    """Load averages of the kernel."""

    name = "load"
    metrics = METRICS

    def __init__(self, host: Host) -> None:
        self._loadavg = ProcFile(host.proc_root / "loadavg", source=self.name, single=True)

    def read(self) -> Reading:
        """Return the present values."""
        return Reading(SERIES, parse_loadavg(self._loadavg.read()))

    def close(self) -> None:
        """Close the file."""
        self._loadavg.close()
