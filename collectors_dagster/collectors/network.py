"""Traffic per network interface and state of its link: ``/proc/net/dev`` and sysfs."""

from dataclasses import replace

from collectors_dagster.collectors.link import METRICS as LINK_METRICS
from collectors_dagster.collectors.link import Links
from collectors_dagster.collectors.procfs import ProcFile, naturals, parser, picker, shown
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric


def _counter(
    name: str,
    unit: str,
    text: str,
    exporter: str,
    otel: str | None = None,
    *,
    detail: bool = False,
    cumulative: bool = False,
) -> Metric:
    foreign = f"node_network_{exporter}_total"
    counter = Metric(f"network_{name}_total", Kind.COUNTER, unit, text, detail=detail, exporter=foreign, otel=otel)
    return replace(counter, cumulative=cumulative)


IO, PACKETS, ERRORS, DROPS = (f"system.network.{each}" for each in ("io", "packet.count", "errors", "packet.dropped"))
METRICS = (
    _counter("receive_bytes", "bytes", "Bytes received.", "receive_bytes", IO),
    _counter("transmit_bytes", "bytes", "Bytes sent.", "transmit_bytes", IO),
    _counter("receive_packets", "packets", "Packets received.", "receive_packets", PACKETS),
    _counter("transmit_packets", "packets", "Packets sent.", "transmit_packets", PACKETS),
    _counter("receive_errors", "packets", "Packets received broken.", "receive_errs", ERRORS, cumulative=True),
    _counter("transmit_errors", "packets", "Packets that failed to be sent.", "transmit_errs", ERRORS, cumulative=True),
    _counter("receive_drops", "packets", "Packets received and dropped.", "receive_drop", DROPS),
    _counter("transmit_drops", "packets", "Packets dropped instead of sent.", "transmit_drop", DROPS),
    _counter("receive_multicast", "packets", "Multicast packets received.", "receive_multicast", detail=True),
    _counter("receive_overruns", "packets", "Packets lost because a queue was full.", "receive_fifo", detail=True),
)
COLUMNS = (0, 8, 1, 9, 2, 10, 3, 11, 7, 4)
"""Where each of `METRICS` stands behind the interface's colon."""
WIDTH = 16

Traffic = tuple[bytes, list[int]]
"""An interface's name, and its values in the order of `METRICS`."""

_pick = picker(COLUMNS)


def observed(interface: bytes) -> bool:
    """Tell whether traffic of `interface` leaves or enters the host: not the loopback, not containers' inner ends."""
    return interface != b"lo" and not interface.startswith(b"veth")


class NetDev:
    """Parses ``/proc/net/dev`` again and again; a line that did not change is not parsed anew."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[bytes, Traffic | None] = {}

    def parse(self, data: bytes) -> list[Traffic]:
        """Return the traffic of the interfaces observed.

        Raises
        ------
        InvalidSampleError
            If `data` is nonsense.
        """
        before, self._lines = self._lines, {}
        self._lines = _parse_net_dev(data, before)
        return [traffic for traffic in self._lines.values() if traffic is not None]


@parser("network")
def _parse_net_dev(data: bytes, before: dict[bytes, Traffic | None]) -> dict[bytes, Traffic | None]:
    return {line: before[line] if line in before else _parse_interface(line) for line in data.splitlines()[2:]}


def _parse_interface(line: bytes) -> Traffic | None:
    interface, colon, counters = line.partition(b":")
    name = interface.strip()
    if not colon or not name:
        raise ValueError("a line without an interface")
    if not observed(name):
        return None
    fields = counters.split()
    if len(fields) != WIDTH:
        raise ValueError("an interface has not sixteen numbers")
    return name, naturals(_pick(fields))


class Network:
    """Traffic counters and links of the kernel's interfaces."""

    name = "network"
    metrics = METRICS + LINK_METRICS

    def __init__(self, host: Host) -> None:
        self._dev = ProcFile(host.proc_root / "net/dev", source=self.name, single=False)
        self._traffic = NetDev()
        self._links = Links(host)
        self._shape: tuple[tuple[bytes, ...], tuple[Series, ...]] = ((), ())
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        traffic = self._traffic.parse(self._dev.read())
        interfaces = tuple([name for name, _ in traffic])
        links = self._links.read(interfaces)
        if interfaces != self._shape[0] or links.series is not self._shape[1]:
            self._shape = (interfaces, links.series)
            self._series = (*_series(interfaces), *links.series)
        values: list[float] = [value for _, values in traffic for value in values]
        values += links.values
        return Reading(self._series, values)

    def close(self) -> None:
        """Close the file."""
        self._dev.close()


def _series(interfaces: tuple[bytes, ...]) -> tuple[Series, ...]:
    return tuple(Series(metric, (("interface", shown(interface)),)) for interface in interfaces for metric in METRICS)
