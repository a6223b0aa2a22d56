"""The sampling loop: sweep, append, wait for the next time."""

from collections.abc import Callable
from dataclasses import dataclass

from collectors_dagster.agent.schedule import Schedule, first_due
from collectors_dagster.agent.spool import Spool
from collectors_dagster.agent.stop import Stopping
from collectors_dagster.agent.timing import Instant, clock_changes, read_instant
from collectors_dagster.clock import Clock
from collectors_dagster.collectors.runner import Runner, Sweep
from collectors_dagster.logs import get_logger

log = get_logger("agent")

UPKEEP_SECONDS = 2.0


@dataclass(slots=True)
class SamplingProgress:
    """How sampling is doing.

    Attributes
    ----------
    overruns : int
        Times at which no look was taken, because the one before was not over or the machine slept.
    last_seconds, total_seconds : float
        Duration of a sweep with its append.
    clock_events : int
        Times at which the wall clock was set, or the machine slept.
    """

    sweeps: int = 0
    overruns: int = 0
    series: int = 0
    last_seconds: float = 0.0
    total_seconds: float = 0.0
    clock_events: int = 0


class Sampler:
    """Looks at the host again and again. For one thread."""

    def __init__(self, runner: Runner, spool: Spool, clock: Clock, *, progress: SamplingProgress | None = None) -> None:
        self.progress = progress or SamplingProgress()
        self.newest: Sweep | None = None
        self.after: Callable[[Sweep, float], None] = _ignore
        """Told of each sweep and its monotonic time, once it is written."""
        self._runner = runner
        self._spool = spool
        self._clock = clock
        self._before: Instant | None = None

    def sweep(self) -> None:
        """Read all collectors and append what they say."""
        instant = read_instant(self._clock)
        started = instant.mono_ns / 1e9
        changes = () if self._before is None else clock_changes(self._before, instant)
        self._before = instant
        sweep = self._runner.sweep()
        self._spool.append(sweep, instant.wall_ns, instant.mono_ns, changes)
        self.newest = sweep
        self.after(sweep, started)
        for change in changes:
            self.progress.clock_events += 1
            log.warning("the clock is not what it was", event_kind=change.kind.value, seconds=round(change.seconds, 3))
        progress = self.progress
        progress.sweeps += 1
        progress.series = len(sweep.columns)
        progress.last_seconds = self._clock.monotonic() - started
        progress.total_seconds += progress.last_seconds

    def run(self, interval_seconds: float, stop: Stopping, upkeep: Callable[[], None]) -> None:
        """Sweep once per interval until `stop` is set.

        Parameters
        ----------
        upkeep : callable
            Called after each sweep, and at least every `UPKEEP_SECONDS`; so is the spool's own upkeep.
        """
        schedule, events = self._begun(interval_seconds), self.progress.clock_events
        while not stop.wait(max(0.0, min(schedule.due - self._clock.monotonic(), UPKEEP_SECONDS))):
            if self._clock.monotonic() >= schedule.due:
                self.sweep()
                schedule = schedule.after(self._clock.monotonic())
                if self.progress.clock_events > events:  # the wall clock's grid lies elsewhere now
                    events = self.progress.clock_events
                    schedule = self._begun(interval_seconds, interval_seconds / 2)._replace(missed=schedule.missed)
                self.progress.overruns = schedule.missed
            self._spool.tend()
            upkeep()

    def _begun(self, interval_seconds: float, after_seconds: float = 0.0) -> Schedule:
        """Return a schedule on the wall clock's grid whose first time is at least so far away."""
        now, wall = self._clock.monotonic() + after_seconds, self._clock.now().timestamp() + after_seconds
        return Schedule(interval_seconds, first_due(now, wall, interval_seconds))


def _ignore(sweep: Sweep, at: float) -> None:
    """Do nothing."""
