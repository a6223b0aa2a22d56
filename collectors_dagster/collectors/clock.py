"""How right the host's clock is: the kernel's discipline (``adjtimex``), steps of wall time, boot time."""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import ClassVar, NamedTuple

from collectors_dagster.clock import Clock as ClockProtocol
from collectors_dagster.collectors.parts import NAN, Slowly
from collectors_dagster.collectors.procfs import ProcFile, naturals, parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.errors import CollectionError, InvalidSampleError, SourceUnavailableError
from collectors_dagster.samples import Kind, Metric

BOOT_REFRESH_SECONDS = 60.0
"""The time of the boot changes only with a step of the wall clock."""
UNSYNCHRONISED = 5
"""``TIME_ERROR``: what ``adjtimex`` answers while nobody disciplines the clock."""
NANOSECONDS = 0x2000
"""``STA_NANO``: the offset is in nanoseconds instead of microseconds."""
PARTS_PER_MILLION = 65536
"""The kernel's frequency is in parts per million, as fixed point with sixteen binary places."""


def _gauge(
    name: str, unit: str, text: str, exporter: str | None, *, peak: bool = False, detail: bool = False
) -> Metric:
    name = f"clock_{name}"
    return Metric(name, Kind.GAUGE, unit, text, peak=peak, detail=detail, exporter=exporter)


OFFSET = _gauge(
    "offset_seconds",
    "seconds",
    "Distance to the time source, whichever way, that the kernel still works off.",
    "node_timex_offset_seconds",
)
SYNCHRONISED = _gauge("synchronised", "flag", "1 if something disciplines the clock.", "node_timex_sync_status")
ESTIMATED_ERROR = _gauge(
    "estimated_error_seconds",
    "seconds",
    "Error as the time service estimates it.",
    "node_timex_estimated_error_seconds",
    detail=True,
)
MAXIMUM_ERROR = _gauge(
    "maximum_error_seconds",
    "seconds",
    "Bound of the error; grows while nobody answers.",
    "node_timex_maxerror_seconds",
    detail=True,
)
FREQUENCY = _gauge(
    "frequency_adjustment_ratio",
    "ratio",
    "How fast the clock is made to run, 1 being as it came.",
    "node_timex_frequency_adjustment_ratio",
    detail=True,
)
STEP = _gauge(
    "step_seconds",
    "seconds",
    "How far wall time jumped since the previous reading, whichever way; a suspended machine shows here too.",
    None,
    peak=True,
)
BOOT = Metric(
    "boot_time_seconds",
    Kind.GAUGE,
    "seconds",
    "When the host started, in seconds since 1970.",
    detail=True,
    exporter="node_boot_time_seconds",
    otel="system.uptime",
)
DISCIPLINE = (OFFSET, SYNCHRONISED, ESTIMATED_ERROR, MAXIMUM_ERROR, FREQUENCY)


class Timex(NamedTuple):
    """What the kernel says of its clock.

    Attributes
    ----------
    state : int
        `UNSYNCHRONISED`, or a number that says whether a leap second comes.
    status : int
        Bits, of which `NANOSECONDS` matters here.
    offset : int
        Nanoseconds or microseconds, signed.
    frequency : int
        Parts per million times `PARTS_PER_MILLION`, signed.
    maximum_error, estimated_error : int
        Microseconds.
    """

    state: int
    status: int
    offset: int
    frequency: int
    maximum_error: int
    estimated_error: int


def discipline(timex: Timex) -> list[float]:
    """Return the values of `DISCIPLINE`.

    Raises
    ------
    InvalidSampleError
        If an error is negative, or the clock would stand still.

    Examples
    --------
    >>> discipline(Timex(0, NANOSECONDS, -1500, 65536000, 16000, 40))
    [1.5e-06, 1.0, 4e-05, 0.016, 1.001]
    """
    ratio = 1 + timex.frequency / PARTS_PER_MILLION / 1e6
    if timex.estimated_error < 0 or timex.maximum_error < 0 or ratio <= 0:
        raise InvalidSampleError(f"clock: the kernel's clock says nonsense: {timex}", source="clock")
    unit = 1e9 if timex.status & NANOSECONDS else 1e6
    return [
        abs(timex.offset) / unit,
        float(timex.state != UNSYNCHRONISED),
        timex.estimated_error / 1e6,
        timex.maximum_error / 1e6,
        ratio,
    ]


class _Fields(ctypes.Structure):
    """``struct timex``; behind what is read here lie more than a hundred bytes that the kernel may fill."""

    _fields_: ClassVar = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    ]


@cache
def _adjtimex() -> Callable[[object], int]:
    return ctypes.CDLL(None, use_errno=True).adjtimex


def kernel_timex() -> Timex:
    """Ask this machine's kernel; asking changes nothing and needs no right.

    Raises
    ------
    SourceUnavailableError
        If a sandbox forbids it.
    """
    fields = _Fields()
    state = _adjtimex()(ctypes.byref(fields))
    if state < 0:
        reason = os.strerror(ctypes.get_errno())
        raise SourceUnavailableError(f"the kernel's clock cannot be asked (adjtimex): {reason}", source="clock")
    return Timex(state, fields.status, fields.offset, fields.freq, fields.maxerror, fields.esterror)


@parser("clock")
def parse_boot_time(data: bytes) -> int:
    r"""Return the second of the boot from ``/proc/stat``.

    Examples
    --------
    >>> parse_boot_time(b"cpu 1 2 3 4\nbtime 1400000000\n")
    1400000000
    """
    for line in data.splitlines():
        key, _, value = line.partition(b" ")
        if key == b"btime":
            return naturals([value.strip()])[0]
    raise ValueError("no btime")


class Steps:
    """Watches wall time jump, against the clock that never does."""

    def __init__(self, clock: ClockProtocol) -> None:
        self._clock = clock
        self._distance: float | None = None

    def step(self) -> float:
        """Return the seconds that wall time jumped since the last call, 0 at the first."""
        distance = self._clock.now().timestamp() - self._clock.monotonic()
        before, self._distance = self._distance, distance
        return 0.0 if before is None else abs(distance - before)


class Clock:
    """Discipline of the clock, steps of wall time, boot time.

    Parameters
    ----------
    timex : callable
        Asks the kernel; may raise :class:`CollectionError`. A container has its host's clock.
    """

    name = "clock"
    interval_seconds = 5.0
    metrics = (*DISCIPLINE, STEP, BOOT)

    def __init__(self, host: Host, *, timex: Callable[[], Timex] = kernel_timex) -> None:
        self._timex = timex
        self._stat = ProcFile(host.proc_root / "stat", source=self.name, single=True)
        self._boot = Slowly(lambda: parse_boot_time(self._stat.read()), host.clock, BOOT_REFRESH_SECONDS)
        self._steps = Steps(host.clock)
        self._series = tuple(Series(metric) for metric in self.metrics)

    def read(self) -> Reading:
        """Return the present values; the discipline is unknown where a sandbox forbids to ask for it."""
        rest = (self._steps.step(), self._boot())
        try:
            return Reading(self._series, (*discipline(self._timex()), *rest))
        except CollectionError as error:
            return Reading(self._series, (*(NAN for _ in DISCIPLINE), *rest), (error,))

    def close(self) -> None:
        """Close the file."""
        self._stat.close()
