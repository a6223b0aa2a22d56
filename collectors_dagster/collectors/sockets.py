"""Sockets in use and the memory they hold: ``/proc/net/sockstat`` and ``/proc/net/sockstat6``."""

from operator import mul

from collectors_dagster.collectors.parts import Parts
from collectors_dagster.collectors.procfs import GroupedFile, OptionalFile, ProcFile, parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric

ALWAYS = frozenset({"sockets_used", "TCP_tw"})
"""What is stored for every tenant, by the kernel's names; the rest is detail."""


def _gauge(name: str, unit: str, text: str, key: str) -> Metric:
    return Metric(name, Kind.GAUGE, unit, text, detail=key not in ALWAYS, exporter=f"node_sockstat_{key}")


USED = _gauge("sockets", "sockets", "Sockets of all kinds.", "sockets_used")
IN_USE = _gauge("sockets_in_use", "sockets", "Sockets per protocol.", "*_inuse")
TCP_ORPHANED = _gauge("tcp_orphaned", "sockets", "TCP sockets that no program holds any more.", "TCP_orphan")
TCP_TIME_WAIT = _gauge("tcp_time_wait", "sockets", "Closed connections that wait for stragglers.", "TCP_tw")
TCP_ALLOCATED = _gauge("tcp_allocated", "sockets", "TCP sockets in any state.", "TCP_alloc")
MEMORY = _gauge("socket_memory_bytes", "bytes", "Memory in the buffers of all sockets of a protocol.", "*_mem_bytes")
FRAGMENTS = _gauge(
    "ip_fragments_in_use", "packets", "Packets whose parts have not all come, per protocol.", "FRAG*_inuse"
)
FRAGMENT_MEMORY = _gauge("ip_fragment_memory_bytes", "bytes", "Memory that their parts take.", "FRAG*_memory")
METRICS = (USED, IN_USE, TCP_ORPHANED, TCP_TIME_WAIT, TCP_ALLOCATED, MEMORY, FRAGMENTS, FRAGMENT_MEMORY)


def _of(metric: Metric, protocol: str) -> Series:
    return Series(metric, (("protocol", protocol),))


SERIES = {
    b"sockets:used": Series(USED),
    b"TCP:orphan": Series(TCP_ORPHANED),
    b"TCP:tw": Series(TCP_TIME_WAIT),
    b"TCP:alloc": Series(TCP_ALLOCATED),
    b"TCP:mem": _of(MEMORY, "tcp"),
    b"UDP:mem": _of(MEMORY, "udp"),
    b"FRAG:inuse": _of(FRAGMENTS, "ip"),
    b"FRAG:memory": _of(FRAGMENT_MEMORY, "ip"),
    b"FRAG6:inuse": _of(FRAGMENTS, "ip6"),
    b"FRAG6:memory": _of(FRAGMENT_MEMORY, "ip6"),
    **{
        f"{protocol}:inuse".encode(): _of(IN_USE, protocol.lower())
        for protocol in ("TCP", "UDP", "UDPLITE", "RAW", "TCP6", "UDP6", "UDPLITE6", "RAW6")
    },
}
IN_PAGES = frozenset({b"TCP:mem", b"UDP:mem"})


@parser("sockets")
def parse_sockstat(data: bytes, layout: GroupedFile) -> list[int]:
    """Return the numbers for the keys of `layout`; memory in pages."""
    return layout.pick(data)


class Sockets:
    """Sockets of the network namespace that the agent runs in."""

    name = "sockets"
    interval_seconds = 5.0
    metrics = METRICS

    def __init__(self, host: Host) -> None:
        net = host.proc_root / "net"
        self._parts = Parts(
            _Table(ProcFile(net / "sockstat", source=self.name, single=True), host.page_bytes),
            _Table(OptionalFile(net / "sockstat6", source=self.name, single=True, clock=host.clock), host.page_bytes),
        )

    def read(self) -> Reading:
        """Return the present values; IPv6 is left out where the kernel does not speak it."""
        return self._parts.read()

    def close(self) -> None:
        """Close the files."""
        self._parts.close()


class _Table:
    """One of the two files."""

    def __init__(self, file: ProcFile, page_bytes: int) -> None:
        self._file = file
        self._page_bytes = page_bytes
        self._layout = GroupedFile(tuple(SERIES))
        self._factors: tuple[int, ...] = ()
        self._present: tuple[bytes, ...] = ()
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        values = parse_sockstat(self._file.read(), self._layout)
        if self._layout.present != self._present:
            self._present = self._layout.present
            self._series = tuple(SERIES[key] for key in self._present)
            self._factors = tuple(self._page_bytes if key in IN_PAGES else 1 for key in self._present)
        return Reading(self._series, list(map(mul, values, self._factors)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
