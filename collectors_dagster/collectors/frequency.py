"""How fast the cores run: sysfs ``cpufreq`` (absent on most virtual machines)."""

from pathlib import Path

from collectors_dagster.collectors.parts import NOTHING, Slowly
from collectors_dagster.collectors.procfs import LOOK_AGAIN_SECONDS, attribute, natural, parser
from collectors_dagster.collectors.protocol import Host, Reading, Series
from collectors_dagster.samples import Kind, Metric

REFRESH_SECONDS = 10.0
"""On some processors asking a core for its frequency interrupts it."""

CPU_FREQUENCY = Metric(
    "cpu_frequency_hertz",
    Kind.GAUGE,
    "hertz",
    "Present frequency, mean over the cores.",
    detail=True,
    exporter="node_cpu_scaling_frequency_hertz",
    otel="system.cpu.frequency",
)
CPU_FREQUENCY_LOWEST = Metric(
    "cpu_frequency_lowest_hertz", Kind.GAUGE, "hertz", "Present frequency of the slowest core.", detail=True
)
CPU_FREQUENCY_LIMIT = Metric(
    "cpu_frequency_limit_hertz",
    Kind.GAUGE,
    "hertz",
    "Highest frequency that the fastest core can reach.",
    detail=True,
    exporter="node_cpu_frequency_max_hertz",
)
METRICS = (CPU_FREQUENCY, CPU_FREQUENCY_LOWEST, CPU_FREQUENCY_LIMIT)
SERIES = tuple(Series(metric) for metric in METRICS)


@parser("cpu")
def parse_frequencies(present: list[bytes], highest: list[bytes]) -> list[float]:
    """Return the values of `METRICS`, from what sysfs says of each core in kHz.

    Examples
    --------
    >>> parse_frequencies([b"1800000", b"2200000"], [b"3500000", b"3500000"])
    [2000000000.0, 1800000000, 3500000000]
    """
    now = [1000 * natural(text) for text in present]
    return [sum(now) / len(now), min(now), max(1000 * natural(text) for text in highest)]


class Frequency:
    """Frequency over all cores, refreshed every `REFRESH_SECONDS`."""

    def __init__(self, host: Host) -> None:
        self._root = host.sys_root / "devices/system/cpu"
        self._cores = Slowly(self._find, host.clock, LOOK_AGAIN_SECONDS)
        self._reading = Slowly(self._ask, host.clock, REFRESH_SECONDS)

    def read(self) -> Reading:
        """Return the latest values; none where the frequency is not told."""
        return self._reading()

    def close(self) -> None:
        """Nothing is held."""

    def _find(self) -> list[Path]:
        """Return what there is of each core, without those switched off: looking for it costs more than reading it."""
        return sorted(self._root.glob("cpu[0-9]*/cpufreq"))

    def _ask(self) -> Reading:
        scaling = self._cores()
        present, highest = _said(scaling, "scaling_cur_freq"), _said(scaling, "cpuinfo_max_freq")
        if not present or not highest:
            return NOTHING
        return Reading(SERIES, parse_frequencies(present, highest))


def _said(scaling: list[Path], name: str) -> list[bytes]:
    return [text for core in scaling if (text := attribute(core / name)) is not None]
