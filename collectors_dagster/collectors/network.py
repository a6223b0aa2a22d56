"""Traffic per network interface: ``/proc/net/dev``."""

from collectors_dagster.collectors.procfs import ProcFile, natural, parser, shown
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric


def _counter(name: str, unit: str, text: str) -> Metric:
    return Metric(f"network_{name}_total", Kind.COUNTER, unit, text)


METRICS = (
    _counter("receive_bytes", "bytes", "Bytes received."),
    _counter("transmit_bytes", "bytes", "Bytes sent."),
    _counter("receive_packets", "packets", "Packets received."),
    _counter("transmit_packets", "packets", "Packets sent."),
    _counter("receive_errors", "packets", "Packets received broken."),
    _counter("transmit_errors", "packets", "Packets that failed to be sent."),
    _counter("receive_drops", "packets", "Packets received and dropped."),
    _counter("transmit_drops", "packets", "Packets dropped instead of sent."),
)
COLUMNS = (0, 8, 1, 9, 2, 10, 3, 11)
"""Where each of `METRICS` stands behind the interface's colon."""


def observed(interface: bytes) -> bool:
    """Tell whether traffic of `interface` leaves or enters the host: not the loopback, not containers' inner ends."""
    return interface != b"lo" and not interface.startswith(b"veth")


@parser("network")
def parse_net_dev(data: bytes) -> tuple[tuple[bytes, ...], list[float]]:
    """Return the interfaces observed, and for each the values of `METRICS` in turn."""
    names: list[bytes] = []
    values: list[float] = []
    for line in data.splitlines()[2:]:
        interface, colon, counters = line.partition(b":")
        name = interface.strip()
        if not colon or not name:
            raise ValueError("a line without an interface")
        if observed(name):
            fields = counters.split()
            names.append(name)
            values += [float(natural(fields[column])) for column in COLUMNS]
    return tuple(names), values


class Network:
    """Traffic counters of the kernel."""

    name = "network"
    metrics = METRICS

    def __init__(self, host: Host) -> None:
        self._dev = ProcFile(host.proc_root / "net/dev", source=self.name, single=False)
        self._interfaces: tuple[bytes, ...] = ()
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        interfaces, values = parse_net_dev(self._dev.read())
        if interfaces != self._interfaces:
            self._interfaces, self._series = interfaces, _series(interfaces)
        return Reading(self._series, values)

    def close(self) -> None:
        """Close the file."""
        self._dev.close()


def _series(interfaces: tuple[bytes, ...]) -> tuple[Series, ...]:
    return tuple(Series(metric, (("interface", shown(interface)),)) for interface in interfaces for metric in METRICS)
