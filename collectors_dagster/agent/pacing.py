"""How often each source is looked at: the tenants' strategies applied to what is being seen.

The rule is in ``strategies.sampling``; here are the values it is given. A source is judged by few of its series; one
without an entry here is always read at its own interval.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from collectors_dagster.clock import Clock
from collectors_dagster.collectors.runner import Column, Runner, Sweep
from collectors_dagster.logs import get_logger
from collectors_dagster.samples import Kind
from collectors_dagster.strategies.sampling import (
    Pace,
    SamplingBounds,
    Situation,
    demanded,
    next_pace,
)
from collectors_dagster.tenants import Sampling, Tenant

TELLING = {
    "cpu": ("cpu_busy_seconds_total", "cpu_iowait_seconds_total"),
    "load": ("load1",),
    "memory": ("memory_available_bytes",),
    "disk": ("disk_read_bytes_total", "disk_written_bytes_total", "disk_io_seconds_total"),
    "network": ("network_receive_bytes_total", "network_transmit_bytes_total"),
    "pressure": tuple(f"pressure_{one}_waiting_seconds_total" for one in ("cpu", "memory", "io")),
}
"""By source, the metrics whose sum over all devices tells whether something happens."""
PRESSURE = "pressure"

PEAK_SPAN = timedelta(minutes=10)
"""So long before and after an expected peak a source is read at the fastest."""
PEAKS_AGAIN_SECONDS = 600.0

log = get_logger("pacing")


class ExpectedPeaks:
    """When forecasts say that this host will be busiest. The delivering thread learns it, the sampling one asks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._peaks: tuple[datetime, ...] = ()
        self._due = clock.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to ask the store again."""
        return self._clock.monotonic() >= self._due

    def learn(self, peaks: Iterable[datetime]) -> None:
        """Take over what the store says; nothing new keeps what is known."""
        self._due = self._clock.monotonic() + PEAKS_AGAIN_SECONDS
        self._peaks = tuple(peaks) or self._peaks

    def now(self) -> bool:
        """Tell whether a peak is expected about now."""
        now = self._clock.now()
        return any(abs(peak - now) <= PEAK_SPAN for peak in self._peaks)


@dataclass(slots=True)
class _Watched:
    """A source that may be read at various intervals.

    Attributes
    ----------
    places : for each telling metric, whether it is a counter and where its values stand
    sums : the last reading's, and when it was
    """

    bounds: SamplingBounds
    pace: Pace
    places: tuple[tuple[bool, tuple[int, ...]], ...] = ()
    sums: tuple[float, ...] = ()
    read_at: float = math.nan

    def observe(self, values: Iterable[float], at: float) -> tuple[tuple[float, ...], float] | None:
        """Return the values to judge and the seconds since the last ones; ``None`` if the source was not read."""
        numbers = tuple(values)
        sums = tuple(sum(numbers[index] for index in indices) for _, indices in self.places)
        if not sums or all(math.isnan(one) for one in sums):
            return None
        seconds, before = at - self.read_at, self.sums
        self.sums, self.read_at = sums, at
        if not seconds > 0 or len(before) != len(sums):
            return None
        rates = tuple(
            _rate(now - then, seconds) if counter else now
            for (counter, _), now, then in zip(self.places, sums, before, strict=True)
        )
        return rates, seconds


def _rate(increase: float, seconds: float) -> float:
    return increase / seconds if increase >= 0 else math.nan


@dataclass(slots=True)
class Pacing:
    """Sets the runner's intervals. For the sampling thread.

    Parameters
    ----------
    sample_interval_seconds : float
        No source is read more often.
    peak_expected : callable
        Tells whether a forecast peak of this host is about now.
    """

    runner: Runner
    sample_interval_seconds: float
    peak_expected: Callable[[], bool] = lambda: False
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _columns: tuple[Column, ...] = ()
    _pressure: float = 0.0

    @property
    def adaptive(self) -> bool:
        """Whether any source may change its interval."""
        return bool(self._watched)

    @property
    def reasons(self) -> dict[str, str]:
        """Why each source that may change its interval has the one it has: calm, trend, pressure, a peak expected."""
        watched = tuple(self._watched.items())  # other threads ask while the sampling one changes it
        return {source: one.pace.reason for source, one in watched}

    def follow(self, tenants: Iterable[Tenant]) -> None:
        """Take over what the tenants ask for; a source that nobody wants adaptive is read at its own interval."""
        wishes: dict[str, list[SamplingBounds]] = {}
        for tenant in tenants:
            for source in tenant.system.collectors:
                wishes.setdefault(source, []).append(self._bounds(tenant))
        for source, tally in self.runner.tallies.items():
            bounds = demanded(wishes.get(source, []))
            if source not in TELLING or bounds is None or bounds.slowest <= bounds.fastest:
                if self._watched.pop(source, None) is not None:
                    self.runner.read_every(source, 0.0)
            elif source not in self._watched:
                self._watched[source] = _Watched(bounds, Pace(max(tally.interval_seconds, bounds.fastest)))
            else:
                watched = self._watched[source]
                watched.bounds = bounds
                self._change(
                    source, watched, replace(watched.pace, interval_seconds=bounds.clipped(tally.interval_seconds))
                )
        self._columns = ()

    def after(self, sweep: Sweep, at: float) -> None:
        """Judge a sweep taken `at` a monotonic time, and change intervals for those after it."""
        if not self._watched:
            return
        if sweep.columns is not self._columns:
            self._find(sweep.columns)
        expected = self.peak_expected()
        for source, watched in self._watched.items():
            seen = watched.observe(sweep.values, at)
            if seen is None:
                continue
            values, seconds = seen
            if source == PRESSURE:
                self._pressure = max((value for value in values if not math.isnan(value)), default=0.0)
            situation = Situation(self._pressure, expected)
            self._change(source, watched, next_pace(watched.pace, values, seconds, watched.bounds, situation))

    def _change(self, source: str, watched: _Watched, pace: Pace) -> None:
        if pace.interval_seconds != watched.pace.interval_seconds:
            self.runner.read_every(source, pace.interval_seconds)
            log.debug("interval changed", source=source, seconds=pace.interval_seconds, reason=pace.reason)
        watched.pace = pace

    def _bounds(self, tenant: Tenant) -> SamplingBounds:
        system = tenant.system
        slowest = system.slowest_seconds if system.sampling is Sampling.ADAPTIVE else 0.0
        return SamplingBounds(self.sample_interval_seconds, max(self.sample_interval_seconds, slowest))

    def _find(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        for source, watched in self._watched.items():
            places = []
            for metric in TELLING[source]:
                at = [
                    (index, one)
                    for index, one in enumerate(columns)
                    if (one.collector, one.metric.name) == (source, metric)
                ]
                if at:
                    places.append((at[0][1].metric.kind is Kind.COUNTER, tuple(index for index, _ in at)))
            watched.places, watched.sums, watched.read_at = tuple(places), (), math.nan
