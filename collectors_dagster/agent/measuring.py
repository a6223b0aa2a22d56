"""What sampling costs on this very host: `collectors agent bench`. Needs no running agent and disturbs none."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from collectors_dagster.agent.form import Form
from collectors_dagster.agent.quota import Quotas
from collectors_dagster.agent.records import SegmentHeader
from collectors_dagster.agent.sampling import Sampler
from collectors_dagster.agent.spool import Spool, SpoolLimits
from collectors_dagster.clock import Clock
from collectors_dagster.collectors import collectors_of
from collectors_dagster.collectors.protocol import Host, cadence_of
from collectors_dagster.collectors.runner import Runner

HOT_CALLS = 50
SETTLING_SWEEPS = 3
ROOMY = SpoolLimits(Quotas(10**9, 24.0, 10**9, 24.0), fsync_interval_seconds=5.0)


@dataclass(frozen=True, slots=True)
class SourceCost:
    """One collector, read over and over.

    Attributes
    ----------
    hot_microseconds : float
        Processor time of one reading, median.
    interval_seconds : float
        Between two readings at work; 0 for every sweep.
    """

    source: str
    series: int
    hot_microseconds: float
    interval_seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SamplingCost:
    """Sampling at work, with its record on disk.

    Attributes
    ----------
    sweep_microseconds : float
        Processor time per sweep, at the agent's interval and so with cold caches.
    core_share : float
        Share of one core, 0..1.
    """

    sweeps: int
    series: int
    sweep_microseconds: float
    core_share: float
    sources: tuple[SourceCost, ...]

    def as_json(self) -> dict[str, object]:
        """Return the figures for programs."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the figures for people."""
        head = (
            f"{self.series} series, {self.sweep_microseconds:.0f} us of processor time a sweep, record on disk included"
        )
        rows = [
            f"{one.source:10} {one.series:5} series {one.hot_microseconds:8.1f} us a reading, "
            + (f"every {one.interval_seconds:g} s" if one.interval_seconds else "every sweep")
            + (f"; {one.error}" if one.error else "")
            for one in self.sources
        ]
        return [head, f"{100 * self.core_share:.3f} % of a core over {self.sweeps} sweeps", *rows]


def measure(host: Host, clock: Clock, *, seconds: float, interval_seconds: float) -> SamplingCost:
    """Sample for a while into a spool that is thrown away, then read each collector over and over.

    Parameters
    ----------
    seconds : float
        How long to sample at the agent's interval.
    """
    collectors = collectors_of(host)
    header = SegmentHeader("measuring", "measuring", "", "")
    with tempfile.TemporaryDirectory(prefix="collectors-bench-") as scratch:
        spool = Spool(Path(scratch), header, ROOMY, clock, Form())
        sampler = Sampler(Runner(collectors, clock), spool, clock)
        for _ in range(SETTLING_SWEEPS):  # opens files, finds columns
            sampler.sweep()
        sweeps = max(1, round(seconds / interval_seconds))
        began = time.process_time()
        for _ in range(sweeps):
            clock.sleep(interval_seconds)
            sampler.sweep()
        used = time.process_time() - began
        spool.close()
    sources = tuple(_source_cost(one.name, one, one.read) for one in collectors)
    for one in collectors:
        one.close()
    return SamplingCost(
        sweeps, sampler.progress.series, used / sweeps * 1e6, used / (sweeps * interval_seconds), sources
    )


def _source_cost(name: str, collector: object, read: Callable[[], object]) -> SourceCost:
    interval = cadence_of(collector).interval_seconds
    try:
        series = len(getattr(read(), "series", ()))
        return SourceCost(name, series, median(_microseconds(read) for _ in range(HOT_CALLS)), interval)
    except Exception as error:  # noqa: BLE001 - a source that fails here fails at work too; the others are measured
        return SourceCost(name, 0, 0.0, interval, f"{type(error).__name__}: {error}")


def _microseconds(read: Callable[[], object]) -> float:
    began = time.process_time()
    read()
    return (time.process_time() - began) * 1e6
