"""Processor time, memory, traffic and pressure per cgroup: ``/sys/fs/cgroup``, version 2, version 1 and both.

Looked at are the agent's own cgroup and those that the tenants' scopes name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from collectors_dagster.collectors.cgroup_tree import UNIFIED, CgroupFile, CgroupTree, Visits, own_cgroup
from collectors_dagster.collectors.descriptors import allowance
from collectors_dagster.collectors.pressure import parse_pressure
from collectors_dagster.collectors.procfs import natural, parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.collectors.turns import in_turn
from collectors_dagster.errors import CollectionError, InvalidSampleError
from collectors_dagster.samples import Kind, Labels, Metric
from collectors_dagster.scopes import Scope

INTERVAL_SECONDS = 5.0
MOST_CGROUPS = 50
"""Cgroups that are followed, some thirty-five series each; beyond it, every scope keeps its share."""
MOST_VISITED = 10_000
"""Directories that the searches of one look may see, all scopes together; each has its share."""
LEAST_VISITED = 1_000
"""A scope's share of that, however many there are."""
DESCRIPTORS = 0.25
"""Part of the process's descriptors that may be kept open here."""
UNLIMITED = 2**60
"""From here on, version 1 means that there is no limit."""


def _counter(
    name: str, unit: str, text: str, exporter: str | None, otel: str | None = None, *, cumulative: bool = False
) -> Metric:
    full_name = f"cgroup_{name}_total"
    return Metric(full_name, Kind.COUNTER, unit, text, exporter=exporter, otel=otel, cumulative=cumulative)


def _gauge(name: str, unit: str, text: str, exporter: str | None, otel: str | None = None) -> Metric:
    return Metric(f"cgroup_{name}", Kind.GAUGE, unit, text, exporter=exporter, otel=otel)


CPU_TIME, DISK_IO = "container.cpu.time", "container.disk.io"
CPU = _counter("cpu_seconds", "seconds", "Processor time of the cgroup.", "container_cpu_usage_seconds_total", CPU_TIME)
CPU_USER = _counter(
    "cpu_user_seconds", "seconds", "Processor time in user mode.", "container_cpu_user_seconds_total", CPU_TIME
)
CPU_SYSTEM = _counter(
    "cpu_system_seconds", "seconds", "Processor time in the kernel.", "container_cpu_system_seconds_total", CPU_TIME
)
PERIODS = _counter(
    "cpu_periods", "periods", "Periods in which a limit of processor time applied.", "container_cpu_cfs_periods_total"
)
THROTTLED_PERIODS = _counter(
    "cpu_throttled_periods",
    "periods",
    "Periods in which the limit was used up.",
    "container_cpu_cfs_throttled_periods_total",
)
THROTTLED = _counter(
    "cpu_throttled_seconds",
    "seconds",
    "Time that runnable threads were held back by the limit.",
    "container_cpu_cfs_throttled_seconds_total",
)
MEMORY = _gauge(
    "memory_bytes",
    "bytes",
    "Memory in use, page cache included.",
    "container_memory_usage_bytes",
    "container.memory.usage",
)
MEMORY_MAX = _gauge(
    "memory_max_bytes", "bytes", "Limit of the memory; absent without one.", "container_spec_memory_limit_bytes"
)
MEMORY_PEAK = _gauge("memory_peak_bytes", "bytes", "Most memory ever in use.", "container_memory_max_usage_bytes")
SWAP = _gauge("swap_bytes", "bytes", "Swap in use.", "container_memory_swap")
OOM = _counter("oom", "operations", "Times that the limit was reached and memory could not be freed.", None)
OOM_KILLS = _counter(
    "oom_kills",
    "operations",
    "Processes killed because memory ran out.",
    "container_oom_events_total",
    cumulative=True,
)
PIDS = _gauge("pids", "threads", "Processes and threads.", "container_threads")
PIDS_MAX = _gauge("pids_max", "threads", "Limit of processes and threads; absent without one.", "container_threads_max")
READ_BYTES = _counter("io_read_bytes", "bytes", "Bytes read from a device.", "container_fs_reads_bytes_total", DISK_IO)
WRITTEN_BYTES = _counter(
    "io_written_bytes", "bytes", "Bytes written to a device.", "container_fs_writes_bytes_total", DISK_IO
)
READS = _counter("io_reads", "operations", "Reads from a device.", "container_fs_reads_total")
WRITES = _counter("io_writes", "operations", "Writes to a device.", "container_fs_writes_total")
RESOURCES = {"cpu": "a core", "memory": "memory", "io": "input or output"}
WAITING = {
    name: _counter(
        f"pressure_{name}_waiting_seconds",
        "seconds",
        f"Time in which some task waited for {text}.",
        f"container_pressure_{name}_waiting_seconds_total",
    )
    for name, text in RESOURCES.items()
}
STALLED = {
    name: _counter(
        f"pressure_{name}_stalled_seconds",
        "seconds",
        f"Time in which all tasks waited for {text}.",
        f"container_pressure_{name}_stalled_seconds_total",
    )
    for name, text in RESOURCES.items()
}
METRICS = (
    *(CPU, CPU_USER, CPU_SYSTEM, PERIODS, THROTTLED_PERIODS, THROTTLED),
    *(MEMORY, MEMORY_MAX, MEMORY_PEAK, SWAP, OOM, OOM_KILLS, PIDS, PIDS_MAX),
    *(READ_BYTES, WRITTEN_BYTES, READS, WRITES),
    *WAITING.values(),
    *STALLED.values(),
)

Fact = tuple[Metric, str]
"""A metric, and the device that it is about, ``8:0``; empty for the cgroup as a whole."""
Facts = dict[Fact, float]
Parse = Callable[[bytes], Facts]


def _keyed(keys: Mapping[bytes, tuple[Metric, float]]) -> Parse:
    """Return a parser of ``key value`` lines; each of `keys` has its metric and the factor to its unit."""

    @parser("cgroup")
    def parse(data: bytes) -> Facts:
        facts: Facts = {}
        for line in data.splitlines():
            key, _, value = line.partition(b" ")
            if key in keys:
                metric, factor = keys[key]
                facts[metric, ""] = natural(value) * factor
        return facts

    return parse


def _single(metric: Metric, factor: float = 1.0) -> Parse:
    """Return a parser of one number, or of ``max``, which is no number."""

    @parser("cgroup")
    def parse(data: bytes) -> Facts:
        text = data.strip()
        value = None if text == b"max" else natural(text)
        return {} if value is None or value >= UNLIMITED else {(metric, ""): value * factor}

    return parse


IO_KEYS = {b"rbytes": READ_BYTES, b"wbytes": WRITTEN_BYTES, b"rios": READS, b"wios": WRITES}


@parser("cgroup")
def parse_io(data: bytes) -> Facts:
    r"""Return the traffic per device.

    Examples
    --------
    >>> parse_io(b"8:0 rbytes=512 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n")[READS, "8:0"]
    1.0
    """
    facts: Facts = {}
    device = ""
    for token in data.split():
        key, equals, value = token.partition(b"=")
        if not equals:
            device = _device(token)
        elif key in IO_KEYS:
            facts[IO_KEYS[key], device] = float(natural(value))
    return facts


def _device(token: bytes) -> str:
    major, _, minor = token.partition(b":")
    return f"{natural(major)}:{natural(minor)}"


def _throttle(read: Metric, write: Metric) -> Parse:
    """Return a parser of version 1's lines ``8:0 Read 512``."""

    @parser("cgroup")
    def parse(data: bytes) -> Facts:
        facts: Facts = {}
        for line in data.splitlines():
            words = line.split()
            metric = {b"Read": read, b"Write": write}.get(words[-2])
            if metric is not None:
                facts[metric, _device(words[0])] = float(natural(words[-1]))
        return facts

    return parse


def _pressure(name: str) -> Parse:
    def parse(data: bytes) -> Facts:
        totals = parse_pressure(data)
        states = {b"some": WAITING[name], b"full": STALLED[name]}
        return {(metric, ""): totals[state] for state, metric in states.items() if state in totals}

    return parse


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a cgroup, the hierarchy in which it lies, and what it tells."""

    hierarchy: str
    name: str
    parse: Parse


def source_files(ticks_per_second: int) -> tuple[SourceFile, ...]:
    """Return all files of all versions; where two tell the same, the first that is there counts."""
    tick = 1 / ticks_per_second
    periods = {b"nr_periods": (PERIODS, 1.0), b"nr_throttled": (THROTTLED_PERIODS, 1.0)}
    modes = {b"usage_usec": (CPU, 1e-6), b"user_usec": (CPU_USER, 1e-6), b"system_usec": (CPU_SYSTEM, 1e-6)}
    return (
        SourceFile("cpuacct", "cpuacct.usage", _single_nanoseconds),
        SourceFile("cpuacct", "cpuacct.stat", _keyed({b"user": (CPU_USER, tick), b"system": (CPU_SYSTEM, tick)})),
        SourceFile("cpu", "cpu.stat", _keyed({**periods, b"throttled_time": (THROTTLED, 1e-9)})),
        SourceFile("memory", "memory.usage_in_bytes", _single(MEMORY)),
        SourceFile("memory", "memory.limit_in_bytes", _single(MEMORY_MAX)),
        SourceFile("memory", "memory.max_usage_in_bytes", _single(MEMORY_PEAK)),
        SourceFile("memory", "memory.stat", _keyed({b"swap": (SWAP, 1.0)})),
        SourceFile("memory", "memory.oom_control", _keyed({b"oom_kill": (OOM_KILLS, 1.0)})),
        SourceFile("blkio", "blkio.throttle.io_service_bytes_recursive", _throttle(READ_BYTES, WRITTEN_BYTES)),
        SourceFile("blkio", "blkio.throttle.io_serviced_recursive", _throttle(READS, WRITES)),
        SourceFile("blkio", "blkio.throttle.io_service_bytes", _throttle(READ_BYTES, WRITTEN_BYTES)),
        SourceFile("blkio", "blkio.throttle.io_serviced", _throttle(READS, WRITES)),
        SourceFile("pids", "pids.current", _single(PIDS)),
        SourceFile("pids", "pids.max", _single(PIDS_MAX)),
        SourceFile(UNIFIED, "cpu.stat", _keyed({**modes, **periods, b"throttled_usec": (THROTTLED, 1e-6)})),
        SourceFile(UNIFIED, "memory.current", _single(MEMORY)),
        SourceFile(UNIFIED, "memory.max", _single(MEMORY_MAX)),
        SourceFile(UNIFIED, "memory.peak", _single(MEMORY_PEAK)),
        SourceFile(UNIFIED, "memory.swap.current", _single(SWAP)),
        SourceFile(UNIFIED, "memory.events", _keyed({b"oom": (OOM, 1.0), b"oom_kill": (OOM_KILLS, 1.0)})),
        SourceFile(UNIFIED, "io.stat", parse_io),
        SourceFile(UNIFIED, "pids.current", _single(PIDS)),
        SourceFile(UNIFIED, "pids.max", _single(PIDS_MAX)),
        *(SourceFile(UNIFIED, f"{name}.pressure", _pressure(name)) for name in WAITING),
    )


@parser("cgroup")
def _single_nanoseconds(data: bytes) -> Facts:
    return {(CPU, ""): natural(data.strip()) / 1e9}


class _Group:
    """One cgroup: its files, and what its counters said last."""

    def __init__(self, path: str, files: list[tuple[CgroupFile, Parse]]) -> None:
        self.path = path
        self.errors: list[CollectionError] = []
        self._files = files
        self._facts: Facts = {}

    def read(self) -> Facts:
        """Return what its files say; nothing if it vanished."""
        self.errors = []
        facts: Facts = {}
        for file, parse in self._files:
            for fact, value in self._told(file, parse).items():
                facts.setdefault(fact, value)
        self._compare(facts)
        self._facts = facts
        return facts

    def close(self) -> None:
        for file, _ in self._files:
            file.close()

    def _told(self, file: CgroupFile, parse: Parse) -> Facts:
        try:
            data = file.read()
            return parse(data) if data is not None else {}
        except CollectionError as error:
            self.errors.append(error)
            return {}

    def _compare(self, facts: Facts) -> None:
        """Tell of counters that went back: whoever computes a rate leaves that step out."""
        for fact, before in self._facts.items():
            metric, device = fact
            if metric.kind is Kind.COUNTER and facts.get(fact, before) < before:
                message = f"{self.path}: {metric.name} {device} went back: the cgroup was made anew, or it was reset"
                self.errors.append(InvalidSampleError(message, source="cgroup"))
                return


class Cgroup:
    """The agent's own cgroup, and those that the tenants name."""

    name = "cgroup"
    metrics = METRICS
    interval_seconds = INTERVAL_SECONDS

    def __init__(self, host: Host) -> None:
        self._host = host
        self._tree = CgroupTree(host.sys_root / "fs/cgroup")
        self._files = source_files(host.ticks_per_second)
        self._devices = _DeviceNames(host.sys_root)
        self._groups: dict[str, _Group] = {}
        self._descriptors = allowance(DESCRIPTORS)
        self._shape: list[tuple[str, Fact]] = []
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values, those of the most important cgroups first."""
        wanted, cut_short = self._wanted()
        refusals = self._follow(wanted)
        told = {path: group.read() for path, group in self._groups.items()}
        shape = [(path, fact) for path, facts in told.items() for fact in facts]
        if shape != self._shape:
            self._shape = shape
            self._series = tuple(self._one_series(path, fact) for path, fact in shape)
        values = [value for facts in told.values() for value in facts.values()]
        errors = chain(cut_short, refusals, *(group.errors for group in self._groups.values()))
        return Reading(self._series, values, tuple(errors))

    def close(self) -> None:
        """Close the files."""
        for group in self._groups.values():
            group.close()

    def _wanted(self) -> tuple[list[str], list[CollectionError]]:
        """Return the paths to look at, the most important first, and what to tell of searches that were too long."""
        own = own_cgroup(self._tree, self._host.proc_root / "self/cgroup")
        scopes = self._host.watched.scopes
        searches = [Visits(max(MOST_VISITED // len(scopes), LEAST_VISITED)) for _ in scopes]
        found = [
            in_turn([sorted(self._tree.matching(pattern, visits)) for pattern in scope.cgroups])
            for scope, visits in zip(scopes, searches, strict=True)
        ]
        told = [_cut_short(scope) for scope, visits in zip(scopes, searches, strict=True) if visits.exceeded]
        return in_turn([[own], *found]), told

    def _follow(self, wanted: list[str]) -> list[CollectionError]:
        """Take over the cgroups to look at; return what to tell of those that are too many."""
        chosen = wanted[:MOST_CGROUPS]
        for gone in set(self._groups) - set(chosen):
            self._groups.pop(gone).close()
        hierarchies = self._tree.hierarchies()
        self._groups = {
            path: self._groups.get(path) or self._group(path, number, hierarchies)
            for number, path in enumerate(chosen, start=1)
        }
        if len(wanted) <= MOST_CGROUPS:
            return []
        message = f"{len(wanted)} cgroups match, {MOST_CGROUPS} are followed: narrow the tenants' scope.cgroups"
        return [CollectionError(message, source=self.name)]

    def _group(self, path: str, number: int, hierarchies: Mapping[str, Path]) -> _Group:
        keep = number * len(self._files) <= self._descriptors
        files = [
            (CgroupFile(hierarchies[each.hierarchy], path, each.name, keep=keep), each.parse)
            for each in self._files
            if each.hierarchy in hierarchies
        ]
        return _Group(path, files)

    def _one_series(self, path: str, fact: Fact) -> Series:
        metric, device = fact
        labels: Labels = (("cgroup", path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")),)
        return Series(metric, (*labels, ("device", self._devices.name(device))) if device else labels)


def _cut_short(scope: Scope) -> CollectionError:
    shown = ", ".join(scope.cgroups[:3])
    message = (
        f"too many cgroups to look at all of them for {shown}; some that match are not followed: "
        "name them more narrowly in the tenants' scope.cgroups"
    )
    return CollectionError(message, source="cgroup")


class _DeviceNames:
    """Names of block devices by their numbers, as the ``disk`` collector calls them."""

    def __init__(self, sys_root: Path) -> None:
        self._links = sys_root / "dev/block"
        self._known: dict[str, str] = {}

    def name(self, numbers: str) -> str:
        if numbers not in self._known:
            self._known[numbers] = self._look_up(numbers)
        return self._known[numbers]

    def _look_up(self, numbers: str) -> str:
        try:
            return (self._links / numbers).readlink().name
        except OSError:
            return numbers
