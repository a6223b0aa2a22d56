"""Sockets in use and the memory they hold: ``/proc/net/sockstat`` and ``/proc/net/sockstat6``."""

from collectors_dagster.collectors.parts import Parts, Picked
from collectors_dagster.collectors.procfs import GroupedFile, OptionalFile, ProcFile, parser
from collectors_dagster.collectors.protocol import Host, Series
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
    """Return the numbers for the keys of `layout`."""
    return layout.pick(data)


class Sockets(Parts):
    """Sockets of the network namespace that the agent runs in."""

    name = "sockets"
    interval_seconds = 5.0
    metrics = METRICS

    def __init__(self, host: Host) -> None:
        net = host.proc_root / "net"
        files = (
            ProcFile(net / "sockstat", source=self.name, single=True),
            # IPv6 is left out where the kernel does not speak it.
            OptionalFile(net / "sockstat6", source=self.name, single=True, clock=host.clock),
        )
        factors = dict.fromkeys(IN_PAGES, host.page_bytes)
        super().__init__(
            *(Picked(file, GroupedFile(tuple(SERIES), factors), parse_sockstat, SERIES.__getitem__) for file in files)
        )
