"""The links under the network interfaces: sysfs ``class/net``."""

import os

from collectors_dagster.collectors.procfs import attribute, shown
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric

REFRESH_SECONDS = 10.0
"""Links change seldom; they are asked this often, and when an interface comes or goes."""
BYTES_PER_MEGABIT = 125_000

UP = Metric(
    "network_up",
    Kind.GAUGE,
    "flag",
    "1 if the interface is switched on and sees its link.",
    exporter="node_network_carrier",
)
SPEED = Metric(
    "network_speed_bytes_per_second",
    Kind.GAUGE,
    "bytes_per_second",
    "Negotiated speed, for links that have one.",
    detail=True,
    exporter="node_network_speed_bytes",
)
MTU = Metric(
    "network_mtu_bytes",
    Kind.GAUGE,
    "bytes",
    "Largest packet that is sent in one piece.",
    detail=True,
    exporter="node_network_mtu_bytes",
)
CHANGES = Metric(
    "network_link_changes_total",
    Kind.COUNTER,
    "operations",
    "Times that the link came or went.",
    detail=True,
    exporter="node_network_carrier_changes_total",
)
METRICS = (UP, SPEED, MTU, CHANGES)

ATTRIBUTES = ((SPEED, "speed", BYTES_PER_MEGABIT), (MTU, "mtu", 1), (CHANGES, "carrier_changes", 1))


class Links:
    """State of the links, refreshed every `REFRESH_SECONDS`."""

    def __init__(self, host: Host) -> None:
        self._root = str(host.sys_root / "class/net")
        self._clock = host.clock
        self._due = float("-inf")
        self._interfaces: tuple[bytes, ...] = ()
        self._shape: list[tuple[bytes, Metric]] = []
        self._reading = Reading((), ())

    def read(self, interfaces: tuple[bytes, ...]) -> Reading:
        """Return the latest values; an interface that has just vanished has none."""
        if interfaces != self._interfaces or self._clock.monotonic() >= self._due:
            self._interfaces = interfaces
            self._due = self._clock.monotonic() + REFRESH_SECONDS
            self._reading = self._asked()
        return self._reading

    def _asked(self) -> Reading:
        said = [(name, metric, value) for name in self._interfaces for metric, value in _ask(self._root, name)]
        shape = [(name, metric) for name, metric, _ in said]
        series = self._reading.series
        if shape != self._shape:
            self._shape = shape
            series = tuple(Series(metric, (("interface", shown(name)),)) for name, metric in shape)
        return Reading(series, tuple(value for _, _, value in said))


def _ask(root: str, interface: bytes) -> list[tuple[Metric, float]]:
    link = f"{root}/{os.fsdecode(interface)}"
    up = attribute(f"{link}/carrier")
    if b"/" in interface or (up is None and not os.path.isdir(link)):  # noqa: PTH112 - a third of pathlib's price
        return []
    said = [(UP, float(up == b"1"))]
    for metric, name, factor in ATTRIBUTES:
        text = attribute(f"{link}/{name}")
        if text is not None and text.isdigit() and len(text) <= 20:  # a virtual link's speed is -1, or an error
            said.append((metric, float(int(text) * factor)))
    return said
