"""Processor time through psutil."""

import psutil

from collectors_dagster.collectors.cpu import (
    CONTEXT_SWITCHES,
    CPU_BUSY_SECONDS,
    CPU_COUNT,
    CPU_IOWAIT_SECONDS,
    CPU_SECONDS,
    MODES,
)
from collectors_dagster.collectors.protocol import Host, Reading, Series


class PortableCpu:
    """Processor time per core, for the modes that the platform knows."""

    name = "cpu"
    metrics = (CPU_SECONDS, CPU_BUSY_SECONDS, CPU_IOWAIT_SECONDS, CPU_COUNT, CONTEXT_SWITCHES)

    def __init__(self, host: Host) -> None:
        self._shape: tuple[int, tuple[str, ...]] = (0, ())
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        cores = [core._asdict() for core in psutil.cpu_times(percpu=True)]
        modes = tuple(mode for mode in MODES if mode in cores[0])
        if (len(cores), modes) != self._shape:
            self._shape, self._series = (len(cores), modes), _series(len(cores), modes)
        busy = sum(core[mode] for core in cores for mode in modes if mode not in {"idle", "iowait"})
        iowait = sum(core.get("iowait", 0.0) for core in cores)
        values = [core[mode] for core in cores for mode in modes]
        return Reading(self._series, [*values, busy, iowait, len(cores), psutil.cpu_stats().ctx_switches])

    def close(self) -> None:
        """Nothing is held."""


def _series(cores: int, modes: tuple[str, ...]) -> tuple[Series, ...]:
    per_core = [Series(CPU_SECONDS, (("cpu", str(core)), ("mode", mode))) for core in range(cores) for mode in modes]
    whole = (CPU_BUSY_SECONDS, CPU_IOWAIT_SECONDS, CPU_COUNT, CONTEXT_SWITCHES)
    return (*per_core, *(Series(metric) for metric in whole))
