"""The same sources through psutil: the way on macOS and Windows, and the oracle of the tests on Linux.

A metric that the platform does not tell is left out; pressure, protocols, sockets, kernel limits and cgroups are told
on Linux only.
"""

from collectors_dagster.collectors.portable.clock import PortableClock
from collectors_dagster.collectors.portable.cpu import PortableCpu
from collectors_dagster.collectors.portable.disk import PortableDisk
from collectors_dagster.collectors.portable.load import PortableLoad
from collectors_dagster.collectors.portable.memory import PortableMemory
from collectors_dagster.collectors.portable.network import PortableNetwork
from collectors_dagster.collectors.portable.process import PortableProcesses
from collectors_dagster.collectors.protocol import CollectorFactory

PORTABLE: list[CollectorFactory] = [
    PortableCpu,
    PortableLoad,
    PortableMemory,
    PortableDisk,
    PortableNetwork,
    PortableClock,
    PortableProcesses,
]
