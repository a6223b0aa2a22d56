"""The agent as one of its own sources: what it costs, and how often it looks at each other source."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from collectors_dagster.agent.footprint import Footprint
from collectors_dagster.agent.intervals import INTERVAL
from collectors_dagster.agent.sampling import SamplingProgress
from collectors_dagster.collectors.protocol import Reading, Series
from collectors_dagster.collectors.runner import Tally
from collectors_dagster.samples import Kind, Metric

EVERY = Metric(INTERVAL, Kind.GAUGE, "seconds", "Time between two readings of a source, as it is now.")
CPU = Metric("agent_cpu_seconds_total", Kind.COUNTER, "seconds", "Processor time of the agent itself.")
RESIDENT = Metric("agent_resident_memory_bytes", Kind.GAUGE, "bytes", "Memory of the agent itself that is resident.")
SWEEP = Metric("agent_sweep_seconds", Kind.GAUGE, "seconds", "Time that the last look at all sources took.", peak=True)
OVERRUNS = Metric(
    "agent_overruns_total", Kind.COUNTER, "operations", "Looks not taken because the one before was not over."
)


class Own:
    """What the agent knows of itself.

    Parameters
    ----------
    progress : SamplingProgress
        Of the sampling loop.
    sample_interval_seconds : float
        Of the host; a source that is read at every sweep is told with it.
    """

    name = "agent"
    metrics = (EVERY, CPU, RESIDENT, SWEEP, OVERRUNS)

    def __init__(self, progress: SamplingProgress, sample_interval_seconds: float, proc: Path = Path("/proc")) -> None:
        self.tallies: Mapping[str, Tally] = {}
        self._progress = progress
        self._sample_interval = sample_interval_seconds
        self._footprint = Footprint(proc, self.name)
        self._sources: tuple[str, ...] = ()
        self._series: tuple[Series, ...] = ()

    def read(self) -> Reading:
        """Return the present values."""
        sources = tuple(self.tallies)
        if sources != self._sources or not self._series:
            self._sources = sources
            told = [Series(EVERY, (("source", source),)) for source in sources]
            self._series = (*told, *(Series(metric) for metric in self.metrics[1:]))
        return Reading(self._series, [*self._intervals(), *self._costs()])

    def close(self) -> None:
        """Close the file."""
        self._footprint.close()

    def _intervals(self) -> Sequence[float]:
        return [max(tally.interval_seconds, self._sample_interval) for tally in self.tallies.values()]

    def _costs(self) -> tuple[float, ...]:
        progress = self._progress
        return (time.process_time(), self._footprint.resident_bytes(), progress.last_seconds, float(progress.overruns))
