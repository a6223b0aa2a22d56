"""Processor time per core and mode, interrupts, the scheduler's counters: ``/proc/stat``, ``/proc/schedstat``."""

from typing import NamedTuple

from collectors_dagster.collectors.frequency import METRICS as FREQUENCY_METRICS
from collectors_dagster.collectors.frequency import Frequency
from collectors_dagster.collectors.parts import Parts
from collectors_dagster.collectors.procfs import ProcFile, naturals, parser, shown
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.collectors.schedstat import METRICS as SCHEDSTAT_METRICS
from collectors_dagster.collectors.schedstat import Schedstat
from collectors_dagster.samples import Kind, Metric

MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
IDLE, IOWAIT = 3, 4
GUEST_MODES = ("user", "nice")
SOFTIRQS = ("hi", "timer", "net_tx", "net_rx", "block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu")

CPU_SECONDS = Metric(
    "cpu_seconds_total",
    Kind.COUNTER,
    "seconds",
    "Time of each core per mode; user and nice include guests.",
    exporter="node_cpu_seconds_total",
    otel="system.cpu.time",
)
CPU_BUSY_SECONDS = Metric(
    "cpu_busy_seconds_total", Kind.COUNTER, "seconds", "Time of all cores in any mode but idle and iowait."
)
CPU_IOWAIT_SECONDS = Metric(
    "cpu_iowait_seconds_total", Kind.COUNTER, "seconds", "Time all cores idled while input or output was pending."
)
CPU_GUEST_SECONDS = Metric(
    "cpu_guest_seconds_total",
    Kind.COUNTER,
    "seconds",
    "Time of all cores spent in virtual machines of this host, per mode.",
    detail=True,
    exporter="node_cpu_guest_seconds_total",
)
CPU_COUNT = Metric("cpu_count", Kind.GAUGE, "cores", "Cores online.", otel="system.cpu.logical.count")
CONTEXT_SWITCHES = Metric(
    "context_switches_total",
    Kind.COUNTER,
    "operations",
    "Context switches.",
    exporter="node_context_switches_total",
)
FORKS = Metric(
    "forks_total",
    Kind.COUNTER,
    "operations",
    "Processes and threads started.",
    exporter="node_forks_total",
    otel="system.process.created",
)
INTERRUPTS = Metric(
    "interrupts_total", Kind.COUNTER, "operations", "Interrupts served.", detail=True, exporter="node_intr_total"
)
SOFTIRQ_COUNT = Metric(
    "softirqs_total",
    Kind.COUNTER,
    "operations",
    "Deferred parts of interrupts, per kind of work.",
    detail=True,
    exporter="node_softirqs_total",
)
RUNNING = Metric(
    "processes_running",
    Kind.GAUGE,
    "processes",
    "Runnable threads.",
    peak=True,
    exporter="node_procs_running",
    otel="system.process.count",
)
BLOCKED = Metric(
    "processes_blocked",
    Kind.GAUGE,
    "processes",
    "Threads that wait for a disk uninterruptibly.",
    peak=True,
    exporter="node_procs_blocked",
    otel="system.process.count",
)

SCHEDULER = {
    b"ctxt": CONTEXT_SWITCHES,
    b"processes": FORKS,
    b"procs_running": RUNNING,
    b"procs_blocked": BLOCKED,
    b"intr": INTERRUPTS,
}
"""The first number of each of these lines; behind it ``intr`` has one per interrupt."""


class Stat(NamedTuple):
    """``/proc/stat`` in numbers: ticks of each core in the order of `MODES`, and what concerns all cores.

    Attributes
    ----------
    guest : tuple of int
        Ticks in the order of `GUEST_MODES`.
    softirqs : list of int
        In the order of `SOFTIRQS`, as many as this kernel counts.
    """

    cores: tuple[bytes, ...]
    ticks: list[list[int]]
    guest: tuple[int, int]
    scheduler: dict[bytes, int]
    softirqs: list[int]


@parser("cpu")
def parse_stat(data: bytes) -> Stat:
    """Return the numbers in ``/proc/stat``; modes that an old kernel lacks are zero."""
    cores: list[bytes] = []
    ticks: list[list[int]] = []
    keys: list[bytes] = []
    single: list[bytes] = []
    softirqs: list[int] = []
    user = nice = 0
    for line in data.splitlines():
        key, _, rest = line.partition(b" ")
        if key in SCHEDULER:
            keys.append(key)
            single.append(rest.split(None, 1)[0])
        elif key == b"softirq":
            softirqs = naturals(rest.split()[1 : 1 + len(SOFTIRQS)])
        elif key.startswith(b"cpu") and key != b"cpu":
            modes = _mode_ticks(rest.split())
            cores.append(key[3:])
            ticks.append(modes[: len(MODES)])
            user, nice = user + modes[8], nice + modes[9]
    if not cores:
        raise ValueError("no core listed")
    return Stat(tuple(cores), ticks, (user, nice), dict(zip(keys, naturals(single), strict=True)), softirqs)


def _mode_ticks(fields: list[bytes]) -> list[int]:
    if len(fields) < IOWAIT:
        raise ValueError("a core has fewer than four modes")
    ticks = naturals(fields[: len(MODES) + len(GUEST_MODES)])
    return ticks + [0] * (len(MODES) + len(GUEST_MODES) - len(ticks))


class Cpu:
    """Processor time, interrupts and scheduler counters; frequency where the kernel tells it."""

    name = "cpu"
    metrics = (
        *(CPU_SECONDS, CPU_BUSY_SECONDS, CPU_IOWAIT_SECONDS, CPU_COUNT, CPU_GUEST_SECONDS),
        *(*SCHEDULER.values(), SOFTIRQ_COUNT),
        *(*SCHEDSTAT_METRICS, *FREQUENCY_METRICS),
    )

    def __init__(self, host: Host) -> None:
        self._parts = Parts(_Times(host), Schedstat(host), Frequency(host))

    def read(self) -> Reading:
        """Return the present values."""
        return self._parts.read()

    def close(self) -> None:
        """Close the files."""
        self._parts.close()


class _Times:
    """What ``/proc/stat`` says."""

    def __init__(self, host: Host) -> None:
        self._stat = ProcFile(host.proc_root / "stat", source=Cpu.name, single=True)
        self._second = host.ticks_per_second
        self._shape: tuple[tuple[bytes, ...], tuple[bytes, ...], int] = ((), (), 0)
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        stat = parse_stat(self._stat.read())
        shape = (stat.cores, tuple(stat.scheduler), len(stat.softirqs))
        if shape != self._shape:
            self._shape, self._series = shape, _series(*shape)
        return Reading(self._series, self._values(stat))

    def close(self) -> None:
        """Close the file."""
        self._stat.close()

    def _values(self, stat: Stat) -> list[float]:
        second = self._second
        iowait = sum(core[IOWAIT] for core in stat.ticks)
        busy = sum(map(sum, stat.ticks)) - iowait - sum(core[IDLE] for core in stat.ticks)
        values = [ticks / second for core in stat.ticks for ticks in core]
        values += (busy / second, iowait / second, len(stat.cores))
        values += [ticks / second for ticks in stat.guest]
        values += stat.scheduler.values()
        values += stat.softirqs
        return values


def _series(cores: tuple[bytes, ...], scheduler: tuple[bytes, ...], softirqs: int) -> tuple[Series, ...]:
    per_core = [Series(CPU_SECONDS, (("cpu", shown(core)), ("mode", mode))) for core in cores for mode in MODES]
    whole = [Series(metric) for metric in (CPU_BUSY_SECONDS, CPU_IOWAIT_SECONDS, CPU_COUNT)]
    guests = [Series(CPU_GUEST_SECONDS, (("mode", mode),)) for mode in GUEST_MODES]
    kinds = [Series(SOFTIRQ_COUNT, (("kind", kind),)) for kind in SOFTIRQS[:softirqs]]
    return (*per_core, *whole, *guests, *(Series(SCHEDULER[key]) for key in scheduler), *kinds)
