"""Traffic per network interface and state of its link through psutil."""

import psutil

from collectors_dagster.collectors.link import BYTES_PER_MEGABIT, MTU, REFRESH_SECONDS, SPEED, UP
from collectors_dagster.collectors.network import METRICS, observed
from collectors_dagster.collectors.parts import Slowly
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Metric

FIELDS = ("bytes_recv", "bytes_sent", "packets_recv", "packets_sent", "errin", "errout", "dropin", "dropout")
"""What psutil calls each of the first `METRICS`; the others it does not know."""
TRAFFIC = METRICS[: len(FIELDS)]


class PortableNetwork:
    """Traffic counters and link per interface."""

    name = "network"
    metrics = (*TRAFFIC, UP, SPEED, MTU)

    def __init__(self, host: Host) -> None:
        self._links = Slowly(_links, host.clock, REFRESH_SECONDS)
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        values: dict[Series, float] = {}
        for name, counters in psutil.net_io_counters(pernic=True, nowrap=False).items():
            if observed(name.encode()):
                values |= {
                    _of(metric, name): getattr(counters, field) for metric, field in zip(TRAFFIC, FIELDS, strict=True)
                }
        values |= self._links()
        if tuple(values) != self._series:
            self._series = tuple(values)
        return Reading(self._series, list(values.values()))

    def close(self) -> None:
        """Nothing is held."""


def _of(metric: Metric, interface: str) -> Series:
    return Series(metric, (("interface", interface),))


def _links() -> dict[Series, float]:
    said: dict[Series, float] = {}
    for name, link in psutil.net_if_stats().items():
        if observed(name.encode()):
            said[_of(UP, name)] = float(link.isup)
            said[_of(MTU, name)] = link.mtu
            if link.speed:  # 0 stands for unknown
                said[_of(SPEED, name)] = link.speed * BYTES_PER_MEGABIT
    return said
