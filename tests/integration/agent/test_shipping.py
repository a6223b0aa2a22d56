"""Incidents at full resolution in a real database: once, whole, and without touching the samples."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.agent.delivery import Delivery, Policies
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.shipping import IncidentShipper, WindowPolicy
from collectors_dagster.agent.spool import Spool
from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import ServiceUnreachableError, StorageError
from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.details import DetailBatch, DetailTable
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.rate_limiter import local_rate_limiter
from collectors_dagster.patterns.rate_policy import RatePolicy
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.records import Incident, IncidentEventKind, Severity, Window
from collectors_dagster.tenants import SystemSource, Tenant, TenantDirectory
from tests.support.spools import HEADER, append_seconds, open_spool
from tests.support.store_data import checksum

START = datetime(2026, 1, 1, tzinfo=UTC)
AURORA = Tenant("aurora", "Aurora", system=SystemSource(collectors=("load", "disk")))
BOREALIS = Tenant("borealis", "Borealis", system=SystemSource(collectors=("load",), collection_interval_seconds=30.0))
MINUTE = timedelta(minutes=1)
POLICY = WindowPolicy(2 * MINUTE, 1 * MINUTE, 10 * MINUTE, timedelta(hours=24))


class CutDetails(DetailTable):
    """A real table whose connection can be cut before a write, or after it was committed."""

    cut: str | None = None

    def write(self, batch: DetailBatch) -> int:
        if self.cut == "before":
            raise ServiceUnreachableError("cut", service="postgresql", operation="deliver")
        added = super().write(batch)
        if self.cut == "after":
            raise ServiceUnreachableError("cut", service="postgresql", operation="deliver")
        return added


@dataclass
class Site:
    """An agent that samples and delivers, and the database with the scorer's side of it."""

    identity: Identity
    clock: ManualClock
    spool: Spool
    agents_store: DeliveryStore
    store: Store
    conninfo: SecretStr
    details: CutDetails

    def start(self, *tenants: Tenant, policy: WindowPolicy = POLICY) -> None:
        self.delivery = Delivery(
            self.identity,
            lambda: self.agents_store,
            policies(self.clock),
            self.clock,
            sample_interval_seconds=1.0,
            quarantine_bytes=10**6,
        )
        self.delivery.follow(TenantDirectory(tenants or (AURORA,)), self.spool.next_seq)
        self.shipper = IncidentShipper(self.identity, self.delivery, policy, self.clock, sample_interval_seconds=1.0)

    def run(self, minutes: int) -> None:
        """Sample a minute, deliver, ship; again and again. The load is the second, reads grow by seven a second."""
        for _ in range(minutes):
            at = round((self.clock.now() - START).total_seconds())
            append_seconds(self.spool, self.clock, [(float(at + n + 1), 7.0 * (at + n)) for n in range(60)])
            self.deliver()

    def deliver(self, turns: int = 4) -> None:
        for _ in range(turns):
            self.delivery.turn()
            self.shipper.look()
            self.shipper.turn()

    def incident(self, tenant: str, opened: float, host: str = HEADER.host) -> Incident:
        """Open an incident some minutes after the start."""
        at = START + opened * MINUTE
        found = Incident(None, tenant, host, at, at, None, Severity.WARNING, 0.95, "high", (), "3", "stream")
        return self.store.incidents.apply(tenant, [(IncidentEventKind.OPENED, found)])[0]

    def resolve(self, incident: Incident, minute: float) -> None:
        at = START + minute * MINUTE
        ended = replace(incident, updated_at=at, resolved_at=at)
        self.store.incidents.apply(incident.tenant_id, [(IncidentEventKind.RESOLVED, ended)])

    def rows(self, tenant: str = "aurora", metric: str = "load1") -> list[tuple[float, float]]:
        """Return (seconds since the start, value) of a metric at full resolution."""
        query = """
            select extract(epoch from d.minute + u.us * interval '1 microsecond' - %s)::float8, u.value
            from core.sample_detail d cross join lateral unnest(d.offsets, d."values") as u (us, value)
            join core.series s using (series_id) join core.tenant t on t.tenant_key = d.tenant_key
            where t.tenant_id = %s and s.metric = %s order by 1
        """
        with psycopg.connect(self.conninfo.get_secret_value()) as connection:
            return connection.execute(query, (START, tenant, metric)).fetchall()


def policies(clock: ManualClock) -> Policies:
    return Policies(
        CircuitBreaker("d", BreakerPolicy(1000, 1), classify=failed_if_transient, clock=clock),
        local_rate_limiter("d", RatePolicy(1000, 1000), clock=clock),
        Backoff(base_seconds=0.5, cap_seconds=15.0, random=lambda: 1.0),
    )


@pytest.fixture
def site(database: SecretStr, store: Store, tmp_path: Path, manual_clock: ManualClock) -> Iterator[Site]:
    directory = tmp_path / HEADER.epoch
    directory.mkdir()
    identity = Identity(HEADER.agent_id, HEADER.epoch, HEADER.host, tmp_path)
    spool = open_spool(directory, manual_clock)
    store.tenants.sync([AURORA, BOREALIS])
    with DeliveryStore(database, application_name="test-agent") as agents_store:
        details = CutDetails(agents_store._database, agents_store.tenants, agents_store._series)
        agents_store.details = details
        yield Site(identity, manual_clock, spool, agents_store, store, database, details)
    spool.close()


def seconds(first_minute: int, last_minute: int) -> list[float]:
    return [float(second) for second in range(60 * first_minute + 1, 60 * last_minute + 1)]


def test_every_second_around_an_incident_arrives_once(site: Site) -> None:
    site.start(AURORA, BOREALIS)
    site.run(6)
    incident = site.incident("aurora", 5.5)
    site.run(2)
    site.resolve(incident, 7.2)
    site.run(4)
    assert [at for at, _ in site.rows()] == seconds(3, 9)
    assert all(value == at - 1 for at, value in site.rows())
    assert {rate for _, rate in site.rows(metric="disk_reads_per_second")} == {7.0}
    assert site.rows(metric="load1_max") == []
    assert site.rows("borealis") == []
    assert site.shipper.progress.completed == 1
    assert site.shipper.progress.due == []


def test_the_samples_aggregates_and_books_do_not_change(site: Site) -> None:
    site.start()
    site.run(8)
    window = Window(START, START + timedelta(hours=1))
    before = checksum(site.conninfo)
    hourly = site.store.rollups.hourly("aurora", window, "run-1")
    with_hours = checksum(site.conninfo)
    site.resolve(site.incident("aurora", 4.0), 5.0)
    site.deliver(10)
    assert len(site.rows()) == 4 * 60
    after = checksum(site.conninfo)
    assert {name for name in after if after[name] != with_hours[name]} == {
        "sample_detail",
        "detail_window",
        "incident",
        "incident_event",
    }
    assert before["sample"] == after["sample"]
    assert site.store.rollups.hourly("aurora", window, "run-2") == hourly


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_cut_connection_loses_nothing_and_doubles_nothing(site: Site, cut: str) -> None:
    site.start()
    site.run(8)
    site.resolve(site.incident("aurora", 4.0), 5.0)
    site.details.cut = cut
    site.deliver(1)
    assert site.shipper.progress.last_error == "cut"
    site.details.cut = None
    site.clock.sleep(60)
    site.deliver(10)
    assert [at for at, _ in site.rows()] == seconds(2, 6)
    assert site.shipper.progress.last_error is None


def test_a_restart_goes_on_where_the_database_says(site: Site) -> None:
    site.start()
    site.run(8)
    incident = site.incident("aurora", 4.0)
    site.deliver(1)
    shipped = len(site.rows())
    assert 0 < shipped < 360
    site.resolve(incident, 5.0)
    site.start()
    site.deliver(10)
    assert [at for at, _ in site.rows()] == seconds(2, 6)
    site.start()
    once = checksum(site.conninfo)
    site.deliver(10)
    assert checksum(site.conninfo) == once
    assert site.shipper.progress.values == 0


def test_incidents_that_overlap_share_their_minutes(site: Site) -> None:
    site.start(AURORA, BOREALIS)
    site.run(8)
    first = site.incident("aurora", 3.0)
    site.resolve(first, 3.5)
    site.resolve(site.incident("aurora", 4.0), 5.0)
    site.resolve(site.incident("borealis", 4.0), 5.0)
    site.deliver(20)
    assert [at for at, _ in site.rows()] == seconds(1, 6)
    assert [at for at, _ in site.rows("borealis")] == seconds(2, 6)


def test_other_hosts_and_batch_incidents_are_not_its_business(site: Site) -> None:
    site.start()
    site.run(6)
    site.incident("aurora", 3.0, host="elsewhere")
    past = site.incident("aurora", 3.0)
    with psycopg.connect(site.conninfo.get_secret_value()) as connection:
        connection.execute("update core.incident set source = 'batch' where incident_id = %s", [past.id])
    site.deliver(5)
    assert site.rows() == []


def test_what_the_recorder_no_longer_holds_is_passed_over(site: Site) -> None:
    site.start()
    site.run(6)
    for path in sorted(site.identity.directory.glob("*.segz"))[:3]:
        path.unlink()
    site.resolve(site.incident("aurora", 3.0), 4.0)
    site.deliver(10)
    found = [at for at, _ in site.rows()]
    assert found
    assert set(found) < set(seconds(1, 5))
    assert site.shipper.progress.completed == 1


def test_it_waits_while_samples_wait(site: Site) -> None:
    site.start()
    site.run(6)
    site.incident("aurora", 3.0)
    site.shipper.look()
    site.delivery.progress.tenants["aurora"].backlog_records = 7
    site.shipper.turn()
    assert site.rows() == []
    site.delivery.progress.tenants["aurora"].backlog_records = 0
    site.shipper.turn()
    assert len(site.rows()) == 120


def test_zero_minutes_at_most_means_none(site: Site) -> None:
    site.start(policy=replace(POLICY, most=timedelta(0)))
    site.run(6)
    site.incident("aurora", 3.0)
    site.deliver(5)
    assert site.rows() == []
    assert site.shipper.progress.due == []


class PickyDetails(CutDetails):
    """A real table that refuses one tenant's windows."""

    refused = "aurora"

    def write(self, batch: DetailBatch) -> int:
        if batch.tenant_id == self.refused:
            raise StorageError("a value breaks a rule")
        return super().write(batch)


def test_a_window_that_is_refused_holds_up_no_other(site: Site) -> None:
    site.start(AURORA, BOREALIS)
    site.run(4)
    site.incident("aurora", 3.0)
    site.resolve(site.incident("borealis", 3.5), 4.0)
    site.details.__class__ = PickyDetails
    site.run(4)
    assert site.rows("aurora") == []
    assert len(site.rows("borealis")) > 100
    assert site.shipper.progress.last_error is None or "rule" in site.shipper.progress.last_error
    site.details.__class__ = CutDetails
    site.run(6)
    assert len(site.rows("aurora")) > 100
