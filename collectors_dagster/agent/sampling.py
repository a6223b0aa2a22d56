"""The sampling loop: sweep, append, wait for the next time."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from collectors_dagster.agent.schedule import Schedule, first_due
from collectors_dagster.agent.spool import Spool
from collectors_dagster.clock import Clock
from collectors_dagster.collectors.runner import Runner, Sweep

UPKEEP_SECONDS = 2.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class SamplingProgress:
    """How sampling is doing.

    Attributes
    ----------
    overruns : int
        Times at which no look was taken, because the one before was not over or the machine slept.
    last_seconds, total_seconds : float
        Duration of a sweep with its append.
    """

    sweeps: int = 0
    overruns: int = 0
    series: int = 0
    last_seconds: float = 0.0
    total_seconds: float = 0.0


class Sampler:
    """Looks at the host again and again. For one thread."""

    def __init__(self, runner: Runner, spool: Spool, clock: Clock, *, progress: SamplingProgress | None = None) -> None:
        self.progress = progress or SamplingProgress()
        self.after: Callable[[Sweep, float], None] = _ignore
        """Told of each sweep and its monotonic time, once it is written."""
        self._runner = runner
        self._spool = spool
        self._clock = clock

    def sweep(self) -> None:
        """Read all collectors and append what they say."""
        started = self._clock.monotonic()
        wall_ns = nanoseconds(self._clock.now())
        sweep = self._runner.sweep()
        self._spool.append(sweep, wall_ns, round(started * 1e9))
        self.after(sweep, started)
        progress = self.progress
        progress.sweeps += 1
        progress.series = len(sweep.columns)
        progress.last_seconds = self._clock.monotonic() - started
        progress.total_seconds += progress.last_seconds

    def run(self, interval_seconds: float, stop: threading.Event, upkeep: Callable[[], None]) -> None:
        """Sweep once per interval until `stop` is set.

        Parameters
        ----------
        upkeep : callable
            Called after each sweep, and at least every `UPKEEP_SECONDS`.
        """
        now = self._clock.monotonic()
        schedule = Schedule(interval_seconds, first_due(now, self._clock.now().timestamp(), interval_seconds))
        while not stop.wait(max(0.0, min(schedule.due - self._clock.monotonic(), UPKEEP_SECONDS))):
            if self._clock.monotonic() >= schedule.due:
                self.sweep()
                schedule = schedule.after(self._clock.monotonic())
                self.progress.overruns = schedule.missed
            upkeep()


def _ignore(sweep: Sweep, at: float) -> None:
    """Do nothing."""


def nanoseconds(instant: datetime) -> int:
    """Return nanoseconds since the epoch, exactly.

    Examples
    --------
    >>> nanoseconds(datetime(1970, 1, 2, 0, 0, 0, 1, tzinfo=UTC))
    86400000001000
    """
    since = instant - _EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
