"""A real server that is stopped for an hour of the agent's life and started again: complete afterwards."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.agent.delivery import Delivery, Policies
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.intervals import Intervals
from collectors_dagster.agent.sampling import Sampler
from collectors_dagster.agent.spool import Spool
from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.collectors.protocol import Reading, Series
from collectors_dagster.collectors.runner import Runner
from collectors_dagster.integrations.timescale import DeliveryStore, migrate
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, Phase, failed_if_transient
from collectors_dagster.patterns.rate_limiter import local_rate_limiter
from collectors_dagster.patterns.rate_policy import RatePolicy
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.samples import Kind, Metric
from collectors_dagster.tenants import SystemSource, Tenant, TenantDirectory
from tests.support.postgres import PostgresServer, restarted, running_postgres
from tests.support.spools import HEADER, open_spool, read_spool

START = datetime(2026, 1, 1, tzinfo=UTC)
AURORA = Tenant("aurora", "Aurora", system=SystemSource(collectors=("load",)))
BOREALIS = Tenant("borealis", "Borealis", system=SystemSource(collectors=("load",)))
HOUR = 3600
SERIES = tuple(Series(Metric(f"level{n:02d}", Kind.GAUGE, "things", "")) for n in range(20))


class Levels:
    """Twenty gauges that follow the clock."""

    name = "load"
    metrics = tuple(series.metric for series in SERIES)

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def read(self) -> Reading:
        return Reading(SERIES, [self._clock.monotonic() * n for n in range(len(SERIES))])

    def close(self) -> None:
        """Nothing is held."""


class Counting:
    """The address of a database, which counts how often a connection is made with it."""

    def __init__(self, conninfo: SecretStr) -> None:
        self._conninfo = conninfo
        self.attempts = 0

    def get_secret_value(self) -> str:
        self.attempts += 1
        return self._conninfo.get_secret_value()


class Agent:
    """A sampler and a delivery on one clock."""

    def __init__(self, root: Path, conninfo: SecretStr) -> None:
        self.clock = ManualClock()
        self.identity = Identity(HEADER.agent_id, HEADER.epoch, HEADER.host, root / "spool")
        self.identity.directory.mkdir(parents=True)
        self.spool: Spool = open_spool(self.identity.directory, self.clock)
        self._sampler = Sampler(Runner([Levels(self.clock)], self.clock), self.spool, self.clock)
        self.address = Counting(conninfo)
        self.store = DeliveryStore(self.address, application_name="test-agent")
        self.breaker = CircuitBreaker("delivery", BreakerPolicy(5, 30), classify=failed_if_transient, clock=self.clock)
        self.delivery = Delivery(
            self.identity,
            lambda: self.store,
            Policies(
                self.breaker,
                local_rate_limiter("delivery", RatePolicy(5, 10), clock=self.clock),
                Backoff(base_seconds=0.5, cap_seconds=15.0, random=lambda: 0.5),
            ),
            self.clock,
            sample_interval_seconds=1.0,
            quarantine_bytes=1024**2,
            batch_samples=1000,
        )
        self.delivery.follow(TenantDirectory((AURORA, BOREALIS)), self.spool.next_seq)
        self.clock.sleep(0.5)

    def live(self, seconds: int) -> None:
        """Look once a second, and let delivery have its turn and its heartbeat after each."""
        for _ in range(seconds):
            self._sampler.sweep()
            self.clock.sleep(1)
            self.delivery.turn()
            self.spool.release(self.delivery.delivered_seq)
            self.delivery.heartbeat("1", START, {})

    def due(self) -> set[tuple[str, datetime, float]]:
        machine = Intervals(HEADER.host, ["load"], resolution_seconds=10, sample_interval_seconds=1)
        closed = [machine.add(seen) for seen in read_spool(self.identity.directory)]
        return {(one.series.metric, one.ts, one.value) for each in closed if each for one in each.samples}

    def close(self) -> None:
        self.delivery.close()
        self.spool.close()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Yield a server of this test's own, with a migrated database ``mine``."""
    with running_postgres() as server:
        server.create_database("mine")
        migrate(server.conninfo("mine"), clock=SystemClock())
        yield server


@pytest.fixture
def agent(server: PostgresServer, tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path, server.conninfo("mine"))
    yield made
    made.close()


def stored(server: PostgresServer, tenant: str) -> set[tuple[str, datetime, float]]:
    query = """
        select s.metric, x.ts, x.value from core.sample x join core.series s using (series_id)
        join core.tenant t on t.tenant_key = s.tenant_key where t.tenant_id = %s
    """
    with psycopg.connect(server.conninfo("mine").get_secret_value()) as connection:
        return set(connection.execute(query, (tenant,)).fetchall())


def books(server: PostgresServer) -> tuple[int, int, float]:
    with psycopg.connect(server.conninfo("mine").get_secret_value()) as connection:
        row = connection.execute(
            "select sum(samples)::int, sum(duplicates)::int, sum(gap_seconds) from core.delivery"
        ).fetchone()
    assert row is not None
    return row


def test_an_hour_without_the_server_is_complete_afterwards_and_fresh_samples_did_not_wait(
    agent: Agent, server: PostgresServer
) -> None:
    agent.live(35)
    assert {ts for _, ts, _ in stored(server, "aurora")} == {START + timedelta(seconds=10 * n) for n in (1, 2, 3)}
    with restarted(server):
        agent.live(HOUR)
    back = agent.clock.now()
    lags = []
    for _ in range(HOUR // 50):
        agent.live(1)
        ends = {tenant: {ts for _, ts, _ in stored(server, tenant)} for tenant in ("aurora", "borealis")}
        lags.append(agent.clock.now() - min(max(each) for each in ends.values()))
        behind = sum(lane.backlog_records for lane in agent.delivery.progress.tenants.values())
        if lags[-1] < timedelta(minutes=1) and not behind:
            break
    resumed = next(number for number, lag in enumerate(lags) if lag < timedelta(minutes=1))
    assert resumed <= 31  # the breaker's pause
    assert max(lags[resumed:]) <= timedelta(seconds=12)
    assert (agent.clock.now() - back).total_seconds() <= HOUR / 50
    due = agent.due()
    for tenant in ("aurora", "borealis"):
        assert stored(server, tenant) == due
    assert len(due) >= HOUR / 10 * len(SERIES)
    assert books(server) == (2 * len(due), 0, 0.0)


def test_a_server_that_is_away_is_asked_once_a_pause_and_the_first_answer_ends_the_pauses(
    agent: Agent, server: PostgresServer
) -> None:
    agent.live(35)
    before = agent.address.attempts
    with restarted(server):
        tried = []
        for _ in range(600):
            waiting = agent.delivery.progress.waiting_until
            seen, now = agent.address.attempts, agent.clock.monotonic()
            agent.live(1)
            tried.append(agent.address.attempts - seen)
            assert not (tried[-1] and now + 1 < waiting)  # never within a pause
        assert max(tried) == 1
        assert sum(tried) <= 5 + 600 / 30 + 1  # until the breaker opens, then one probe for each of its pauses
        assert agent.breaker.phase is Phase.OPEN
    agent.clock.sleep(agent.breaker.retry_after_seconds)
    agent.clock.sleep(max(0.0, agent.delivery.progress.waiting_until - agent.clock.monotonic()))
    agent.live(1)
    assert str(agent.breaker.phase) == "closed"
    assert agent.delivery.progress.last_error is None
    assert agent.delivery._policies.backoff.failures == 0
    agent.live(3)
    assert stored(server, "aurora") == stored(server, "borealis") == agent.due()
    assert agent.address.attempts > before
