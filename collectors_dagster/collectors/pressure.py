"""Pressure stall information: ``/proc/pressure`` (Linux 4.20 and later)."""

from collectors_dagster.collectors.procfs import ProcFile, natural, parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric


def _metric(resource: str, state: str, text: str) -> Metric:
    name = f"pressure_{resource}_{state}_seconds_total"
    return Metric(name, Kind.COUNTER, "seconds", text, exporter=f"node_{name}")


STATES = {
    "cpu": {b"some": _metric("cpu", "waiting", "Time in which some task waited for a core.")},
    "memory": {
        b"some": _metric("memory", "waiting", "Time in which some task waited for memory."),
        b"full": _metric("memory", "stalled", "Time in which all tasks waited for memory."),
    },
    "io": {
        b"some": _metric("io", "waiting", "Time in which some task waited for input or output."),
        b"full": _metric("io", "stalled", "Time in which all tasks waited for input or output."),
    },
}
METRICS = tuple(metric for states in STATES.values() for metric in states.values())
SERIES = tuple(Series(metric) for metric in METRICS)


@parser("pressure")
def parse_pressure(data: bytes) -> dict[bytes, float]:
    r"""Return the seconds stalled so far, by state.

    Examples
    --------
    >>> parse_pressure(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n")
    {b'some': 2.5}
    """
    totals = {}
    for line in data.splitlines():
        state, _, fields = line.partition(b" ")
        _, found, total = fields.rpartition(b" total=")
        if not found:
            raise ValueError("a line without total")
        totals[state] = natural(total) / 1e6
    return totals


class Pressure:
    """Pressure stall totals of the kernel: counters, because its averages cannot be averaged again."""

    name = "pressure"
    metrics = METRICS

    def __init__(self, host: Host) -> None:
        self._files = [
            (ProcFile(host.proc_root / "pressure" / resource, source=self.name, single=True), tuple(states))
            for resource, states in STATES.items()
        ]

    def read(self) -> Reading:
        """Return the present values."""
        values: list[float] = []
        for file, states in self._files:
            totals = parse_pressure(file.read())
            values += [totals.get(state, float("nan")) for state in states]
        return Reading(SERIES, values)

    def close(self) -> None:
        """Close the files."""
        for file, _ in self._files:
            file.close()
