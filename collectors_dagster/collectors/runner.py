"""The frame around collectors: it times, isolates, limits and counts each of them."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from collectors_dagster.clock import Clock, instant_of
from collectors_dagster.collectors.protocol import Collector, Series, Waiting, cadence_of
from collectors_dagster.errors import InvalidSampleError, SourceUnavailableError
from collectors_dagster.logs import get_logger
from collectors_dagster.patterns.circuit_breaker import (
    BreakerPolicy,
    BreakerState,
    Outcome,
    Permit,
    Phase,
    admit,
    settle,
)
from collectors_dagster.samples import Labels, Metric

MAX_SERIES = 2000
"""Series that one collector may report; what it names last is refused and counted, the sweep goes on."""

EARLY = 0.9
"""A source is due a little before its interval is over: sweeps come on a grid, give or take milliseconds."""
DEFAULT_POLICY = BreakerPolicy(failure_threshold=10, recovery_seconds=30.0)

log = get_logger("collectors")
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Column:
    """One value's place in a sweep: which collector reports which series."""

    collector: str
    metric: Metric
    labels: Labels = ()


class Sweep(NamedTuple):
    """All values of one instant.

    Attributes
    ----------
    columns : tuple of Column
        The same object as last time unless the set of series changed.
    values : array of float
        One per column; NaN where the collector failed.
    """

    columns: tuple[Column, ...]
    values: "array[float]"


@dataclass(slots=True)
class Tally:
    """What became of one collector's readings so far.

    Attributes
    ----------
    interval_seconds : float
        Between two readings, at present; 0 for every sweep.
    last_success_ns : int or None
        Beginning of the newest sweep in which it answered, on the wall clock.
    skipped : int
        Readings not tried because the circuit was open.
    circuit : Phase
        Of the collector's circuit breaker.
    """

    readings: int = 0
    points: int = 0
    refused_series: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    last_error: str | None = None
    last_success_ns: int | None = None
    last_seconds: float = 0.0
    total_seconds: float = 0.0
    interval_seconds: float = 0.0
    skipped: int = 0
    circuit: Phase = Phase.CLOSED

    @property
    def last_success(self) -> datetime | None:
        """The same as an instant."""
        return None if self.last_success_ns is None else instant_of(self.last_success_ns)


HEALTHY = BreakerState()
"""A circuit that remembers no failure. Successes of such a circuit need no note: that keeps it out of the hot path."""
FREE = Permit(HEALTHY.generation)


class _Slot:
    """A collector with its series, its tally, its circuit and the time of its next reading."""

    __slots__ = (
        *("collector", "read", "name", "cadence", "tally", "series", "columns", "blank", "waiting", "due"),
        *("_policy", "_breaker", "_read_at", "_told", "_told_before"),
    )

    def __init__(self, collector: Collector, policy: BreakerPolicy) -> None:
        self.collector = collector
        self.read = collector.read
        self.name = collector.name
        self.cadence = cadence_of(collector)
        self.tally = Tally(interval_seconds=self.cadence.interval_seconds)
        self.series: tuple[Series, ...] = ()
        self.columns: tuple[Column, ...] = ()
        self.blank: array[float] = array("d")
        self.waiting = collector if isinstance(collector, Waiting) else None
        self._policy = policy
        self._breaker = HEALTHY
        self.due = self._read_at = -math.inf
        self._told: set[str] = set()
        self._told_before: set[str] = set()

    def adopt(self, series: tuple[Series, ...]) -> None:
        """Take over a new set of series, within the limit; say so once if it is reached, however often the set changes.

        A collector names the most important first.
        """
        self.series = series
        refused_before = self.tally.refused_series
        self.tally.refused_series = max(0, len(series) - MAX_SERIES)
        self.columns = tuple(Column(self.name, one.metric, one.labels) for one in series[:MAX_SERIES])
        self.blank = array("d", [NAN]) * len(self.columns)
        if self.tally.refused_series and not refused_before:
            log.warning("series refused", collector=self.name, refused=self.tally.refused_series, limit=MAX_SERIES)

    def claim(self, now: float) -> Permit | None:
        """Return leave to read; ``None`` if it is not time yet, or the circuit is open."""
        if now < self.due:
            return None
        self.due, self._read_at = now + EARLY * self.tally.interval_seconds, now
        permit = FREE if self._breaker is HEALTHY else self._admitted(now)
        if permit is not None and (self._told or self._told_before):
            self._told, self._told_before = set(), self._told
        return permit

    def _admitted(self, now: float) -> Permit | None:
        self._breaker, permit = admit(self._policy, self._breaker, now)
        self.tally.skipped += permit is None
        self.tally.circuit = self._breaker.phase
        return permit

    def settle(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """Tell the circuit how a reading ended."""
        if self._breaker is HEALTHY and outcome is Outcome.SUCCESS:
            return
        before = self._breaker.phase
        self._breaker = settle(self._policy, self._breaker, permit, outcome, now)
        self.tally.circuit = self._breaker.phase
        if self._breaker.phase is Phase.OPEN and before is not Phase.OPEN:
            pause = self._policy.recovery_seconds
            log.warning("collector is left alone for a while", collector=self.name, pause_seconds=pause)
        elif self._breaker.phase is Phase.CLOSED and not any(self._breaker.failures):
            self._breaker = HEALTHY

    def every(self, seconds: float) -> None:
        """Read at another interval from now on, though never more often than the source allows."""
        seconds = max(seconds, self.cadence.interval_seconds)
        self.due = min(self.due, self._read_at + EARLY * seconds)
        self.tally.interval_seconds = seconds

    def fail(self, error: Exception) -> None:
        """Count a failure; log it unless the reading before told the same."""
        kind, text = type(error).__name__, str(error)
        self.tally.errors[kind] += 1
        if text not in self._told | self._told_before:
            log.warning("collector failed", collector=self.name, error_type=kind, error=text)
        self._told.add(text)
        self.tally.last_error = text


def _misfit(source: str, values: int, series: int) -> InvalidSampleError:
    return InvalidSampleError(f"{source}: {values} values for {series} series", source=source)


class Runner:
    """Reads every collector that is due, once per sweep; one that fails, hangs or floods costs no other.

    Parameters
    ----------
    collectors : iterable of Collector
        Read in this order, those that wait last. The runner closes them.
    policy : BreakerPolicy
        Of the circuit around each collector: one that keeps failing is left alone for a while.
    """

    def __init__(
        self, collectors: Iterable[Collector], clock: Clock, *, policy: BreakerPolicy = DEFAULT_POLICY
    ) -> None:
        slots = [_Slot(collector, policy) for collector in collectors]
        self._slots = sorted(slots, key=lambda slot: slot.waiting is not None)
        self._waiting = [slot for slot in self._slots if slot.waiting is not None]
        self._clock = clock
        self._columns: tuple[Column, ...] = ()

    @property
    def tallies(self) -> dict[str, Tally]:
        """Counts per collector."""
        return {slot.name: slot.tally for slot in self._slots}

    def read_every(self, collector: str, seconds: float) -> None:
        """Read one collector at another interval from now on; its own is the shortest that it allows.

        Raises
        ------
        KeyError
            If there is no such collector.
        """
        {slot.name: slot for slot in self._slots}[collector].every(seconds)

    def sweep(self) -> Sweep:
        """Read what is due; the others' values are NaN."""
        now, wall_ns = self._clock.monotonic(), self._clock.wall_ns()
        permits = {slot.name: slot.claim(now) for slot in self._waiting}
        for slot in self._waiting:
            if permits[slot.name] is not None:
                self._begin(slot)
        values: array[float] = array("d")
        changed, started = False, self._clock.monotonic()
        for slot in self._slots:
            permit = permits[slot.name] if slot.waiting is not None else slot.claim(now) if now >= slot.due else None
            if permit is None:
                values.extend(slot.blank)
                continue
            before = slot.columns
            found, started = self._read(slot, permit, started, wall_ns)
            values.extend(found)
            changed |= slot.columns is not before
        if changed:
            self._columns = tuple(column for slot in self._slots for column in slot.columns)
        return Sweep(self._columns, values)

    def close(self) -> None:
        """Close the collectors."""
        for slot in self._slots:
            slot.collector.close()

    def _begin(self, slot: _Slot) -> None:
        assert slot.waiting is not None
        try:
            slot.waiting.begin()
        except Exception as error:  # noqa: BLE001 - as in _read, which will say whether the source is lost
            slot.fail(error)

    def _read(self, slot: _Slot, permit: Permit, started: float, wall_ns: int) -> tuple[Sequence[float], float]:
        """Return the values and the monotonic time at which they were there.

        At 1 Hz every call in here finds the processor's caches cold: what is usual takes the shortest way.
        """
        try:
            series, values, errors = slot.read()
            if len(values) != len(series):
                raise _misfit(slot.name, len(values), len(series))  # noqa: TRY301 - counted like what a source raises
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in one source must not cost another
            slot.fail(error)
            return slot.blank, self._end(slot, permit, started, Outcome.FAILURE)
        if series is not slot.series:
            slot.adopt(series)
        tally = slot.tally
        tally.points += len(slot.columns)
        tally.last_success_ns = wall_ns
        tally.last_error = None if not errors else tally.last_error
        for trouble in errors:
            slot.fail(trouble)
        if len(values) > len(slot.columns):
            values = values[: len(slot.columns)]
        return values, self._end(slot, permit, started, Outcome.SUCCESS)

    def _end(self, slot: _Slot, permit: Permit, started: float, outcome: Outcome) -> float:
        """Time a reading, and tell the circuit; one that took too long is a failure, whatever it brought."""
        now = self._clock.monotonic()
        tally = slot.tally
        tally.readings += 1
        tally.last_seconds = now - started
        tally.total_seconds += tally.last_seconds
        if tally.last_seconds > slot.cadence.timeout_seconds:
            slot.fail(_overlong(slot.name, slot.cadence.timeout_seconds))
            outcome = Outcome.FAILURE
        if permit is not FREE or outcome is not Outcome.SUCCESS:
            slot.settle(permit, outcome, now)
        return now


def _overlong(source: str, seconds: float) -> SourceUnavailableError:
    return SourceUnavailableError(f"{source}: a reading took longer than {seconds:g} s", source=source)
