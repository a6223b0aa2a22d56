"""What the policies of all processes do, for Prometheus: one process that lives long shows it for all.

Sums come from where short processes have told them; states come from where circuits, limits and bulkheads lie. There
are fewer than 200 series whatever the names: see :mod:`collectors_dagster.patterns.metrics`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from collectors_dagster.config.policy_sections import BUILT_IN
from collectors_dagster.config.sections import MetricsExport
from collectors_dagster.logs import get_logger
from collectors_dagster.patterns.breaker_policy import Phase
from collectors_dagster.patterns.metrics import FAMILIES, OTHER, Family, Series, bounded
from collectors_dagster.patterns.overview import REDIS, CircuitView, Overview

NAMES = 4
"""Names of circuits, limits and bulkheads that are shown each by itself; the rest is ``other``."""
ALWAYS = (Phase.CLOSED, Phase.OPEN, Phase.HALF_OPEN)
"""States that are shown also where no circuit is in them; one set by hand only while it is."""

_log = get_logger("metrics")

Rows = Mapping[tuple[str, ...], float]


class ResilienceCollector(Collector):
    """Looks at shared state once per scrape."""

    def __init__(self, look: Callable[[], Overview]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Yield all families that have a series."""
        found = self._look()
        yield from _families(_sums(found))
        yield from _gauges(found)


def serve_metrics(
    export: MetricsExport, port: int, look: Callable[[], Overview], more: Iterable[Collector] = ()
) -> Callable[[], None]:
    """Serve ``/metrics`` in threads of its own; return what ends that. A port that cannot be had is told in the log."""
    try:
        return started_metrics((export.address, port), look, more)
    except OSError as error:
        _log.warning("metrics not served", address=export.address, port=port, reason=error.strerror)
    return lambda: None


def started_metrics(
    listen: tuple[str, int], look: Callable[[], Overview], more: Iterable[Collector] = ()
) -> Callable[[], None]:
    """Do the same.

    Raises
    ------
    OSError
        If the port cannot be had.
    """
    registry = CollectorRegistry()
    for collector in (ResilienceCollector(look), *more):
        registry.register(collector)
    server, thread = start_http_server(listen[1], listen[0], registry)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end


def label_of(name: str) -> str:
    """Return the service behind a name.

    Examples
    --------
    >>> label_of("notifications.ops.1a2b3c4d"), label_of("mlflow")
    ('notifications', 'mlflow')
    """
    return name.partition(".")[0]


def _sums(found: Overview) -> Mapping[Series, float]:
    return bounded(found.sums.items(), preferred=BUILT_IN)


def _families(sums: Mapping[Series, float]) -> Iterator[Metric]:
    by_family: defaultdict[str, defaultdict[tuple[str, ...], dict[str, float]]]
    by_family = defaultdict(lambda: defaultdict(dict))
    for series, amount in sums.items():
        by_family[series.family][series.labels][series.part] = amount
    for name, rows in sorted(by_family.items()):
        yield _family(FAMILIES[name], rows)


def _family(family: Family, rows: Mapping[tuple[str, ...], Mapping[str, float]]) -> Metric:
    if family.kind == "counter":
        counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
        for labels, parts in sorted(rows.items()):
            counter.add_metric(labels, parts[""])
        return counter
    if not family.buckets:
        summary = SummaryMetricFamily(family.name, family.help, labels=family.labels)
        for labels, parts in sorted(rows.items()):
            summary.add_metric(labels, count_value=int(parts.get("count", 0)), sum_value=parts.get("sum", 0.0))
        return summary
    histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, parts in sorted(rows.items()):
        histogram.add_metric(labels, _cumulative(family, parts), parts.get("sum", 0.0))
    return histogram


def _cumulative(family: Family, parts: Mapping[str, float]) -> Sequence[tuple[str, float]]:
    total, buckets = 0.0, []
    for end in family.buckets:
        total += parts.get(f"{end:g}", 0.0)
        buckets.append((str(end), total))  # as Prometheus' own clients write it: 1.0
    return [*buckets, ("+Inf", total + parts.get("+Inf", 0.0))]


@dataclass(slots=True)
class _Together:
    """Circuits that share a label."""

    phases: Counter[Phase] = field(default_factory=Counter)
    calls: int = 0
    failures: int = 0
    slow: int = 0
    probes: int = 0
    transitions: int = 0

    def add(self, circuit: CircuitView) -> None:
        report = circuit.report
        self.phases[report.phase] += 1
        self.calls += report.calls
        self.failures += report.failures
        self.slow += report.slow
        self.probes += report.probes
        self.transitions += report.transitions


def _gauges(found: Overview) -> Iterator[Metric]:
    circuits: defaultdict[str, _Together] = defaultdict(_Together)
    shown = _shown(each.name for each in found.circuits)
    for circuit in found.circuits:
        circuits[shown(circuit.name)].add(circuit)
    states = {name: together.phases for name, together in circuits.items()}
    states[REDIS] = Counter({Phase.OPEN if found.away else Phase.CLOSED: 1})
    yield _states(states)
    transitions = FAMILIES["collectors_circuit_breaker_transitions_total"]
    counter = CounterMetricFamily(transitions.name, transitions.help, labels=transitions.labels)
    for name, together in sorted(circuits.items()):
        counter.add_metric((name,), together.transitions)
    yield counter
    of_circuits: Mapping[str, Callable[[_Together], float]] = {
        "collectors_circuit_breaker_failure_ratio": lambda each: each.failures / max(1, each.calls),
        "collectors_circuit_breaker_slow_ratio": lambda each: each.slow / max(1, each.calls),
        "collectors_circuit_breaker_probes_in_flight": lambda each: each.probes,
    }
    for family, value in of_circuits.items():
        yield _gauge(family, {(name,): value(together) for name, together in circuits.items()})
    yield from _other_gauges(found)


def _other_gauges(found: Overview) -> Iterator[Metric]:
    banned: dict[tuple[str, ...], float] = {}
    shown = _shown(each.name for each in found.limiters)
    for limiter in found.limiters:
        key = (shown(limiter.name),)
        banned[key] = max(banned.get(key, 0.0), limiter.banned_seconds)
    yield _gauge("collectors_rate_limit_banned_seconds", banned)
    in_use: Counter[tuple[str, ...]] = Counter()
    limits: Counter[tuple[str, ...]] = Counter()
    shown = _shown(each.name for each in found.bulkheads)
    for bulkhead in found.bulkheads:
        in_use[(shown(bulkhead.name),)] += bulkhead.in_use
        limits[(shown(bulkhead.name),)] += bulkhead.limit
    yield _gauge("collectors_bulkhead_in_use", in_use)
    yield _gauge("collectors_bulkhead_limit", limits)
    yield _gauge(
        "collectors_leader_is_leader", {(each.role,): float(bool(each.holder)) for each in found.leaders[:NAMES]}
    )
    yield _gauge("collectors_share_owners", {(each.group,): len(each.instances) for each in found.shares[:NAMES]})
    yield _gauge("collectors_store_degraded", {(): len(found.away)})


def _states(circuits: Mapping[str, Counter[Phase]]) -> Metric:
    rows: Rows = {
        (name, phase.value): float(phases[phase])
        for name, phases in circuits.items()
        for phase in Phase
        if phase in ALWAYS or phases[phase]
    }
    return _gauge("circuit_breaker_state", rows)


def _gauge(name: str, rows: Rows) -> Metric:
    family = FAMILIES[name]
    gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in sorted(rows.items()):
        gauge.add_metric(labels, value)
    return gauge


def _shown(names: Iterable[str]) -> Callable[[str], str]:
    """Return the function from a name to its label: few labels, those of our own services first."""
    present = {label_of(name) for name in names}
    ordered = [*(name for name in BUILT_IN if name in present), *sorted(present - set(BUILT_IN))]
    kept = frozenset(ordered[:NAMES])
    return lambda name: label if (label := label_of(name)) in kept else OTHER
