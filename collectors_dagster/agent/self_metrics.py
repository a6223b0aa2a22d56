"""What the agent measures of itself, in Prometheus' words.

The names of the original design are kept (``collector_...``, ``circuit_breaker_state``), those of every Prometheus
client too (``process_...``); the rest begins with ``collectors_agent_`` or ``collectors_delivery_``.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from collectors_dagster import __version__
from collectors_dagster.agent.delivery import Delivery
from collectors_dagster.agent.exposition import Family, header, number, prefix, samples
from collectors_dagster.agent.footprint import Footprint
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.observed import Histogram, Observed
from collectors_dagster.agent.sampling import Sampler
from collectors_dagster.agent.spool import Spool
from collectors_dagster.clock import Clock
from collectors_dagster.collectors.runner import Runner
from collectors_dagster.patterns.circuit_breaker import CircuitBreaker, Phase
from collectors_dagster.samples import Labels

Samples = Iterable[tuple[Labels, float]]


@dataclass(frozen=True, slots=True)
class Parts:
    """The agent's parts, for who tells of them."""

    identity: Identity
    started_at: datetime
    interval_seconds: float
    clock: Clock
    sampler: Sampler
    runner: Runner
    spool: Spool
    delivery: Delivery
    breaker: CircuitBreaker
    observed: Observed


class SelfMetrics:
    """Renders them. For one thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._footprint = Footprint()

    def text(self, answers: dict[int, int]) -> str:
        """Return the families.

        Parameters
        ----------
        answers : dict
            Answers of the endpoint so far, by status.
        """
        groups = (self._about(), self._sampling(), self._collectors(), self._spool(), self._delivery(), self._own())
        http = samples(HTTP_ANSWERS, [((("code", str(code)),), count) for code, count in answers.items()])
        return "".join([*(family for group in groups for family in group), http])

    def _about(self) -> Iterator[str]:
        agent = self._parts.identity
        labels = (("agent_id", agent.agent_id), ("host", agent.host), ("version", __version__))
        yield samples(INFO, [(labels, 1)])

    def _sampling(self) -> Iterator[str]:
        parts = self._parts
        yield header(SWEEP_SECONDS) + _histogram(SWEEP_SECONDS.name, (), parts.observed.sweep_seconds)
        yield _single(SWEEP_OVERRUNS, parts.sampler.progress.overruns)
        yield _single(SERIES, parts.sampler.progress.series)
        yield _single(LAST_SWEEP_AGE, parts.clock.monotonic() - parts.observed.last_sweep)

    def _collectors(self) -> Iterator[str]:
        tallies = self._parts.runner.tallies
        each = [((("collector", name),), tally) for name, tally in tallies.items()]
        histograms = tuple(self._parts.observed.collector_seconds.items())  # the sampling thread adds to it
        name = EXECUTION_SECONDS.name
        yield header(EXECUTION_SECONDS) + "".join(_histogram(name, (("collector", one),), h) for one, h in histograms)
        yield samples(POINTS, [(labels, tally.points) for labels, tally in each])
        yield samples(
            ERRORS,
            [
                ((*labels, ("error_type", kind)), count)
                for labels, tally in each
                for kind, count in tuple(tally.errors.items())
            ],
        )
        yield samples(LAST_SUCCESS, [(labels, t.last_success.timestamp()) for labels, t in each if t.last_success])
        floor = self._parts.interval_seconds
        yield samples(INTERVAL, [(labels, max(floor, tally.interval_seconds)) for labels, tally in each])
        yield samples(REFUSED_SERIES, [(labels, tally.refused_series) for labels, tally in each])
        yield samples(SKIPPED, [(labels, tally.skipped) for labels, tally in each])
        circuits = {f"collector_{name}": tally.circuit for name, tally in tallies.items()}
        yield samples(CIRCUIT, _one_hot(circuits | {"delivery": self._parts.breaker.phase}))

    def _spool(self) -> Iterator[str]:
        held = self._parts.spool.statistics
        yield _single(SPOOL_BYTES, held.bytes)
        yield _single(SPOOL_SEGMENTS, held.segments)
        yield _single(SPOOL_OLDEST_AGE, self._oldest_age())
        yield _single(SPOOL_APPENDED, held.appended_records)
        yield _single(SPOOL_LOST, held.lost_records)
        yield _single(SPOOL_DROPPED, held.dropped_segments)
        yield _single(SPOOL_DROPPED_UNDELIVERED, held.dropped_undelivered_segments)

    def _delivery(self) -> Iterator[str]:
        progress, now = self._parts.delivery.progress, self._parts.clock.now()
        lanes = [((("tenant", tenant),), lane) for tenant, lane in tuple(progress.tenants.items())]
        ends = [(labels, lane.delivered_until) for labels, lane in lanes]
        yield samples(LAG, [(labels, (now - end).total_seconds()) for labels, end in ends if end is not None])
        yield samples(ROWS, [(labels, lane.rows) for labels, lane in lanes])
        yield samples(DUPLICATES, [(labels, lane.duplicates) for labels, lane in lanes])
        yield samples(REFUSED_TENANT, [((("tenant", tenant),), 1) for tenant in tuple(progress.refused)])
        yield _single(BATCHES, progress.batches)
        yield _single(FAILURES, progress.failures)

    def _own(self) -> Iterator[str]:
        yield _single(CPU_SECONDS, time.process_time())
        yield _single(RSS, self._footprint.resident_bytes())
        yield _single(START_TIME, self._parts.started_at.timestamp())

    def _oldest_age(self) -> float:
        """Return the age of the oldest record, in seconds."""
        oldest_ns = self._parts.spool.statistics.oldest_ns
        return 0.0 if oldest_ns is None else max(0.0, self._parts.clock.now().timestamp() - oldest_ns / 1e9)


def _single(family: Family, value: float) -> str:
    return samples(family, [((), value)])


def _histogram(name: str, labels: Labels, histogram: Histogram) -> str:
    counts = histogram.cumulative()
    bounds = (*map(number, histogram.bounds), "+Inf")
    lines = [
        f"{prefix(f'{name}_bucket', (*labels, ('le', bound)))}{count}\n"
        for bound, count in zip(bounds, counts, strict=True)
    ]
    whole = (f"{prefix(f'{name}_sum', labels)}{number(histogram.sum)}\n", f"{prefix(f'{name}_count', labels)}")
    return "".join([*lines, *whole, f"{counts[-1]}\n"])


def _one_hot(circuits: dict[str, Phase]) -> Samples:
    return [
        ((("name", name), ("state", phase.value)), int(phase is present))
        for name, present in circuits.items()
        for phase in (Phase.CLOSED, Phase.OPEN, Phase.HALF_OPEN)
    ]


INFO = Family("collectors_agent_info", "gauge", "Always 1; who this agent is.")
SWEEP_SECONDS = Family(
    "collectors_agent_sweep_duration_seconds", "histogram", "Duration of a look at the host with its append."
)
SWEEP_OVERRUNS = Family("collectors_agent_sweep_overruns_total", "counter", "Looks at the host that were missed.")
SERIES = Family("collectors_agent_series", "gauge", "Series of the newest look at the host.")
LAST_SWEEP_AGE = Family("collectors_agent_last_sweep_age_seconds", "gauge", "Time since the newest look at the host.")
EXECUTION_SECONDS = Family("collector_execution_duration_seconds", "histogram", "Duration of a collector's readings.")
POINTS = Family("collector_data_points_collected_total", "counter", "Values that a collector brought.")
ERRORS = Family("collector_errors_total", "counter", "Failures of a collector, by the kind of error.")
LAST_SUCCESS = Family(
    "collector_last_success_timestamp_seconds", "gauge", "When a collector last brought values, in Unix time."
)
INTERVAL = Family("collector_interval_seconds", "gauge", "Time between two readings of a collector, at present.")
REFUSED_SERIES = Family("collector_refused_series", "gauge", "Series beyond a collector's limit, not taken.")
SKIPPED = Family(
    "collector_skipped_readings_total", "counter", "Readings not tried because the collector's circuit was open."
)
CIRCUIT = Family("circuit_breaker_state", "gauge", "1 for the state in which a circuit breaker is, 0 for the others.")
SPOOL_BYTES = Family("collectors_agent_spool_bytes", "gauge", "Size of the closed segments.")
SPOOL_SEGMENTS = Family("collectors_agent_spool_segments", "gauge", "Closed segments.")
SPOOL_OLDEST_AGE = Family("collectors_agent_spool_oldest_age_seconds", "gauge", "Age of the oldest record.")
SPOOL_APPENDED = Family("collectors_agent_spool_appended_records_total", "counter", "Sweeps written to the spool.")
SPOOL_LOST = Family("collectors_agent_spool_lost_records_total", "counter", "Sweeps that the spool could not take.")
SPOOL_DROPPED = Family("collectors_agent_spool_dropped_segments_total", "counter", "Segments dropped for any reason.")
SPOOL_DROPPED_UNDELIVERED = Family(
    "collectors_agent_spool_dropped_undelivered_segments_total", "counter", "Segments dropped before delivery."
)
LAG = Family("collectors_delivery_lag_seconds", "gauge", "Age of the newest interval of a tenant in the database.")
ROWS = Family("collectors_delivery_rows_total", "counter", "Rows written for a tenant.")
DUPLICATES = Family("collectors_delivery_duplicates_total", "counter", "Rows that were in the database already.")
REFUSED_TENANT = Family("collectors_delivery_refused", "gauge", "1 for a tenant whose samples the database refuses.")
BATCHES = Family("collectors_delivery_batches_total", "counter", "Batches that the database took.")
FAILURES = Family("collectors_delivery_failures_total", "counter", "Attempts to deliver that failed.")
CPU_SECONDS = Family("process_cpu_seconds_total", "counter", "User and system time of the agent itself.")
RSS = Family("process_resident_memory_bytes", "gauge", "Resident memory of the agent itself.")
START_TIME = Family("process_start_time_seconds", "gauge", "When the agent was started, in Unix time.")
HTTP_ANSWERS = Family("collectors_agent_http_answers_total", "counter", "Answers of this endpoint, by status.")
