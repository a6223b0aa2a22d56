"""Pressure stall information: ``/proc/pressure`` (Linux 4.20 and later)."""

from collectors_dagster.collectors.parts import Parts, Picked
from collectors_dagster.collectors.procfs import KeyedFile, ProcFile, natural, parser
from collectors_dagster.collectors.protocol import Host, Series
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


class StallFile(KeyedFile):
    r"""Where the totals stand in a file of ``/proc/pressure``.

    Examples
    --------
    >>> layout = StallFile((b"some", b"full"))
    >>> layout.pick(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=25\n".replace(b"=", b" "))
    [25]
    >>> layout.present
    (b'some',)
    """

    __slots__ = ()

    def _find(self, tokens: list[bytes]) -> None:
        state, words, found = b"", [], []
        for at, token in enumerate(tokens[:-1]):
            if token in self._keys:
                state = token
                words.append(at)
            elif token == b"total" and state:
                words.append(at)
                found.append((at + 1, state))
                state = b""
        if not found or len(words) != 2 * len(found):
            raise ValueError("a line without total")
        self._adopt(tokens, words, found)


@parser("pressure")
def parse_stalls(data: bytes, layout: StallFile) -> list[float]:
    """Return the seconds stalled so far in the states that `layout` found."""
    return [micros / 1e6 for micros in layout.pick(data.replace(b"=", b" "))]


class Pressure(Parts):
    """Pressure stall totals of the kernel: counters, because its averages cannot be averaged again."""

    name = "pressure"
    metrics = METRICS

    def __init__(self, host: Host) -> None:
        super().__init__(*(self._stalls(host, resource, states) for resource, states in STATES.items()))

    def _stalls(self, host: Host, resource: str, states: dict[bytes, Metric]) -> Picked[StallFile]:
        file = ProcFile(host.proc_root / "pressure" / resource, source=self.name, single=True)
        return Picked(file, StallFile(tuple(states)), parse_stalls, lambda state: Series(states[state]))
