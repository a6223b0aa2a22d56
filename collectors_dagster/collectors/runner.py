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
from collectors_dagster.patterns.breaker_policy import PHASES, BreakerPolicy, Outcome, Phase
from collectors_dagster.patterns.breaker_rule import circuit_breaker
from collectors_dagster.patterns.shared_state import Argument, Record
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


PROBE = "reading"
"""Readings come one after the other: there is never more than one probe."""


class _Slot:
    """A collector with its series, its tally, its circuit and the time of its next reading."""

    __slots__ = (
        *("collector", "read", "name", "cadence", "tally", "series", "columns", "blank", "waiting", "due"),
        *("_policy", "_circuit", "_read_at", "_told", "_told_before"),
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
        # Empty as long as no failure is remembered: successes need no note then, and are kept out of the hot path.
        self._circuit: Record = {}
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

    def claim(self, now: float) -> bool:
        """Say whether to read; not if it is not time yet, or the circuit is open."""
        if now < self.due:
            return False
        self.due, self._read_at = now + EARLY * self.tally.interval_seconds, now
        allowed = not self._circuit or self._ask(now)
        if allowed and (self._told or self._told_before):
            self._told, self._told_before = set(), self._told
        return allowed

    def _ask(self, now: float) -> bool:
        admitted = bool(self._step(now, "acquire", PROBE))
        self.tally.skipped += not admitted
        return admitted

    def settle(self, outcome: Outcome, now: float) -> None:
        """Tell the circuit how a reading ended."""
        good = outcome is Outcome.SUCCESS
        if good and not self._circuit:
            return
        before = self.tally.circuit
        generation = self._circuit.get("generation", 0)
        if before is Phase.HALF_OPEN:
            self._step(now, "probed", PROBE, generation, int(good))
        else:
            self._step(now, "record", generation, int(good), 0, int(not good), 0)
        if self.tally.circuit is Phase.OPEN and before is not Phase.OPEN:
            pause = self._policy.recovery_seconds
            log.warning("collector is left alone for a while", collector=self.name, pause_seconds=pause)
        elif self.tally.circuit is Phase.CLOSED and "f" not in self._circuit.get("calls", ""):
            self._circuit.clear()

    def _step(self, now: float, operation: str, *arguments: Argument) -> int:
        (admitted, phase, *_), _ = circuit_breaker(
            self._circuit, int(now * 1e6), (operation, *self._policy.terms, *arguments)
        )
        assert isinstance(admitted, int)
        assert isinstance(phase, int)
        self.tally.circuit = PHASES[phase]
        return admitted

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
        claims = {slot.name: slot.claim(now) for slot in self._waiting}
        for slot in self._waiting:
            if claims[slot.name]:
                self._begin(slot)
        values: array[float] = array("d")
        changed, started = False, self._clock.monotonic()
        for slot in self._slots:
            claimed = claims[slot.name] if slot.waiting is not None else now >= slot.due and slot.claim(now)
            if not claimed:
                values.extend(slot.blank)
                continue
            before = slot.columns
            found, started = self._read(slot, started, wall_ns)
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

    def _read(self, slot: _Slot, started: float, wall_ns: int) -> tuple[Sequence[float], float]:
        """Return the values and the monotonic time at which they were there.

        At 1 Hz every call in here finds the processor's caches cold: what is usual takes the shortest way.
        """
        try:
            series, values, errors = slot.read()
            if len(values) != len(series):
                raise _misfit(slot.name, len(values), len(series))  # noqa: TRY301 - counted like what a source raises
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in one source must not cost another
            slot.fail(error)
            return slot.blank, self._end(slot, started, Outcome.FAILURE)
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
        return values, self._end(slot, started, Outcome.SUCCESS)

    def _end(self, slot: _Slot, started: float, outcome: Outcome) -> float:
        """Time a reading, and tell the circuit; one that took too long is a failure, whatever it brought."""
        now = self._clock.monotonic()
        tally = slot.tally
        tally.readings += 1
        tally.last_seconds = now - started
        tally.total_seconds += tally.last_seconds
        if tally.last_seconds > slot.cadence.timeout_seconds:
            slot.fail(_overlong(slot.name, slot.cadence.timeout_seconds))
            outcome = Outcome.FAILURE
        slot.settle(outcome, now)
        return now


def _overlong(source: str, seconds: float) -> SourceUnavailableError:
    return SourceUnavailableError(f"{source}: a reading took longer than {seconds:g} s", source=source)
