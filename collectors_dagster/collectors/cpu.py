"""Processor time per core and mode, scheduler counters: ``/proc/stat``."""

from typing import NamedTuple

from collectors_dagster.collectors.procfs import ProcFile, natural, parser, shown
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric

MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
IDLE, IOWAIT = 3, 4

CPU_SECONDS = Metric(
    "cpu_seconds_total", Kind.COUNTER, "seconds", "Time of each core per mode; user and nice include guests."
)
CPU_BUSY_SECONDS = Metric(
    "cpu_busy_seconds_total", Kind.COUNTER, "seconds", "Time of all cores in any mode but idle and iowait."
)
CPU_IOWAIT_SECONDS = Metric(
    "cpu_iowait_seconds_total", Kind.COUNTER, "seconds", "Time all cores idled while input or output was pending."
)
CPU_COUNT = Metric("cpu_count", Kind.GAUGE, "cores", "Cores online.")
CONTEXT_SWITCHES = Metric("context_switches_total", Kind.COUNTER, "operations", "Context switches.")
FORKS = Metric("forks_total", Kind.COUNTER, "operations", "Processes and threads started.")
RUNNING = Metric("processes_running", Kind.GAUGE, "processes", "Runnable threads.", peak=True)
BLOCKED = Metric(
    "processes_blocked",
    Kind.GAUGE,
    "processes",
    "Threads that wait for a disk uninterruptibly.",
    peak=True,
)

SCHEDULER = {
    b"ctxt": CONTEXT_SWITCHES,
    b"processes": FORKS,
    b"procs_running": RUNNING,
    b"procs_blocked": BLOCKED,
}


class Stat(NamedTuple):
    """``/proc/stat`` in numbers: ticks of each core in the order of `MODES`, and chosen single lines."""

    cores: tuple[bytes, ...]
    ticks: list[list[int]]
    scheduler: dict[bytes, int]


@parser("cpu")
def parse_stat(data: bytes) -> Stat:
    """Return the numbers in ``/proc/stat``; modes that an old kernel lacks are zero."""
    cores: list[bytes] = []
    ticks: list[list[int]] = []
    scheduler: dict[bytes, int] = {}
    for line in data.splitlines():
        if line.startswith(b"cpu"):
            name, *fields = line.split()
            if name != b"cpu":
                cores.append(name[3:])
                ticks.append(_mode_ticks(fields))
        else:
            key, _, value = line.partition(b" ")
            if key in SCHEDULER:
                scheduler[key] = natural(value.strip())
    if not cores:
        raise ValueError("no core listed")
    return Stat(tuple(cores), ticks, scheduler)


def _mode_ticks(fields: list[bytes]) -> list[int]:
    if len(fields) < IOWAIT:
        raise ValueError("a core has fewer than four modes")
    ticks = [natural(field) for field in fields[: len(MODES)]]
    return ticks + [0] * (len(MODES) - len(ticks))


class Cpu:
    """Processor time and scheduler counters from ``/proc/stat``."""

    name = "cpu"
    metrics = (CPU_SECONDS, CPU_BUSY_SECONDS, CPU_IOWAIT_SECONDS, CPU_COUNT, *SCHEDULER.values())

    def __init__(self, host: Host) -> None:
        self._stat = ProcFile(host.proc_root / "stat", source=self.name, single=True)
        self._second = host.ticks_per_second
        self._shape: tuple[tuple[bytes, ...], tuple[bytes, ...]] = ((), ())
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        stat = parse_stat(self._stat.read())
        shape = (stat.cores, tuple(stat.scheduler))
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
        values += stat.scheduler.values()
        return values


def _series(cores: tuple[bytes, ...], scheduler: tuple[bytes, ...]) -> tuple[Series, ...]:
    per_core = [Series(CPU_SECONDS, (("cpu", shown(core)), ("mode", mode))) for core in cores for mode in MODES]
    whole = [Series(metric) for metric in (CPU_BUSY_SECONDS, CPU_IOWAIT_SECONDS, CPU_COUNT)]
    return (*per_core, *whole, *(Series(SCHEDULER[key]) for key in scheduler))
