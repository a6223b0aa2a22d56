"""Processor time through psutil."""

import psutil

from collectors_dagster.collectors.cpu import (
    CONTEXT_SWITCHES,
    CPU_BUSY_SECONDS,
    CPU_COUNT,
    CPU_GUEST_SECONDS,
    CPU_IOWAIT_SECONDS,
    CPU_SECONDS,
    GUEST_MODES,
    INTERRUPTS,
    MODES,
)
from collectors_dagster.collectors.frequency import CPU_FREQUENCY, REFRESH_SECONDS
from collectors_dagster.collectors.parts import NOTHING, Parts, Slowly
from collectors_dagster.collectors.protocol import Host, Reading, Series

GUESTS = ("guest", "guest_nice")
"""What psutil calls each of `GUEST_MODES`, on Linux only."""
WHOLE = (CPU_BUSY_SECONDS, CPU_IOWAIT_SECONDS, CPU_COUNT, CONTEXT_SWITCHES, INTERRUPTS)


class PortableCpu:
    """Processor time per core, for the modes that the platform knows."""

    name = "cpu"
    metrics = (CPU_SECONDS, *WHOLE, CPU_GUEST_SECONDS, CPU_FREQUENCY)

    def __init__(self, host: Host) -> None:
        self._parts = Parts(_Times(), _Frequency(host))

    def read(self) -> Reading:
        """Return the present values."""
        return self._parts.read()

    def close(self) -> None:
        """Nothing is held."""


class _Times:
    """Times and counters."""

    def __init__(self) -> None:
        self._shape: tuple[int, tuple[str, ...], tuple[str, ...]] = (0, (), ())
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        cores = [core._asdict() for core in psutil.cpu_times(percpu=True)]
        modes = tuple(mode for mode in MODES if mode in cores[0])
        guests = tuple(mode for mode in GUESTS if mode in cores[0])
        if (len(cores), modes, guests) != self._shape:
            self._shape = (len(cores), modes, guests)
            self._series = _series(*self._shape)
        busy = sum(core[mode] for core in cores for mode in modes if mode not in {"idle", "iowait"})
        iowait = sum(core.get("iowait", 0.0) for core in cores)
        stats = psutil.cpu_stats()
        values = [core[mode] for core in cores for mode in modes]
        values += (busy, iowait, len(cores), stats.ctx_switches, stats.interrupts)
        return Reading(self._series, values + [sum(core[mode] for core in cores) for mode in guests])

    def close(self) -> None:
        """Nothing is held."""


class _Frequency:
    """Frequency, where the platform tells it."""

    def __init__(self, host: Host) -> None:
        self._series = (Series(CPU_FREQUENCY),)
        self._reading = Slowly(self._ask, host.clock, REFRESH_SECONDS)

    def read(self) -> Reading:
        """Return the latest value."""
        return self._reading()

    def close(self) -> None:
        """Nothing is held."""

    def _ask(self) -> Reading:
        found = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
        return Reading(self._series, (found.current * 1e6,)) if found and found.current else NOTHING


def _series(cores: int, modes: tuple[str, ...], guests: tuple[str, ...]) -> tuple[Series, ...]:
    per_core = [Series(CPU_SECONDS, (("cpu", str(core)), ("mode", mode))) for core in range(cores) for mode in modes]
    of_guests = [Series(CPU_GUEST_SECONDS, (("mode", GUEST_MODES[GUESTS.index(mode)]),)) for mode in guests]
    return (*per_core, *(Series(metric) for metric in WHOLE), *of_guests)
