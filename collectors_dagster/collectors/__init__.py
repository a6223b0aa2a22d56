"""One small file per source, a protocol, and the runner that times, isolates, limits and counts them.

Collectors only read and parse. What their values mean for a tenant (resolution, rates) is the agent's
business; drivers, numpy and Dagster are not imported here. A new source is a file here, a recorded tree in
``tests/data`` and a line in :data:`COLLECTORS`.
"""

import sys

from collectors_dagster.collectors.cgroup import Cgroup
from collectors_dagster.collectors.clock import Clock
from collectors_dagster.collectors.cpu import Cpu
from collectors_dagster.collectors.disk import Disk
from collectors_dagster.collectors.gpu import Gpu
from collectors_dagster.collectors.limits import Limits
from collectors_dagster.collectors.load import Load
from collectors_dagster.collectors.memory import Memory
from collectors_dagster.collectors.network import Network
from collectors_dagster.collectors.pressure import Pressure
from collectors_dagster.collectors.process import Processes
from collectors_dagster.collectors.protocol import Collector, CollectorFactory, Host
from collectors_dagster.collectors.protocols import Protocols
from collectors_dagster.collectors.sockets import Sockets

COLLECTORS: list[CollectorFactory] = [
    Cpu,
    Load,
    Memory,
    Disk,
    Network,
    Pressure,
    Protocols,
    Sockets,
    Limits,
    Clock,
    Gpu,
    Cgroup,
    Processes,
]
"""Sources of a Linux host, in the order of a sweep, which is the order of who gets a place among a tenant's series."""


def collectors_of(host: Host) -> list[Collector]:
    """Return the collectors for the machine we run on: elsewhere than on Linux, what psutil can tell."""
    if sys.platform == "linux":
        factories = COLLECTORS
    else:
        from collectors_dagster.collectors.portable import PORTABLE  # noqa: PLC0415 - only where it is used

        factories = PORTABLE
    return [collector(host) for collector in factories]
