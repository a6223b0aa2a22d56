"""What TCP, UDP, IP and ICMP count: ``/proc/net/snmp``, ``/proc/net/netstat``, ``/proc/net/snmp6``."""

from collectors_dagster.collectors.parts import Parts, Picked
from collectors_dagster.collectors.procfs import HeadedFile, KeyedFile, OptionalFile, ProcFile, parser
from collectors_dagster.collectors.protocol import Host, Series
from collectors_dagster.samples import Kind, Metric

ALWAYS = frozenset({"Tcp_OutSegs", "Tcp_RetransSegs", "TcpExt_ListenOverflows", "TcpExt_ListenDrops", "Udp_InErrors"})
"""Counters that are stored for every tenant, by the kernel's names; the rest is detail."""


def _counter(name: str, unit: str, text: str, key: str) -> Metric:
    foreign = f"node_netstat_{key}"
    return Metric(f"{name}_total", Kind.COUNTER, unit, text, detail=key not in ALWAYS, exporter=foreign)


TCP_ESTABLISHED = Metric(
    "tcp_established",
    Kind.GAUGE,
    "connections",
    "Connections established or about to be closed by the other side.",
    exporter="node_netstat_Tcp_CurrEstab",
    otel="system.network.connection.count",
)
SNMP = {
    b"Ip:InReceives": _counter("ip_receive_packets", "packets", "IPv4 packets received.", "Ip_InReceives"),
    b"Ip:OutRequests": _counter("ip_transmit_packets", "packets", "IPv4 packets sent from here.", "Ip_OutRequests"),
    b"Ip:ForwDatagrams": _counter("ip_forwarded_packets", "packets", "IPv4 packets passed on.", "Ip_ForwDatagrams"),
    b"Ip:InDiscards": _counter(
        "ip_receive_drops", "packets", "IPv4 packets dropped for want of memory.", "Ip_InDiscards"
    ),
    b"Ip:OutDiscards": _counter(
        "ip_transmit_drops", "packets", "IPv4 packets dropped before sending.", "Ip_OutDiscards"
    ),
    b"Ip:OutNoRoutes": _counter("ip_no_routes", "packets", "IPv4 packets without a way to go.", "Ip_OutNoRoutes"),
    b"Ip:ReasmFails": _counter(
        "ip_reassembly_failures", "operations", "IPv4 packets whose parts did not all come.", "Ip_ReasmFails"
    ),
    b"Icmp:InMsgs": _counter("icmp_receive_messages", "packets", "ICMP messages received.", "Icmp_InMsgs"),
    b"Icmp:OutMsgs": _counter("icmp_transmit_messages", "packets", "ICMP messages sent.", "Icmp_OutMsgs"),
    b"Icmp:InErrors": _counter("icmp_receive_errors", "packets", "ICMP messages received broken.", "Icmp_InErrors"),
    b"Icmp:InDestUnreachs": _counter(
        "icmp_unreachable", "packets", "Messages that something sent from here cannot arrive.", "Icmp_InDestUnreachs"
    ),
    b"Tcp:ActiveOpens": _counter("tcp_active_opens", "connections", "Connections opened from here.", "Tcp_ActiveOpens"),
    b"Tcp:PassiveOpens": _counter("tcp_passive_opens", "connections", "Connections accepted.", "Tcp_PassiveOpens"),
    b"Tcp:AttemptFails": _counter(
        "tcp_failed_opens", "connections", "Connections that did not come about.", "Tcp_AttemptFails"
    ),
    b"Tcp:EstabResets": _counter(
        "tcp_resets", "connections", "Established connections that were broken off.", "Tcp_EstabResets"
    ),
    b"Tcp:CurrEstab": TCP_ESTABLISHED,
    b"Tcp:InSegs": _counter("tcp_receive_segments", "packets", "Segments received.", "Tcp_InSegs"),
    b"Tcp:OutSegs": _counter(
        "tcp_transmit_segments", "packets", "Segments sent, without those sent again.", "Tcp_OutSegs"
    ),
    b"Tcp:RetransSegs": _counter("tcp_retransmits", "packets", "Segments sent again.", "Tcp_RetransSegs"),
    b"Tcp:InErrs": _counter("tcp_receive_errors", "packets", "Segments received broken.", "Tcp_InErrs"),
    b"Tcp:OutRsts": _counter("tcp_resets_sent", "packets", "Segments sent that break a connection off.", "Tcp_OutRsts"),
    b"Udp:InDatagrams": _counter("udp_receive_datagrams", "packets", "Datagrams received.", "Udp_InDatagrams"),
    b"Udp:OutDatagrams": _counter("udp_transmit_datagrams", "packets", "Datagrams sent.", "Udp_OutDatagrams"),
    b"Udp:NoPorts": _counter("udp_no_port", "packets", "Datagrams to ports where nobody listens.", "Udp_NoPorts"),
    b"Udp:InErrors": _counter(
        "udp_receive_errors", "packets", "Datagrams that could not be given to a program.", "Udp_InErrors"
    ),
    b"Udp:RcvbufErrors": _counter(
        "udp_receive_buffer_errors", "packets", "Part of them: the program reads too slowly.", "Udp_RcvbufErrors"
    ),
    b"Udp:SndbufErrors": _counter(
        "udp_send_buffer_errors", "packets", "Datagrams for which no buffer was free.", "Udp_SndbufErrors"
    ),
}
NETSTAT = {
    b"TcpExt:ListenOverflows": _counter(
        "tcp_listen_overflows",
        "connections",
        "Connections refused because a program accepts too slowly.",
        "TcpExt_ListenOverflows",
    ),
    b"TcpExt:ListenDrops": _counter(
        "tcp_listen_drops",
        "connections",
        "Connections that a listener dropped for whatever reason.",
        "TcpExt_ListenDrops",
    ),
    b"TcpExt:SyncookiesSent": _counter(
        "tcp_syncookies_sent", "packets", "Cookies sent because a queue was full.", "TcpExt_SyncookiesSent"
    ),
    b"TcpExt:SyncookiesRecv": _counter(
        "tcp_syncookies_received", "packets", "Cookies that came back.", "TcpExt_SyncookiesRecv"
    ),
    b"TcpExt:SyncookiesFailed": _counter(
        "tcp_syncookies_failed", "packets", "Cookies that came back wrong.", "TcpExt_SyncookiesFailed"
    ),
    b"TcpExt:TCPTimeouts": _counter(
        "tcp_timeouts", "operations", "Times that a segment was waited for in vain.", "TcpExt_TCPTimeouts"
    ),
    b"TcpExt:TCPSynRetrans": _counter(
        "tcp_syn_retransmits", "packets", "Segments sent again to open a connection.", "TcpExt_TCPSynRetrans"
    ),
    b"TcpExt:TCPFastRetrans": _counter(
        "tcp_fast_retransmits", "packets", "Segments sent again without a time-out.", "TcpExt_TCPFastRetrans"
    ),
    b"TcpExt:TCPLostRetransmit": _counter(
        "tcp_lost_retransmits", "packets", "Segments lost once more.", "TcpExt_TCPLostRetransmit"
    ),
    b"TcpExt:TCPOFOQueue": _counter(
        "tcp_out_of_order", "packets", "Segments received out of order.", "TcpExt_TCPOFOQueue"
    ),
    b"TcpExt:TCPRcvQDrop": _counter(
        "tcp_receive_queue_drops", "packets", "Segments dropped because a queue was full.", "TcpExt_TCPRcvQDrop"
    ),
    b"TcpExt:TCPBacklogDrop": _counter(
        "tcp_backlog_drops", "packets", "Segments dropped while a program held the socket.", "TcpExt_TCPBacklogDrop"
    ),
    b"TcpExt:TCPReqQFullDrop": _counter(
        "tcp_request_queue_drops",
        "connections",
        "Connections dropped because too many were half open.",
        "TcpExt_TCPReqQFullDrop",
    ),
    b"TcpExt:TCPAbortOnMemory": _counter(
        "tcp_aborts_on_memory", "connections", "Connections given up for want of memory.", "TcpExt_TCPAbortOnMemory"
    ),
    b"TcpExt:TCPAbortOnTimeout": _counter(
        "tcp_aborts_on_timeout", "connections", "Connections given up because nothing came.", "TcpExt_TCPAbortOnTimeout"
    ),
    b"TcpExt:TCPMemoryPressures": _counter(
        "tcp_memory_pressures", "operations", "Times that TCP ran short of memory.", "TcpExt_TCPMemoryPressures"
    ),
    b"TcpExt:TW": _counter(
        "tcp_time_waits", "connections", "Connections that waited for stragglers to the end.", "TcpExt_TW"
    ),
    b"IpExt:InOctets": _counter("ip_receive_bytes", "bytes", "Bytes received by IPv4.", "IpExt_InOctets"),
    b"IpExt:OutOctets": _counter("ip_transmit_bytes", "bytes", "Bytes sent by IPv4.", "IpExt_OutOctets"),
}
SNMP6 = {
    b"Ip6InReceives": _counter("ip6_receive_packets", "packets", "IPv6 packets received.", "Ip6_InReceives"),
    b"Ip6OutRequests": _counter("ip6_transmit_packets", "packets", "IPv6 packets sent from here.", "Ip6_OutRequests"),
    b"Ip6InOctets": _counter("ip6_receive_bytes", "bytes", "Bytes received by IPv6.", "Ip6_InOctets"),
    b"Ip6OutOctets": _counter("ip6_transmit_bytes", "bytes", "Bytes sent by IPv6.", "Ip6_OutOctets"),
    b"Ip6OutNoRoutes": _counter("ip6_no_routes", "packets", "IPv6 packets without a way to go.", "Ip6_OutNoRoutes"),
    b"Icmp6InErrors": _counter("icmp6_receive_errors", "packets", "ICMPv6 messages received broken.", "Icmp6_InErrors"),
    b"Udp6InDatagrams": _counter(
        "udp6_receive_datagrams", "packets", "Datagrams received over IPv6.", "Udp6_InDatagrams"
    ),
    b"Udp6OutDatagrams": _counter(
        "udp6_transmit_datagrams", "packets", "Datagrams sent over IPv6.", "Udp6_OutDatagrams"
    ),
    b"Udp6NoPorts": _counter(
        "udp6_no_port", "packets", "Datagrams over IPv6 to ports where nobody listens.", "Udp6_NoPorts"
    ),
    b"Udp6InErrors": _counter(
        "udp6_receive_errors", "packets", "Datagrams over IPv6 that could not be given to a program.", "Udp6_InErrors"
    ),
    b"Udp6RcvbufErrors": _counter(
        "udp6_receive_buffer_errors", "packets", "Part of them: the program reads too slowly.", "Udp6_RcvbufErrors"
    ),
}

Layout = HeadedFile | KeyedFile


@parser("protocols")
def parse_protocols(data: bytes, layout: Layout) -> list[int]:
    """Return the values of the keys that `layout` found in a file."""
    return layout.pick(data)


class Protocols(Parts):
    """Counters of the network protocols, of the network namespace that the agent runs in."""

    name = "protocols"
    metrics = (*SNMP.values(), *NETSTAT.values(), *SNMP6.values())

    def __init__(self, host: Host) -> None:
        net = host.proc_root / "net"
        snmp, netstat = (ProcFile(net / each, source=self.name, single=True) for each in ("snmp", "netstat"))
        # IPv6 is left out where the kernel does not speak it.
        snmp6 = OptionalFile(net / "snmp6", source=self.name, single=True, clock=host.clock)
        super().__init__(
            _counters(snmp, HeadedFile(tuple(SNMP)), SNMP),
            _counters(netstat, HeadedFile(tuple(NETSTAT)), NETSTAT),
            _counters(snmp6, KeyedFile(tuple(SNMP6)), SNMP6),
        )


def _counters(file: ProcFile, layout: Layout, metrics: dict[bytes, Metric]) -> Picked[Layout]:
    return Picked(file, layout, parse_protocols, lambda key: Series(metrics[key]))
