"""What policies cost where they are applied: a transaction under them, a call that is counted, series for many names.

The transaction (connection from the pool, asked whether it lives, BEGIN, a trivial SELECT, COMMIT) goes to a server on
this machine: over a network it takes longer, and its policies the same.
"""

import gc
import random
from statistics import median
from time import perf_counter, process_time
from typing import Any

from bench.report import Goal, Report, main
from collectors_dagster.clock import SystemClock
from collectors_dagster.config.sections import Patterns
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.guard import DatabaseGuard, database_guard
from collectors_dagster.integrations.timescale.visit import Visit
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.metrics import Metrics
from collectors_dagster.patterns.observers import ServiceObserver
from collectors_dagster.patterns.overview import Looking
from collectors_dagster.patterns.policies import Policies
from collectors_dagster.patterns.reporting_store import ReportingStore
from tests.support.postgres import running_postgres

CLOCK = SystemClock()
ROUNDS = 30
PAIRS = 300
TRANSACTIONS = 10
CALLS = 3000
KEYS = 100_000


class Lent:
    """A pool that costs nothing: what is left of a visit is its own cost."""

    def take(self, operation: str) -> None:
        """Return no connection."""

    def give_back(self, connection: object) -> None:
        """Take none back."""


def transactions() -> tuple[float, dict[str, float]]:
    """Return the policies' own time as a share of a transaction's, and figures in microseconds.

    Both are the quickest of many short rounds: on a busy machine the difference of two long ones is only noise.
    """
    policies = Policies(Patterns(), clock=CLOCK, random=random.random, metrics=Metrics())
    guard = database_guard(policies, repeats=True)
    bare, guarded = (min(visit(each) for _ in range(PAIRS)) for each in (None, guard))
    with running_postgres() as server:
        database = Database(server.conninfo("postgres"), application_name="bench", max_connections=2)
        once(database)
        quickest = min(once(database) for _ in range(PAIRS))
        database.close()
    figures = {"policies, microseconds": guarded - bare, "transaction, microseconds": quickest}
    return (guarded - bare) / quickest, figures


def visit(guard: DatabaseGuard | None) -> float:
    """Return the microseconds of a visit that gets no connection."""
    pool: Any = Lent()
    began = perf_counter()
    for _ in range(CALLS // 10):
        with Visit(pool, "select", guard):
            pass
    return (perf_counter() - began) / (CALLS // 10) * 1e6


def once(database: Database) -> float:
    """Return microseconds per transaction."""
    began = perf_counter()
    for _ in range(TRANSACTIONS):
        with database.transaction("select") as cursor:
            cursor.execute(b"select 1").fetchone()
    return (perf_counter() - began) / TRANSACTIONS * 1e6


def observed_call() -> float:
    """Return what a call through a closed circuit costs that is counted, as a multiple of a bare call."""

    def bare() -> None:
        pass

    breaker = CircuitBreaker(
        "bench",
        BreakerPolicy(5, 30.0),
        classify=failed_if_transient,
        clock=CLOCK,
        observer=ServiceObserver("bench", Metrics()),
    )
    counted = breaker(bare)
    gc.disable()
    ratios = []
    for _ in range(ROUNDS):
        times = []
        for call in (bare, counted):
            began = process_time()
            for _ in range(CALLS):
                call()
            times.append(process_time() - began)
        ratios.append(times[1] / times[0])
    gc.enable()
    return median(ratios)


def series_for_many_names() -> int:
    """Return the series that a scrape shows after 100,000 names were used in circuits and limits."""
    from prometheus_client import CollectorRegistry, generate_latest

    from collectors_dagster.monitoring.resilience_metrics import ResilienceCollector

    metrics = Metrics()
    memory = MemoryStore(CLOCK, capacity=2 * KEYS)
    store = ReportingStore(memory, metrics, clock=CLOCK)
    for number in range(KEYS):
        name = f"key-{number}"
        observer = ServiceObserver(name, metrics)
        breaker = CircuitBreaker(
            name, BreakerPolicy(5, 30.0), classify=failed_if_transient, clock=CLOCK, store=store, observer=observer
        )
        breaker.call(int)
        observer.rate_limited(name, "granted")
        observer.rate_waited(name, 0.1)
        observer.bulkhead_rejected(name, "timeout")
        observer.repeated(0.5)
    store.finish()
    registry = CollectorRegistry()
    registry.register(ResilienceCollector(lambda: Looking(memory).look()))
    return sum(not line.startswith("#") for line in generate_latest(registry).decode().splitlines())


def measure() -> Report:
    """Measure all of it."""
    ratio, figures = transactions()
    goals = (
        Goal("policies / database transaction on this machine", ratio, 0.05),
        Goal("breaker that counts, closed / bare call", observed_call(), 10.0),
        Goal("metric series for 100,000 keys", series_for_many_names(), 199),
    )
    return Report("policies", goals, figures)


if __name__ == "__main__":
    main(measure, __doc__)
