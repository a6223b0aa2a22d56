"""What policies count: a bounded number of series per process, told to all by deltas.

A process that lives for seconds is gone before anybody scrapes it, so counters travel: :meth:`Metrics.drain` gives
what was counted since the last time, :mod:`collectors_dagster.patterns.reporting_store` adds it to shared state, and a
process that lives long shows the sums.

Series are bounded here, not where they are shown: whoever makes a circuit per playlist must not fill anybody's memory.
Once :data:`MOST_NAMED` series have been begun, further names are counted as ``other``.
"""

import re
import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from collectors_dagster.patterns.forks import renew_in_children

OTHER = "other"
"""The name of all names that came too late."""
MOST_NAMED = 80
"""Series under names of their own that a process begins; those of ``other`` and those without a name are few."""
OVERFLOW = 40
"""Room for the series under ``other``: so many there are at most, of all families together."""
MOST_SUMS = 120
"""Series of sums over all processes."""
_LABEL = re.compile(r"[A-Za-z0-9_.:/ -]{1,64}")
_NO_LABEL = re.compile(r"[^A-Za-z0-9_.:/ -]")


class Family(NamedTuple):
    """All series of one name.

    Attributes
    ----------
    kind : str
        ``counter``; ``summary``: a sum and a count; ``histogram``: those, and how many were within each of `buckets`;
        ``gauge``: read from shared state when somebody asks, never counted here.
    labels : tuple of str
        A first label called ``name`` is the one that may become ``other``; all others have few values.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Series that one set of labels costs."""
        return 1 if self.kind in {"counter", "gauge"} else 2 + (len(self.buckets) + 1 if self.buckets else 0)


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            "circuit_breaker_state",
            "gauge",
            ("name", "state"),
            "Circuits of this name that are in the state: closed, open, half_open, or one set by hand.",
        ),
        Family(
            "circuit_breaker_calls_total",
            "counter",
            ("name", "result"),
            "Calls by result: success, slow, failure, ignored (neither), rejected (not made).",
        ),
        Family("collectors_circuit_breaker_call_seconds", "summary", ("name",), "Duration of calls that were made."),
        Family(
            "collectors_circuit_breaker_transitions_total",
            "gauge",
            ("name",),
            "Changes of state since a circuit is known.",
        ),
        Family("collectors_circuit_breaker_failure_ratio", "gauge", ("name",), "Share of failed calls in the window."),
        Family("collectors_circuit_breaker_slow_ratio", "gauge", ("name",), "Share of slow calls in the window."),
        Family("collectors_circuit_breaker_probes_in_flight", "gauge", ("name",), "Probes that have not reported."),
        Family(
            "collectors_retry_attempts_total",
            "counter",
            ("name", "result"),
            "Repetitions by what came of the call: repeated (one was begun), recovered, gave_up.",
        ),
        Family("collectors_retry_delay_seconds", "summary", ("name",), "Pauses before repetitions."),
        Family("collectors_retry_budget_exhausted_total", "counter", ("name",), "Repetitions that the budget refused."),
        Family(
            "rate_limit_requests_total",
            "counter",
            ("name", "result"),
            "Requests by result: granted, delayed (granted after a wait), rejected.",
        ),
        Family(
            "rate_limit_wait_time_seconds",
            "histogram",
            ("name",),
            "Time that granted requests waited for their turn.",
            (0.01, 0.1, 1.0, 10.0),
        ),
        Family(
            "collectors_rate_limit_banned_seconds", "gauge", ("name",), "Time for which nothing is granted any more."
        ),
        Family("collectors_bulkhead_in_use", "gauge", ("name",), "Places of the fleet that are taken."),
        Family("collectors_bulkhead_limit", "gauge", ("name",), "Places of the fleet."),
        Family(
            "collectors_bulkhead_rejected_total",
            "counter",
            ("name", "reason"),
            "Calls refused by a bulkhead: queue_full, timeout.",
        ),
        Family("collectors_cache_requests_total", "counter", ("tier", "result"), "Look-ups by tier and result."),
        Family("collectors_cache_load_seconds", "summary", ("tier",), "Time that loading a missing value took."),
        Family("collectors_cache_raw_bytes_total", "counter", (), "Bytes of values before compression."),
        Family("collectors_cache_stored_bytes_total", "counter", ("codec",), "Bytes of values as they were stored."),
        Family("collectors_cache_early_refresh_total", "counter", (), "Values loaded anew before their time was over."),
        Family("collectors_leader_is_leader", "gauge", ("role",), "1 while somebody leads in the role."),
        Family("collectors_share_owners", "gauge", ("group",), "Instances that live and divide shares."),
        Family(
            "collectors_store_degraded", "gauge", (), "Nodes of shared state that are away, seen from the exporter."
        ),
        Family("collectors_store_errors_total", "counter", ("kind",), "Steps on shared state that were not done."),
        Family("collectors_store_round_trip_seconds", "summary", (), "Duration of steps on shared state."),
        Family(
            "ml_model_training_duration_seconds",
            "summary",
            ("kind",),
            "Duration of trainings, evaluation included, by kind of model: anomaly, forecast.",
        ),
        Family(
            "ml_prediction_accuracy",
            "summary",
            ("signal",),
            "Accuracy of forecasts that came due, by signal: 1 minus their error over what came, 0 to 1.",
        ),
    )
}
"""Every metric there is, by name; a metric's name is a promise."""


class Series(NamedTuple):
    """One number: a family's labels, and for a histogram or summary which of its numbers."""

    family: str
    labels: tuple[str, ...]
    part: str = ""
    """Empty for a counter; ``sum``, ``count``, or the upper end of a bucket (not cumulative)."""


class Metrics:
    """Counts for one process; safe to share between threads.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.count("rate_limit_requests_total", "spotify", "granted", amount=3)
    >>> metrics.observe("collectors_retry_delay_seconds", "spotify", value=0.5)
    >>> for series, amount in sorted(metrics.drain().items()):
    ...     print(series.family, series.labels, series.part, amount)
    collectors_retry_delay_seconds ('spotify',) count 1.0
    collectors_retry_delay_seconds ('spotify',) sum 0.5
    rate_limit_requests_total ('spotify', 'granted')  3
    >>> metrics.drain()
    {}
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        self._named = 0
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        """Begin with nothing counted: what was counted before a fork is the parent's to tell."""
        self._lock = threading.Lock()
        self._counted: dict[Series, float] = {}

    def count(self, family: str, *labels: str, amount: float = 1.0) -> None:
        """Add to a counter."""
        with self._lock:
            series = Series(family, self._admitted(family, labels))
            self._counted[series] = self._counted.get(series, 0) + amount

    def observe(self, family: str, *labels: str, value: float, count: float = 1.0) -> None:
        """Take note of a duration or size, or of the sum of `count` of them, in a summary or histogram."""
        buckets = FAMILIES[family].buckets
        with self._lock:
            admitted = self._admitted(family, labels)
            self._add(Series(family, admitted, "sum"), value)
            self._add(Series(family, admitted, "count"), count)
            if buckets:
                end = next((each for each in buckets if value <= each), None)
                self._add(Series(family, admitted, "+Inf" if end is None else f"{end:g}"), count)

    def drain(self) -> dict[Series, float]:
        """Return what was counted since the last time."""
        with self._lock:
            counted, self._counted = self._counted, {}
        return counted

    def restore(self, deltas: Mapping[Series, float]) -> None:
        """Take back what could not be told."""
        with self._lock:
            for series, amount in deltas.items():
                self._add(series, amount)

    def _add(self, series: Series, amount: float) -> None:
        self._counted[series] = self._counted.get(series, 0) + amount

    def _admitted(self, family: str, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the labels under which something is counted: `labels`, or ``other`` for a name that came too late."""
        known = self._known.get((family, labels))
        if known is not None:
            return known
        declared = FAMILIES[family]
        if len(labels) != len(declared.labels):
            raise ValueError(f"{family} has the labels {declared.labels}, not {labels}")
        admitted = tuple(_NO_LABEL.sub("_", label)[:64] or "_" for label in labels)
        if declared.labels[:1] == ("name",) and admitted[0] != OTHER:
            if self._named + declared.width > MOST_NAMED:
                return (OTHER, *admitted[1:])  # not remembered: that would grow with the names
            self._named += declared.width
        self._known[family, labels] = admitted
        return admitted


class Uncounted:
    """Counts nothing."""

    def count(self, family: str, *labels: str, amount: float = 1.0) -> None:
        """Do nothing."""

    def observe(self, family: str, *labels: str, value: float, count: float = 1.0) -> None:
        """Do nothing."""


UNCOUNTED = Uncounted()
PROCESS = Metrics()
"""This process's own."""


def process_metrics() -> Metrics:
    """Return this process's metrics."""
    return PROCESS


def encoded(series: Series) -> str:
    """Return a series as text.

    Examples
    --------
    >>> encoded(Series("rate_limit_requests_total", ("spotify", "granted")))
    'rate_limit_requests_total|spotify|granted|'
    """
    return "|".join((series.family, *series.labels, series.part))


def decoded(text: str) -> Series | None:
    """Return the series behind a text, which may come from anybody who can write to the store; None if it is none.

    Examples
    --------
    >>> decoded("rate_limit_requests_total|spotify|granted|")
    Series(family='rate_limit_requests_total', labels=('spotify', 'granted'), part='')
    >>> decoded("rate_limit_requests_total|spotify") is decoded("nonsense|x|y|") is None
    True
    """
    family, *rest = text.split("|")
    declared = FAMILIES.get(family)
    if declared is None or declared.kind == "gauge" or len(rest) != len(declared.labels) + 1:
        return None
    *labels, part = rest
    parts = {"counter": {""}}.get(declared.kind) or {"sum", "count"}
    if declared.buckets:
        parts = parts | {"+Inf", *(f"{end:g}" for end in declared.buckets)}
    if part not in parts or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return Series(family, tuple(labels), part)


def overflow_of(series: Series) -> Series:
    """Return the series into which another one is folded when there are too many."""
    declared = FAMILIES[series.family]
    if declared.labels[:1] != ("name",):
        return series._replace(labels=(OTHER,) * len(series.labels))
    return series._replace(labels=(OTHER, *series.labels[1:]))


def bounded(
    sums: Iterable[tuple[Series, float]], preferred: Iterable[str] = (), most: int = MOST_SUMS
) -> dict[Series, float]:
    """Return sums of at most so many series: those of preferred names first, the surplus under ``other``.

    All numbers of a histogram stay together.

    Examples
    --------
    >>> many = [(Series("rate_limit_requests_total", (f"n{i}", "granted")), 1.0) for i in range(100_000)]
    >>> kept = bounded(many)
    >>> len(kept) <= MOST_SUMS, sum(kept.values())
    (True, 100000.0)
    """
    groups: dict[tuple[str, tuple[str, ...]], dict[Series, float]] = {}
    for series, amount in sums:
        group = groups.setdefault((series.family, series.labels), {})
        group[series] = group.get(series, 0) + amount
    first = {*preferred, OTHER}

    def order(group: tuple[str, tuple[str, ...]]) -> tuple[bool, tuple[str, ...], str]:
        family, labels = group
        named = FAMILIES[family].labels[:1] == ("name",)
        return named and labels[0] not in first, labels, family

    kept: dict[Series, float] = {}
    for chosen in sorted(groups, key=order):
        room = len(kept) + FAMILIES[chosen[0]].width <= most - OVERFLOW
        for series, amount in groups[chosen].items():
            target = series if room or series in kept else overflow_of(series)
            kept[target] = kept.get(target, 0) + amount
    return kept
