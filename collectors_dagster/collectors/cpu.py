"""Processor time per core and mode, interrupts, the scheduler's counters: ``/proc/stat``, ``/proc/schedstat``."""

from itertools import repeat
from operator import truediv

from collectors_dagster.collectors.frequency import METRICS as FREQUENCY_METRICS
from collectors_dagster.collectors.frequency import Frequency
from collectors_dagster.collectors.parts import Parts
from collectors_dagster.collectors.procfs import KeyedFile, ProcFile, parser, shown
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


NOT_COUNTED = b"\n0"
"""Behind the file, for modes that an old kernel lacks."""


class StatFile(KeyedFile):
    r"""Where the numbers stand in ``/proc/stat``.

    Picks the ticks of each core in the order of `MODES`, the guests' in the order of `GUEST_MODES`, a core after the
    other, then what concerns all cores: `SCHEDULER` in the order of the file, `SOFTIRQS` as many as this kernel counts.

    Attributes
    ----------
    cores : tuple of bytes
        As the kernel numbers them.
    scheduler : tuple of bytes
        Keys of `SCHEDULER` that the file has.
    softirqs : int
        How many it has.

    Examples
    --------
    >>> layout = StatFile()
    >>> layout.pick(b"cpu 0 1 2 3\ncpu0 1 2 3 4 5 6 7 8 9 10\nctxt 77" + NOT_COUNTED)
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 77]
    >>> layout.cores, layout.scheduler, layout.softirqs
    ((b'0',), (b'ctxt',), 0)
    """

    __slots__ = ("cores", "scheduler", "softirqs")

    def __init__(self) -> None:
        super().__init__(tuple(SCHEDULER))
        self.cores: tuple[bytes, ...] = ()
        self.scheduler: tuple[bytes, ...] = ()
        self.softirqs = 0

    def _find(self, tokens: list[bytes]) -> None:
        keys = [at for at, token in enumerate(tokens) if not token.isdigit()]
        ends = [*keys[1:], len(tokens) - 1]
        cores, single, softirqs = [], [], []
        words: set[int] = set()  # what must stand there again for the places to be right
        for at, end in zip(keys, ends, strict=True):
            key = tokens[at]
            if key in SCHEDULER:
                single.append((at + 1, key))
            elif key == b"softirq":
                softirqs = [(place, b"softirq") for place in range(at + 2, end)][: len(SOFTIRQS)]
            elif key.startswith(b"cpu") and key != b"cpu":
                cores.append((key[3:], _places(at + 1, end, len(tokens) - 1)))
            else:
                continue
            words |= {at, end} & set(keys)  # a row that ends at another word is another row
        if not cores:
            raise ValueError("no core listed")
        times = [(place, core) for core, places in cores for place in places[: len(MODES)]]
        guests = [(place, core) for core, places in cores for place in places[len(MODES) :]]
        self._adopt(tokens, sorted(words), [*times, *guests, *single, *softirqs])
        self.cores = tuple(core for core, _ in cores)
        self.scheduler = tuple(key for _, key in single)
        self.softirqs = len(softirqs)


def _places(first: int, end: int, absent: int) -> list[int]:
    """Return where a core's modes stand; `absent` is the place of those that are not there."""
    if end - first < IOWAIT:
        raise ValueError("a core has fewer than four modes")
    modes = range(first, first + len(MODES) + len(GUEST_MODES))
    return [place if place < end else absent for place in modes]


@parser("cpu")
def parse_stat(data: bytes, layout: StatFile) -> list[int]:
    """Return the numbers that `layout` finds in ``/proc/stat``; modes that an old kernel lacks are zero."""
    return layout.pick(data + NOT_COUNTED)


class Cpu(Parts):
    """Processor time, interrupts and scheduler counters; frequency where the kernel tells it."""

    name = "cpu"
    metrics = (
        *(CPU_SECONDS, CPU_BUSY_SECONDS, CPU_IOWAIT_SECONDS, CPU_COUNT, CPU_GUEST_SECONDS),
        *(*SCHEDULER.values(), SOFTIRQ_COUNT),
        *(*SCHEDSTAT_METRICS, *FREQUENCY_METRICS),
    )

    def __init__(self, host: Host) -> None:
        super().__init__(_Times(host), Schedstat(host), Frequency(host))


class _Times:
    """What ``/proc/stat`` says."""

    def __init__(self, host: Host) -> None:
        self._stat = ProcFile(host.proc_root / "stat", source=Cpu.name, single=True)
        self._layout = StatFile()
        self._second = host.ticks_per_second
        self._present: tuple[bytes, ...] = ()
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        layout = self._layout
        numbers = parse_stat(self._stat.read(), layout)
        if layout.present is not self._present:
            self._series = _series(layout)
            self._present = layout.present
        count, modes = len(layout.cores), len(MODES)
        end = count * modes
        guests = end + count * len(GUEST_MODES)
        ticks = numbers[:end]
        iowait = sum(ticks[IOWAIT::modes])
        busy = sum(ticks) - iowait - sum(ticks[IDLE::modes])
        ticks += (busy, iowait, count * self._second)  # also the number of cores: one division for all
        ticks += (sum(numbers[end:guests:2]), sum(numbers[end + 1 : guests : 2]))
        values: list[float] = list(map(truediv, ticks, repeat(self._second)))
        values += numbers[guests:]
        return Reading(self._series, values)

    def close(self) -> None:
        """Close the file."""
        self._stat.close()


def _series(layout: StatFile) -> tuple[Series, ...]:
    per_core = [Series(CPU_SECONDS, (("cpu", shown(core)), ("mode", mode))) for core in layout.cores for mode in MODES]
    whole = [Series(metric) for metric in (CPU_BUSY_SECONDS, CPU_IOWAIT_SECONDS, CPU_COUNT)]
    guests = [Series(CPU_GUEST_SECONDS, (("mode", mode),)) for mode in GUEST_MODES]
    kinds = [Series(SOFTIRQ_COUNT, (("kind", kind),)) for kind in SOFTIRQS[: layout.softirqs]]
    scheduler = [Series(SCHEDULER[key]) for key in layout.scheduler]
    return (*per_core, *whole, *guests, *scheduler, *kinds)
