"""How fast the agent catches up after an hour without its database, and whether fresh samples wait for it.

An hour of sweeps of 250 series at 1 Hz lies in a spool when delivery begins, as it does in the agent: one turn a
second, the shipped limits, a real PostgreSQL. Meanwhile a second thread goes on sampling. The floor is the same
delivery with nothing to catch up: how old the newest stored interval gets then.
"""

import random
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg
import structlog
from pydantic import SecretStr

from bench.report import Goal, Report, main
from collectors_dagster.agent.delivery import Delivery, Policies
from collectors_dagster.agent.form import Form
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.quota import Quotas
from collectors_dagster.agent.records import SegmentHeader
from collectors_dagster.agent.spool import Spool, SpoolLimits
from collectors_dagster.agent.timing import read_instant
from collectors_dagster.clock import Clock, ManualClock, SystemClock
from collectors_dagster.collectors.runner import Column, Sweep
from collectors_dagster.integrations.timescale import DeliveryStore, migrate
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.rate_limiter import local_rate_limiter
from collectors_dagster.patterns.rate_policy import RatePolicy
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.samples import Kind, Metric
from collectors_dagster.tenants import SystemSource, Tenant, TenantDirectory
from tests.support.postgres import running_postgres

SERIES = 250
HOUR = 3600
FLOOR_SECONDS = 25
TENANT = Tenant("acme", "Acme", system=SystemSource(collectors=("bench",), collection_interval_seconds=10.0))
COLUMNS = tuple(
    Column("bench", Metric(f"m{n:03d}_total", Kind.COUNTER, "things", ""))
    if n % 2
    else Column("bench", Metric(f"m{n:03d}", Kind.GAUGE, "things", ""))
    for n in range(SERIES)
)
LIMITS = SpoolLimits(Quotas(192 * 1024**2, 168.0, 192 * 1024**2, 24.0), fsync_interval_seconds=5.0)
CLOCK = SystemClock()


@dataclass
class Ages:
    """How old the newest stored interval was, after each turn."""

    fresh: list[float] = field(default_factory=list)
    catching_up_seconds: float = 0.0
    cpu_seconds: float = 0.0


def sweep(second: float) -> Sweep:
    """Return values that change all the time, as a busy host's do."""
    return Sweep(COLUMNS, array("d", (second * (n + 1) + random.random() for n in range(SERIES))))


def opened(identity: Identity, clock: Clock) -> Spool:
    header = SegmentHeader(identity.agent_id, identity.epoch, "boot", identity.host)
    return Spool(identity.directory, header, LIMITS, clock, Form())


def fill(identity: Identity) -> None:
    """Write the hour before now."""
    clock = ManualClock(CLOCK.now() - timedelta(seconds=HOUR))
    spool, mono = opened(identity, clock), CLOCK.monotonic() - HOUR
    for second in range(HOUR):
        spool.append(sweep(mono + second), read_instant(clock).wall_ns, round((mono + second) * 1e9))
        clock.sleep(1)
    spool.close()


@contextmanager
def sampling(identity: Identity) -> Iterator[None]:
    """Append a sweep a second in another thread."""
    spool, stop = opened(identity, CLOCK), threading.Event()

    def sample() -> None:
        while not stop.wait(1.0):
            instant = read_instant(CLOCK)
            spool.append(sweep(instant.mono_ns / 1e9), instant.wall_ns, instant.mono_ns)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        spool.close()


def delivery(identity: Identity, store: DeliveryStore) -> Delivery:
    """Return what the agent makes of its shipped settings."""
    policies = Policies(
        CircuitBreaker("bench", BreakerPolicy(5, 30.0), classify=failed_if_transient, clock=CLOCK),
        local_rate_limiter("bench", RatePolicy(5.0, 10), clock=CLOCK),
        Backoff(base_seconds=0.5, cap_seconds=15.0, random=random.random),
    )
    made = Delivery(
        identity, lambda: store, policies, CLOCK, sample_interval_seconds=1.0, quarantine_bytes=16 * 1024**2
    )
    made.follow(TenantDirectory((TENANT,)), 1)
    return made


def caught_up(identity: Identity, conninfo: SecretStr, *, at_least_seconds: float) -> Ages:
    """Deliver until nothing is left but what is fresh."""
    ages = Ages()
    with DeliveryStore(conninfo, application_name="bench") as store, sampling(identity):
        courier = delivery(identity, store)
        began, cpu = time.monotonic(), time.thread_time()
        left = 1
        while left or time.monotonic() - began < at_least_seconds:
            courier.turn()
            left, was_left = courier.progress.tenants["acme"].backlog_records, left
            if was_left and not left:
                ages.catching_up_seconds, ages.cpu_seconds = time.monotonic() - began, time.thread_time() - cpu
            age = courier.lag_seconds()
            if age is not None:
                ages.fresh.append(age)
            CLOCK.sleep(1.0)
    return ages


def stored(conninfo: SecretStr) -> tuple[int, int]:
    """Return rows and rows refused as doubles."""
    with psycopg.connect(conninfo.get_secret_value()) as connection:
        row = connection.execute("select sum(samples)::int, sum(duplicates)::int from core.delivery").fetchone()
    assert row is not None
    return row


def measure() -> Report:
    """Fill, catch up, and deliver without a backlog."""
    with running_postgres() as server, tempfile.TemporaryDirectory() as folder:
        server.create_database("bench")
        conninfo = server.conninfo("bench")
        migrate(conninfo, clock=CLOCK)
        identities = [Identity(name, name, name, Path(folder) / name) for name in ("behind", "level")]
        for identity in identities:
            identity.directory.mkdir(parents=True)
        behind, level = identities
        fill(behind)
        after = caught_up(behind, conninfo, at_least_seconds=FLOOR_SECONDS)
        rows, doubles = stored(conninfo)
        floor = caught_up(level, conninfo, at_least_seconds=FLOOR_SECONDS)
    goals = (
        Goal("times real time while catching up an hour", HOUR / after.catching_up_seconds, 50, "higher"),
        Goal("times real time by the agent's own CPU", HOUR / after.cpu_seconds, 50, "higher"),
        Goal("age of the newest stored interval, at most, in seconds", max(after.fresh), 15),
        Goal("rows stored twice", doubles, 0),
    )
    detail = {
        "catching_up_seconds": round(after.catching_up_seconds, 2),
        "cpu_seconds": round(after.cpu_seconds, 2),
        "rows": rows,
        "first_age_seconds": round(after.fresh[0], 2),
        "age_without_a_backlog_at_most": round(max(floor.fresh), 2),
    }
    return Report("catch_up", goals, detail)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    main(measure, __doc__)
