"""What the kernel hands out in limited numbers: files, inodes, threads, tracked connections, entropy."""

from collectors_dagster.collectors.parts import Slowly
from collectors_dagster.collectors.procfs import attribute, naturals, parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.errors import SourceUnavailableError
from collectors_dagster.samples import Kind, Metric

LIMIT_REFRESH_SECONDS = 60.0
"""Limits change when somebody sets them."""


def _gauge(
    name: str, unit: str, text: str, exporter: str | None, otel: str | None = None, *, detail: bool = False
) -> Metric:
    return Metric(name, Kind.GAUGE, unit, text, detail=detail, exporter=exporter, otel=otel)


FILES = _gauge("open_files", "files", "File handles in use on the whole host.", "node_filefd_allocated")
FILES_LIMIT = _gauge("open_files_limit", "files", "File handles that can be in use.", "node_filefd_maximum")
INODES = _gauge("inodes_cached", "files", "Inodes held in memory.", None, detail=True)
INODES_FREE = _gauge("inodes_cached_free", "files", "Part of them that nobody uses.", None, detail=True)
THREADS = _gauge("threads", "threads", "Threads of all processes; each takes a process id.", "node_processes_threads")
THREADS_LIMIT = _gauge(
    "threads_limit", "threads", "Threads that there can be.", "node_processes_max_threads", detail=True
)
PIDS_LIMIT = _gauge(
    "process_ids_limit",
    "threads",
    "Process ids that there can be, and so threads.",
    "node_processes_max_processes",
    "system.process.limit",
)
ENTROPY = _gauge("entropy_available_bits", "bits", "Entropy in the pool.", "node_entropy_available_bits", detail=True)
CONNTRACK = _gauge(
    "conntrack_entries",
    "connections",
    "Connections that the firewall tracks.",
    "node_nf_conntrack_entries",
    "system.network.conntrack.count",
)
CONNTRACK_LIMIT = _gauge(
    "conntrack_limit",
    "connections",
    "Connections that it can track; further ones are dropped.",
    "node_nf_conntrack_entries_limit",
    "system.network.conntrack.max",
)

USED: dict[str, dict[int, Metric]] = {
    "fs/file-nr": {0: FILES, 2: FILES_LIMIT},
    "fs/inode-nr": {0: INODES, 1: INODES_FREE},
    "kernel/random/entropy_avail": {0: ENTROPY},
    "net/netfilter/nf_conntrack_count": {0: CONNTRACK},
}
LIMITS: dict[str, dict[int, Metric]] = {
    "kernel/threads-max": {0: THREADS_LIMIT},
    "kernel/pid_max": {0: PIDS_LIMIT},
    "net/netfilter/nf_conntrack_max": {0: CONNTRACK_LIMIT},
}
"""Files under ``/proc/sys``, and which number in them is what; connections are there when the firewall tracks them."""

Said = dict[Metric, int]


@parser("limits")
def parse_sysctl(data: bytes, places: dict[int, Metric]) -> Said:
    r"""Return the numbers at `places`.

    Examples
    --------
    >>> {metric.name: value for metric, value in parse_sysctl(b"4264\t0\t99", USED["fs/file-nr"]).items()}
    {'open_files': 4264, 'open_files_limit': 99}
    """
    fields = data.split()
    return dict(zip(places.values(), naturals([fields[place] for place in places]), strict=True))


@parser("limits")
def parse_threads(data: bytes) -> Said:
    """Return the number of threads from ``/proc/loadavg``.

    Examples
    --------
    >>> parse_threads(b"0.36 0.16 0.12 2/91 10053")[THREADS]
    91
    """
    running, slash, threads = data.split()[3].partition(b"/")
    if not slash or not running.isdigit():
        raise ValueError("running and all threads expected")
    return {THREADS: naturals([threads])[0]}


class Limits:
    """Kernel tables and their limits: numbers that creep, so that many small files are read now and then only."""

    name = "limits"
    interval_seconds = 10.0
    metrics = (
        *(FILES, FILES_LIMIT, INODES, INODES_FREE, THREADS, THREADS_LIMIT, PIDS_LIMIT, ENTROPY),
        *(CONNTRACK, CONNTRACK_LIMIT),
    )

    def __init__(self, host: Host) -> None:
        self._proc = str(host.proc_root)
        self._limits = Slowly(lambda: _said(self._proc, LIMITS), host.clock, LIMIT_REFRESH_SECONDS)
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values; what this kernel does not tell is left out."""
        said = _said(self._proc, USED) | self._threads() | self._limits()
        if not said:
            raise SourceUnavailableError(f"nothing can be read under {self._proc}/sys", source=self.name)
        series = tuple(Series(metric) for metric in said)
        if series != self._series:
            self._series = series
        return Reading(self._series, tuple(said.values()))

    def close(self) -> None:
        """Nothing is held."""

    def _threads(self) -> Said:
        data = attribute(f"{self._proc}/loadavg")
        return {} if data is None else parse_threads(data)


def _said(proc: str, sysctls: dict[str, dict[int, Metric]]) -> Said:
    said: Said = {}
    for name, places in sysctls.items():
        data = attribute(f"{proc}/sys/{name}")
        if data is not None:
            said |= parse_sysctl(data, places)
    return said
