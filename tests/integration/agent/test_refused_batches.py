"""Batches that the store refuses for good: tried three times, kept aside, and nothing behind them waits."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.agent.delivery import POISON_TRIES, Delivery, Policies
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.quarantine import again
from collectors_dagster.agent.spool import Spool
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.runner import Column
from collectors_dagster.errors import ServiceUnreachableError
from collectors_dagster.integrations.timescale import DeliveryBatch, DeliveryResult, DeliveryStore, Store
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.rate_limiter import local_rate_limiter
from collectors_dagster.patterns.rate_policy import RatePolicy
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.records import Window
from collectors_dagster.samples import Kind, Metric
from collectors_dagster.tenants import SystemSource, Tenant, TenantDirectory
from tests.support.spools import HEADER, append_seconds, open_spool, sweep

START = datetime(2026, 1, 1, tzinfo=UTC)
AURORA = Tenant("aurora", "Aurora", system=SystemSource(collectors=("load",)))
BOREALIS = Tenant("borealis", "Borealis", system=SystemSource(collectors=("load",)))
REFUSE = "alter table core.sample add constraint no_odd_ones check (value not between 23 and 24.3)"
"""The load is the second before: the interval that ends at 30 has a mean of 23.5, or a little more with a gap in it."""
ALLOW = "alter table core.sample drop constraint no_odd_ones"


class Counting(DeliveryStore):
    """A real store that remembers what was tried."""

    tried: list[DeliveryBatch]
    loses_empty_batches = False

    def deliver(self, batch: DeliveryBatch) -> DeliveryResult:
        self.tried.append(batch)
        if self.loses_empty_batches and not batch.samples:
            raise ServiceUnreachableError("cut", service="postgresql", operation="deliver")
        return super().deliver(batch)


class Site:
    """A spool, a clock and a database that can be told to refuse."""

    def __init__(self, root: Path, clock: ManualClock, store: Counting, conninfo: SecretStr) -> None:
        self.clock, self.store = clock, store
        self.database = conninfo
        self._conninfo = conninfo.get_secret_value()
        self.identity = Identity(HEADER.agent_id, HEADER.epoch, HEADER.host, root / "spool")
        self.identity.directory.mkdir(parents=True)
        self.spool: Spool = open_spool(self.identity.directory, clock)

    def delivery(self, *tenants: Tenant, quarantine_bytes: int = 1024**2) -> Delivery:
        policies = Policies(
            CircuitBreaker("delivery", BreakerPolicy(3, 30), classify=failed_if_transient, clock=self.clock),
            local_rate_limiter("delivery", RatePolicy(1000, 1000), clock=self.clock),
            Backoff(base_seconds=0.5, cap_seconds=15.0, random=lambda: 1.0),
        )
        delivery = Delivery(
            self.identity,
            lambda: self.store,
            policies,
            self.clock,
            sample_interval_seconds=1.0,
            quarantine_bytes=quarantine_bytes,
        )
        delivery.follow(TenantDirectory(tenants or (AURORA,)), self.spool.next_seq)
        return delivery

    def sample(self, seconds: int) -> None:
        at = round(self.clock.monotonic())
        append_seconds(self.spool, self.clock, [(float(at + n), 0.0) for n in range(seconds)])

    def turn(self, delivery: Delivery, times: int) -> None:
        for _ in range(times):
            delivery.turn()
            self.clock.sleep(1)

    def execute(self, statement: LiteralString) -> None:
        with psycopg.connect(self._conninfo) as connection:
            connection.execute(statement)

    def ends(self, tenant: str = "aurora") -> list[int]:
        """Return the ends of the stored intervals, in seconds since the start."""
        query = """
            select distinct x.ts from core.sample x join core.tenant t using (tenant_key)
            where t.tenant_id = %s order by 1
        """
        with psycopg.connect(self._conninfo) as connection:
            return [round((ts - START).total_seconds()) for (ts,) in connection.execute(query, (tenant,))]

    def booked_samples(self) -> int:
        with psycopg.connect(self._conninfo) as connection:
            row = connection.execute("select sum(samples)::int from core.delivery").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def site(database: SecretStr, tmp_path: Path, manual_clock: ManualClock) -> Iterator[Site]:
    with Counting(database, application_name="test-agent") as store:
        store.tried = []
        made = Site(tmp_path, manual_clock, store, database)
        yield made
        made.spool.close()


def test_one_refused_interval_is_put_aside_and_everything_else_is_stored(site: Site) -> None:
    site.execute(REFUSE)
    delivery = site.delivery(AURORA, BOREALIS)
    site.sample(81)
    site.turn(delivery, 12)
    expected = [10, 20, 40, 50, 60, 70, 80]
    assert site.ends("aurora") == site.ends("borealis") == expected
    assert [len(delivery.quarantine.read(name).batch.samples) for name in delivery.quarantine.names()] == [2, 2]
    assert {delivery.quarantine.read(name).batch.tenant_id for name in delivery.quarantine.names()} == {
        "aurora",
        "borealis",
    }
    assert "no_odd_ones" in delivery.quarantine.read(delivery.quarantine.names()[0]).reason
    assert delivery.progress.tenants["aurora"].quarantined_batches == 1
    assert delivery.progress.refused == {}
    assert delivery.delivered_seq == 80 - 1
    delivery.close()


def test_a_refused_interval_is_tried_three_times(site: Site) -> None:
    delivery = site.delivery()
    site.sample(21)
    site.turn(delivery, 1)
    site.execute(REFUSE)
    site.sample(10)
    site.store.tried.clear()
    site.turn(delivery, 10)
    refused = [batch for batch in site.store.tried if batch.samples]
    assert len(refused) == POISON_TRIES
    assert [batch.samples for batch in site.store.tried[POISON_TRIES:]] == [()]  # the cursor goes on
    site.sample(10)
    site.turn(delivery, 1)
    assert site.ends() == [10, 20, 40, 50]
    delivery.close()


def test_a_restart_puts_nothing_aside_twice(site: Site) -> None:
    site.execute(REFUSE)
    delivery = site.delivery()
    site.sample(31)
    for _ in range(20):
        site.turn(delivery, 1)
        delivery = site.delivery() if not delivery.quarantine.names() else delivery
    second = site.delivery()
    site.turn(second, 8)
    assert len(second.quarantine.names()) == 1
    assert site.ends() == [10, 20]


def test_a_crash_between_keeping_a_batch_and_passing_it_keeps_it_once(site: Site) -> None:
    site.execute(REFUSE)
    site.store.loses_empty_batches = True
    first = site.delivery()
    site.sample(41)
    site.turn(first, 12)
    assert len(first.quarantine.names()) == 1
    assert site.ends() == [10, 20]
    site.store.loses_empty_batches = False
    second = site.delivery()
    site.turn(second, 12)
    assert second.quarantine.names() == first.quarantine.names()
    assert site.ends() == [10, 20, 40]


def test_trying_again_stores_it_once_and_books_it_once(site: Site) -> None:
    site.execute(REFUSE)
    delivery = site.delivery()
    site.sample(31)
    site.turn(delivery, 10)
    (name,) = delivery.quarantine.names()
    site.execute(ALLOW)
    held = delivery.quarantine.read(name)
    kept = again(held.batch, held.reason)
    with Store(site.database, application_name="tests") as store:
        (told,) = store.ledger.refused("aurora", Window.of_day("2026-01-01"))
        assert (told.collector, told.samples) == ("load", 2)
        assert told.reason.startswith("in quarantine: cannot deliver samples of tenant 'aurora'")
        assert site.store.deliver(kept).rows == 2
        assert store.ledger.refused("aurora", Window.of_day("2026-01-01")) == []
    assert not site.store.deliver(kept).applied
    assert site.ends() == [10, 20, 30]
    assert site.booked_samples() == 6
    delivery.close()


def test_the_quarantine_is_bounded_and_says_what_it_dropped(site: Site) -> None:
    site.execute("alter table core.sample add constraint nothing check (value < -1)")
    delivery = site.delivery(quarantine_bytes=2500)
    site.sample(101)
    site.turn(delivery, 60)
    assert delivery.quarantine.size().bytes <= 2500
    assert delivery.quarantine.dropped_batches == 10 - delivery.quarantine.size().batches > 0
    newest = delivery.quarantine.read(delivery.quarantine.names()[-1])
    assert newest.batch.samples[0].ts == START + timedelta(seconds=100)
    delivery.close()


def test_a_quarantine_that_cannot_be_written_keeps_the_batch_in_the_spool(site: Site) -> None:
    (site.identity.root.parent / "quarantine").write_text("in the way")
    site.execute(REFUSE)
    delivery = site.delivery()
    site.sample(41)
    site.turn(delivery, 30)
    assert "cannot be put into quarantine" in delivery.progress.refused["aurora"]
    assert delivery.delivered_seq == 19
    (site.identity.root.parent / "quarantine").unlink()
    site.turn(delivery, 30)
    assert site.ends() == [10, 20, 40]
    assert len(delivery.quarantine.names()) == 1
    delivery.close()


def test_a_label_too_long_for_the_store_is_poison_too(site: Site) -> None:
    delivery = site.delivery()
    site.sample(11)
    noise = "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range(4000))  # the server cannot compress it
    long = Column("load", Metric("load1", Kind.GAUGE, "processes", ""), (("name", noise),))
    for _ in range(10):
        site.clock.sleep(1)
        wall_ns = int(site.clock.now().timestamp()) * 10**9
        site.spool.append(sweep(1.0, columns=(long,)), wall_ns, round(site.clock.monotonic() * 1e9))
    site.sample(21)
    site.turn(delivery, 15)
    assert len(delivery.quarantine.names()) >= 1
    assert site.ends()[-1] == 40
    delivery.close()


def test_a_tenant_that_was_erased_is_not_poison(site: Site) -> None:
    delivery = site.delivery()
    site.sample(21)
    site.turn(delivery, 1)
    for table in ("core.agent_cursor", "core.delivery", "core.sample", "core.series", "core.tenant"):
        site.execute(f"delete from {table}")
    site.sample(20)
    site.turn(delivery, 30)
    assert delivery.quarantine.names() == []
    assert "aurora" in delivery.progress.refused
    delivery.close()
