"""Time on and before the cores: ``/proc/schedstat`` (absent where the kernel was built without it)."""

from collectors_dagster.collectors.parts import NOTHING
from collectors_dagster.collectors.procfs import OptionalFile, naturals, parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric

METRICS = (
    Metric(
        "scheduler_running_seconds_total",
        Kind.COUNTER,
        "seconds",
        "Time that threads ran, over all cores.",
        detail=True,
        exporter="node_schedstat_running_seconds_total",
    ),
    Metric(
        "scheduler_waiting_seconds_total",
        Kind.COUNTER,
        "seconds",
        "Time that runnable threads waited for a core, over all cores.",
        detail=True,
        exporter="node_schedstat_waiting_seconds_total",
    ),
    Metric(
        "scheduler_timeslices_total",
        Kind.COUNTER,
        "operations",
        "Times that a thread was given a core.",
        detail=True,
        exporter="node_schedstat_timeslices_total",
    ),
)
SERIES = tuple(Series(metric) for metric in METRICS)


@parser("cpu")
def parse_schedstat(data: bytes) -> list[float]:
    r"""Return the values of `METRICS`, summed over the cores.

    Examples
    --------
    >>> parse_schedstat(b"version 15\ntimestamp 1\ncpu0 0 0 0 0 0 0 2000000000 500000000 7\n")
    [2.0, 0.5, 7]
    """
    cores = [naturals(line.split()[7:10]) for line in data.splitlines() if line.startswith(b"cpu")]
    if not cores or min(map(len, cores)) < 3:
        raise ValueError("three times of each core expected")
    running, waiting, timeslices = map(sum, zip(*cores, strict=True))
    return [running / 1e9, waiting / 1e9, timeslices]


class Schedstat:
    """Waiting for a core, in the scheduler's own nanoseconds."""

    def __init__(self, host: Host) -> None:
        self._file = OptionalFile(host.proc_root / "schedstat", source="cpu", single=False, clock=host.clock)

    def read(self) -> Reading:
        """Return the present values; none on a kernel that does not count."""
        data = self._file.read()
        return Reading(SERIES, parse_schedstat(data)) if data else NOTHING

    def close(self) -> None:
        """Close the file."""
        self._file.close()
