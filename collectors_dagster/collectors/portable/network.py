"""Traffic per network interface through psutil."""

import psutil

from collectors_dagster.collectors.network import METRICS, observed
from collectors_dagster.collectors.protocol import Host, Reading, Series

FIELDS = ("bytes_recv", "bytes_sent", "packets_recv", "packets_sent", "errin", "errout", "dropin", "dropout")
"""What psutil calls each of `METRICS`."""


class PortableNetwork:
    """Traffic counters per interface."""

    name = "network"
    metrics = METRICS

    def __init__(self, host: Host) -> None:
        self._interfaces: tuple[str, ...] = ()
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        traffic = {
            name: counters
            for name, counters in psutil.net_io_counters(pernic=True, nowrap=False).items()
            if observed(name.encode())
        }
        if tuple(traffic) != self._interfaces:
            self._interfaces = tuple(traffic)
            self._series = tuple(
                Series(metric, (("interface", name),)) for name in self._interfaces for metric in METRICS
            )
        return Reading(self._series, [getattr(counters, name) for counters in traffic.values() for name in FIELDS])

    def close(self) -> None:
        """Nothing is held."""
