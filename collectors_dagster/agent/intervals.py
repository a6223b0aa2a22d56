"""From sweeps to a tenant's resolution: means, maxima and exact rates. Pure.

An interval is ``[k*resolution, (k+1)*resolution)`` of the wall clock and is named by its END. Gauges become the mean
of their readings (and the maximum where a peak matters). Counters become increase divided by time, both taken over
the monotonic readings whose later end lies in the interval: consecutive intervals share their border reading, so
nothing is counted twice or lost. Where a counter goes back (a reset, a wrap, a device that came anew), that one step
is left out of both sums: the rate is that of the rest, and never negative. A counter whose total is asked for is
delivered as it stands at the end of the interval too: as a gauge, so that nobody makes a rate of it again. Thinned
observations count for as many sweeps as they stand for.

A wall clock that is set back by less than an interval finds the interval still open, and goes on in it. Set back
further, it runs through times that are stored already; what was stored first stays.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from collectors_dagster.agent.reader import Observation
from collectors_dagster.agent.records import FLOAT_BYTES
from collectors_dagster.agent.share import Share
from collectors_dagster.agent.timing import NANOSECONDS
from collectors_dagster.collectors.runner import EARLY, Column
from collectors_dagster.records import ClockEvent, ClockEventKind
from collectors_dagster.samples import Kind, Labels, Metric, Sample, SeriesKey
from collectors_dagster.tenants import SLOWEST_SECONDS

HOUR_NS = 3600 * NANOSECONDS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATE_FACTOR = 1.5
"""A pause longer than this many sampling intervals is a gap: nothing was seen in it."""
LONGEST_STEP = 2.5
"""A counter's readings further apart than this many of its source's intervals belong to no common interval."""
BEGINS_ANEW = -math.inf
"""A thinned counter's value that says: what follows cannot be compared with what came before."""
INTERVAL = "collector_interval_seconds"
"""The gauge by which sweeps say how often a source is read at present; its label ``source`` names the collector."""


def border_records(sample_interval_seconds: float) -> int:
    """Return how many records before the first undelivered one may still be the border of its rates.

    That is as long as the longest step between two readings of the slowest source.

    Examples
    --------
    >>> border_records(1.0), border_records(0.1), border_records(60.0)
    (26, 251, 4)
    """
    return math.ceil(LONGEST_STEP * max(SLOWEST_SECONDS, sample_interval_seconds) / sample_interval_seconds) + 1


@dataclass(slots=True)
class SourceNote:
    """What one source gave in one hour of a closed interval's time."""

    intervals: int = 0
    gap_seconds: float = 0.0
    bytes: int = 0


Notes = dict[tuple[str, datetime], SourceNote]
"""By collector and start of the hour."""


@dataclass(frozen=True, slots=True)
class ClosedInterval:
    """All samples of one interval.

    Attributes
    ----------
    last_seq : int
        Last record in it: delivered up to here.
    clock_events : tuple of ClockEvent
        What happened to the clocks in it.
    """

    end: datetime
    last_seq: int
    samples: list[Sample]
    notes: Notes
    clock_events: tuple[ClockEvent, ...] = ()


@dataclass(slots=True)
class _Gauge:
    """A gauge's readings in the present interval."""

    series: SeriesKey
    peak: SeriesKey | None
    sum: float = 0.0
    count: int = 0
    maximum: float = -math.inf

    def add(self, seen: Observation, value: float, longest_step_ns: int) -> None:
        self.sum += value * seen.sweeps
        self.count += seen.sweeps
        self.maximum = max(self.maximum, value)

    def interrupt(self) -> None:
        """Do nothing: a gauge needs no continuity."""

    def take(self, end: datetime) -> list[Sample]:
        if not self.count:
            return []
        samples = [Sample(self.series, end, self.sum / self.count)]
        if self.peak is not None:
            samples.append(Sample(self.peak, end, self.maximum))
        self.sum, self.count, self.maximum = 0.0, 0, -math.inf
        return samples


@dataclass(slots=True)
class _Peak:
    """The maxima that thinned observations carry, for the gauge they belong to."""

    gauge: _Gauge

    def add(self, seen: Observation, value: float, longest_step_ns: int) -> None:
        self.gauge.maximum = max(self.gauge.maximum, value)

    def interrupt(self) -> None:
        """Do nothing, as the gauge."""

    def take(self, end: datetime) -> list[Sample]:
        return []


@dataclass(slots=True)
class _Counter:
    """A counter's increase in the present interval: finished runs as sums, the present run by its two ends."""

    series: SeriesKey
    increase: float = 0.0
    elapsed_ns: int = 0
    first_ns: int = 0
    first: float = math.nan
    last_ns: int = 0
    last: float = math.nan

    def add(self, seen: Observation, value: float, longest_step_ns: int) -> None:
        mono_ns = seen.mono_ns
        if not (value >= self.last and 0 < mono_ns - self.last_ns <= longest_step_ns + seen.span_ns):
            if value == BEGINS_ANEW:
                self.interrupt()
                return
            self._fold()
            self.first_ns, self.first = mono_ns, value
        self.last_ns, self.last = mono_ns, value

    def interrupt(self) -> None:
        """Begin anew with the next reading: it cannot be compared with the last one."""
        self._fold()
        self.last = math.nan

    def take(self, end: datetime) -> list[Sample]:
        self._fold()
        increase, elapsed_ns = self.increase, self.elapsed_ns
        self.increase, self.elapsed_ns = 0.0, 0
        return [Sample(self.series, end, increase * NANOSECONDS / elapsed_ns)] if elapsed_ns else []

    def _fold(self) -> None:
        if self.last_ns > self.first_ns and not math.isnan(self.last):
            self.increase += self.last - self.first
            self.elapsed_ns += self.last_ns - self.first_ns
        self.first_ns, self.first = self.last_ns, self.last


@dataclass(slots=True)
class _Total:
    """A counter that is delivered itself, beside its rate.

    Attributes
    ----------
    latest : float
        Its last value in the present interval, whatever made it begin anew since; NaN before the first.
    """

    series: SeriesKey
    counter: _Counter
    latest: float = math.nan

    def add(self, seen: Observation, value: float, longest_step_ns: int) -> None:
        self.counter.add(seen, value, longest_step_ns)
        self.latest = value

    def interrupt(self) -> None:
        """Begin the rate anew."""
        self.counter.interrupt()

    def take(self, end: datetime) -> list[Sample]:
        latest, self.latest = self.latest, math.nan
        total = [] if math.isnan(latest) else [Sample(self.series, end, latest)]
        return self.counter.take(end) + total


_Track = _Gauge | _Peak | _Counter | _Total


@dataclass(slots=True)
class _Source:
    """A collector of the tenant and its columns in the present schema.

    Attributes
    ----------
    others : list of int
        Columns that the tenant does not get: that they have values tells that the collector answered, and there was
        nothing in the tenant's scope.
    interval_at : int or None
        Where sweeps say how often it is read.
    missed_from_ns : int or None
        Wall clock from which it should have answered and has not.
    """

    name: str
    sample_ns: int
    tracks: list[tuple[int, _Track]] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    readings: int = 0
    interval_at: int | None = None
    interval_ns: int = 0
    missed_from_ns: int | None = None
    late: bool = False

    def add(self, seen: Observation) -> bool:
        """Add a sweep's values; tell whether the source answered."""
        values, answered = seen.values, False
        before_ns = self.interval_ns
        self._follow_interval(values)
        longest_step_ns = round(LONGEST_STEP * max(before_ns, self.interval_ns))
        for index, track in self.tracks:
            value = values[index]
            if value == value:  # noqa: PLR0124 - the fastest way to ask for NaN
                track.add(seen, value, longest_step_ns)
                answered = True
        answered = answered or any(values[index] == values[index] for index in self.others)
        self.readings += answered * seen.sweeps
        return answered

    def missing(self, seen: Observation, *, answered: bool) -> tuple[int, int]:
        """Return what this sweep adds to the time in which the source was silent: from where, and how long.

        A source that is read less often than the host is not missing before its time has come, and then since it came.
        """
        here_ns = seen.wall_ns
        due_ns = here_ns if self.missed_from_ns is None else self.missed_from_ns
        if answered:
            length_ns = max(here_ns - due_ns, 0) if self.late else 0
            self.late, self.missed_from_ns = False, here_ns + self.interval_ns
            return due_ns, length_ns
        self.missed_from_ns = due_ns
        self.late |= here_ns - due_ns >= (LATE_FACTOR - 1) * self.interval_ns - self.sample_ns
        if not self.late:
            return here_ns, 0
        self.missed_from_ns = here_ns + self.sample_ns
        return due_ns, max(self.missed_from_ns - due_ns, 0)

    def excuse(self, until_ns: int) -> None:
        """Book no silence before `until_ns`: the host itself was not looked at, which is booked already."""
        if self.missed_from_ns is not None:
            self.missed_from_ns = max(self.missed_from_ns, until_ns)

    def _follow_interval(self, values: tuple[float, ...]) -> None:
        told = values[self.interval_at] if self.interval_at is not None else math.nan
        self.interval_ns = source_interval_ns(told, self.interval_ns, self.sample_ns)


def source_interval_ns(told: float, before_ns: int, sample_ns: int) -> int:
    """Return how often a source is read, given what a sweep tells of it in seconds, and what held before (0: nothing).

    Examples
    --------
    >>> second = 10**9
    >>> source_interval_ns(10.0, 0, second), source_interval_ns(math.nan, 0, second)
    (9000000000, 1000000000)
    """
    if 0.0 <= told <= SLOWEST_SECONDS:
        sweeps = math.ceil(EARLY * told * NANOSECONDS / sample_ns)  # as the runner counts: whole sweeps
        return sample_ns * max(1, sweeps)
    return before_ns or sample_ns


def following_bucket(present: int | None, own: int) -> int:
    """Return the interval of a record, given that of the record before and the one that its own time lies in.

    Examples
    --------
    >>> following_bucket(7, 8), following_bucket(7, 6), following_bucket(7, 5), following_bucket(None, 5)
    (8, 7, 5, 5)
    """
    return present if present is not None and own == present - 1 else own


class Intervals:
    """Collects the observations of one host for one tenant into closed intervals.

    Parameters
    ----------
    collectors : iterable of str
        The tenant's sources.
    sample_interval_seconds : float
        Pause between sweeps; longer pauses count as gaps.
    detail : bool
        Take metrics marked as detail too.
    companions : bool
        Whether the maxima of gauges and the totals of counters are wanted too.
    share : Share or None
        Which series the tenant gets; ``None`` for all.
    """

    def __init__(
        self,
        host: str,
        collectors: Iterable[str],
        *,
        resolution_seconds: float,
        sample_interval_seconds: float,
        detail: bool = False,
        companions: bool = True,
        share: Share | None = None,
    ) -> None:
        self._host = host
        self._companions = companions
        self._detail = detail
        self._share = share or Share()
        self._resolution_ns = round(resolution_seconds * NANOSECONDS)
        self._sample_ns = round(sample_interval_seconds * NANOSECONDS)
        self._sources = {name: _Source(name, self._sample_ns) for name in collectors}
        self._tracks: dict[Column, _Track] = {}
        self._columns: tuple[Column, ...] = ()
        self._peaks: dict[tuple[str, str, Labels], Column] = {}
        self._bucket: int | None = None
        self._last: Observation | None = None
        self._notes: Notes = {}
        self._clock_events: tuple[ClockEvent, ...] = ()

    def prime(self, seen: Observation) -> None:
        """Take one of the last :func:`border_records` that were delivered before: the border of what follows."""
        self._take(seen)
        for track in self._tracks.values():
            track.take(_EPOCH)
        self._forget_tracks()
        for source in self._sources.values():
            source.readings = 0
        self._notes.clear()
        self._clock_events = ()

    def add(self, seen: Observation) -> ClosedInterval | None:
        """Add the next observation; return the interval that it proves complete, if any."""
        bucket = following_bucket(self._bucket, seen.wall_ns // self._resolution_ns)
        closed = self.finish() if bucket != self._bucket else None
        self._bucket = bucket
        self._take(seen)
        return closed

    def finish(self) -> ClosedInterval | None:
        """Return the interval that is open, if any: nothing more belongs to it."""
        closed = self._close() if self._bucket is not None else None
        self._bucket = None
        return closed

    def lost(self, from_ns: int, to_ns: int, last_seq: int) -> ClosedInterval:
        """Return what to book for records up to `last_seq` that are missing before the next observation."""
        for source in self._sources.values():
            self._miss(source.name, from_ns, to_ns - from_ns)
            source.excuse(to_ns)
        if self._last is not None:  # primed: the pause since then is booked here, and not once more
            self._last = self._last._replace(wall_ns=to_ns - self._sample_ns)
        notes, self._notes = self._notes, {}
        return ClosedInterval(_EPOCH + timedelta(microseconds=to_ns // 1000), last_seq, [], notes)

    def _take(self, seen: Observation) -> None:
        if seen.columns is not self._columns:
            self._plan(seen.columns)
        if self._last is not None:
            self._note_pause(self._last, seen)
        if seen.changes:
            self._note_changes(seen)
        for source in self._sources.values():
            answered = source.add(seen)
            from_ns, length_ns = source.missing(seen, answered=answered)
            self._miss(source.name, from_ns, length_ns)
        self._last = seen

    def _plan(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._peaks = {
            (column.collector, f"{column.metric.name}_max", column.labels): column
            for column in columns
            if column.metric.peak
        }
        told = {dict(one.labels).get("source"): at for at, one in enumerate(columns) if one.metric.name == INTERVAL}
        due = [(index, column) for index, column in enumerate(columns) if column.collector in self._sources]
        admitted = self._admit([column for _, column in due if self._detail or not column.metric.detail])
        for source in self._sources.values():
            own = [(index, column) for index, column in due if column.collector == source.name]
            source.tracks = [(index, self._track(column)) for index, column in own if column in admitted]
            source.others = [index for index, column in own if column not in admitted]
            source.interval_at = told.get(source.name)
        for column, track in self._tracks.items():
            if column not in admitted:
                track.interrupt()  # it may come back, and until the interval is over it has its share of it
        self._admitted = admitted

    def _admit(self, columns: list[Column]) -> frozenset[Column]:
        """Return those of `columns` that the tenant gets; maxima of thinned gauges go with their gauge, for nothing.

        Whether a gauge is thinned is a matter of the spool: the tenant gets the same series of it either way.
        """
        below = {column: self._below(column) for column in columns}
        admitted = self._share.admit([column for column, gauge in below.items() if gauge is None])
        return admitted.union(column for column, gauge in below.items() if gauge in admitted)

    def _forget_tracks(self) -> None:
        """Forget the series that are no longer there, once their last interval is taken."""
        self._tracks = {column: track for column, track in self._tracks.items() if column in self._admitted}

    def _track(self, column: Column) -> _Track:
        track = self._tracks.get(column)
        if track is None:
            track = self._tracks[column] = self._new_track(column)
        return track

    def _new_track(self, column: Column) -> _Track:
        metric = column.metric
        gauge = self._gauge_below(column)
        if gauge is not None:
            return _Peak(gauge)
        series = SeriesKey(
            self._host, column.collector, metric.delivered_name, column.labels, metric.delivered_unit, metric.kind
        )
        if metric.kind is Kind.COUNTER:
            counter = _Counter(series)
            return _Total(_total_of(series, metric), counter) if metric.cumulative and self._companions else counter
        peak = replace(series, metric=f"{metric.name}_max") if metric.peak and self._companions else None
        return _Gauge(series, peak)

    def _gauge_below(self, column: Column) -> _Gauge | None:
        """Return the gauge whose maxima a column of a thinned observation holds."""
        below = self._below(column)
        track = None if below is None else self._track(below)
        return track if isinstance(track, _Gauge) else None

    def _below(self, column: Column) -> Column | None:
        return self._peaks.get((column.collector, column.metric.name, column.labels))

    def _note_pause(self, before: Observation, seen: Observation) -> None:
        if seen.boot_id != before.boot_id:
            for track in self._tracks.values():
                track.interrupt()
        begun_ns = seen.wall_ns - seen.span_ns
        if begun_ns - before.wall_ns > LATE_FACTOR * self._sample_ns:
            for source in self._sources.values():
                length_ns = begun_ns - before.wall_ns - self._sample_ns
                self._miss(source.name, before.wall_ns + self._sample_ns, length_ns)
                source.excuse(begun_ns)

    def _note_changes(self, seen: Observation) -> None:
        """Keep what happened to the clocks; nobody knows what a counter did while the host slept."""
        at = _EPOCH + timedelta(microseconds=seen.wall_ns // 1000)
        self._clock_events += tuple(ClockEvent(self._host, at, kind, seconds) for kind, seconds in seen.changes)
        for source in self._sources.values():
            source.missed_from_ns = None  # it was told by another clock
        if any(change.kind is ClockEventKind.SUSPEND for change in seen.changes):
            for track in self._tracks.values():
                track.interrupt()

    def _miss(self, source: str, from_ns: int, length_ns: int) -> None:
        """Book missing time to the hours it lies in."""
        end_ns = from_ns + length_ns
        while from_ns < end_ns:
            border_ns = min(end_ns, (from_ns // HOUR_NS + 1) * HOUR_NS)
            self._note(source, from_ns).gap_seconds += (border_ns - from_ns) / NANOSECONDS
            from_ns = border_ns

    def _note(self, source: str, wall_ns: int) -> SourceNote:
        hour = _EPOCH + timedelta(hours=wall_ns // HOUR_NS)
        return self._notes.setdefault((source, hour), SourceNote())

    def _close(self) -> ClosedInterval:
        assert self._bucket is not None
        assert self._last is not None
        end_ns = (self._bucket + 1) * self._resolution_ns
        end = _EPOCH + timedelta(microseconds=end_ns // 1000)
        samples = [sample for track in self._tracks.values() for sample in track.take(end)]
        self._forget_tracks()
        for source in self._sources.values():
            if source.readings:
                note = self._note(source.name, end_ns)
                note.intervals += 1
                note.bytes += source.readings * len(source.tracks) * FLOAT_BYTES
                source.readings = 0
        notes, self._notes = self._notes, {}
        clock_events, self._clock_events = self._clock_events, ()
        return ClosedInterval(end, self._last.seq, samples, notes, clock_events)


def _total_of(rate: SeriesKey, metric: Metric) -> SeriesKey:
    """Return the series of a counter itself. It is no counter any more: its readings are what is wanted."""
    return replace(rate, metric=metric.name, unit=metric.unit, kind=Kind.GAUGE)
