"""From the spool into a real database: once, completely, at each tenant's resolution."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.agent.delivery import EVERYTHING, Delivery, Policies
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.records import ClockChange
from collectors_dagster.agent.spool import Spool
from collectors_dagster.clock import ManualClock, nanoseconds
from collectors_dagster.collectors.runner import Column
from collectors_dagster.errors import ConfigurationError, ServiceUnreachableError
from collectors_dagster.integrations.timescale import DeliveryBatch, DeliveryResult, DeliveryStore, Store
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, Phase, failed_if_transient
from collectors_dagster.patterns.rate_limiter import local_rate_limiter
from collectors_dagster.patterns.rate_policy import RatePolicy
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.records import ClockEvent, ClockEventKind, Window
from collectors_dagster.samples import Kind, Metric
from collectors_dagster.tenants import SystemSource, Tenant, TenantDirectory
from tests.support.spools import HEADER, LOAD, READS, append_seconds, limits, open_spool, read_spool, sweep

START = datetime(2026, 1, 1, tzinfo=UTC)
AURORA = Tenant("aurora", "Aurora", system=SystemSource(collectors=("load", "disk")))
BOREALIS = Tenant("borealis", "Borealis", system=SystemSource(collectors=("load",), collection_interval_seconds=30.0))
QUARANTINE_BYTES = 1024**2
Connect = Callable[[], DeliveryStore]


class Unsteady(DeliveryStore):
    """A real store whose connection can be cut before a delivery, or after it was committed."""

    cut: str | None = None

    def deliver(self, batch: DeliveryBatch) -> DeliveryResult:
        if self.cut == "before":
            raise ServiceUnreachableError("cut", service="postgresql", operation="deliver")
        result = super().deliver(batch)
        if self.cut == "after":
            raise ServiceUnreachableError("cut", service="postgresql", operation="deliver")
        return result


@dataclass
class Site:
    """An agent's spool and clock, and the database it delivers to."""

    identity: Identity
    clock: ManualClock
    spool: Spool
    store: Unsteady
    conninfo: SecretStr
    batch_samples: int = 10_000

    def delivery(self, *tenants: Tenant, connect: Connect | None = None) -> Delivery:
        delivery = Delivery(
            self.identity,
            connect or (lambda: self.store),
            policies(self.clock),
            self.clock,
            sample_interval_seconds=1.0,
            quarantine_bytes=QUARANTINE_BYTES,
            batch_samples=self.batch_samples,
        )
        delivery.follow(TenantDirectory(tenants or (AURORA,)), self.spool.next_seq)
        return delivery

    def sample(self, seconds: int) -> None:
        """Append `seconds` sweeps: the load is the second, reads grow by seven a second."""
        at = round(self.clock.monotonic())
        append_seconds(self.spool, self.clock, [(float(at + n), 7.0 * (at + n)) for n in range(seconds)])

    def turn(self, delivery: Delivery, times: int = 4) -> None:
        for _ in range(times):
            delivery.turn()
            self.clock.sleep(40)  # longer than any pause

    def execute(self, statement: LiteralString) -> None:
        with psycopg.connect(self.conninfo.get_secret_value()) as connection:
            connection.execute(statement)

    def rows(self, tenant: str = "aurora", metric: str = "load1") -> list[tuple[float, float]]:
        """Return (seconds since the start, value) of a metric."""
        query = """
            select extract(epoch from x.ts - %s)::float8, x.value from core.sample x
            join core.series s using (series_id) join core.tenant t on t.tenant_key = s.tenant_key
            where t.tenant_id = %s and s.metric = %s order by x.ts
        """
        with psycopg.connect(self.conninfo.get_secret_value()) as connection:
            return connection.execute(query, (START, tenant, metric)).fetchall()


def policies(clock: ManualClock) -> Policies:
    return Policies(
        CircuitBreaker(
            "delivery",
            BreakerPolicy(failure_threshold=3, recovery_seconds=30),
            classify=failed_if_transient,
            clock=clock,
        ),
        local_rate_limiter("delivery", RatePolicy(1000, 1000), clock=clock),
        Backoff(base_seconds=0.5, cap_seconds=15.0, random=lambda: 1.0),
    )


@pytest.fixture
def site(database: SecretStr, tmp_path: Path, manual_clock: ManualClock) -> Iterator[Site]:
    directory = tmp_path / "spool" / HEADER.epoch
    directory.mkdir(parents=True)
    identity = Identity(HEADER.agent_id, HEADER.epoch, HEADER.host, tmp_path / "spool")
    spool = open_spool(directory, manual_clock)
    with Unsteady(database, application_name="test-agent") as store:
        yield Site(identity, manual_clock, spool, store, database)
    spool.close()


KILLS = Column("memory", Metric("oom_kills_total", Kind.COUNTER, "operations", "", cumulative=True))


def test_a_total_is_a_gauge_in_the_database_beside_the_rate_of_its_counter(site: Site) -> None:
    delivery = site.delivery(replace(AURORA, system=SystemSource(collectors=("memory",))))
    append_seconds(site.spool, site.clock, [(100.0,)] * 15 + [(103.0,)] * 6, columns=(KILLS,))
    site.turn(delivery)
    delivery.close()
    rates, totals = site.rows(metric="oom_kills_per_second"), site.rows(metric="oom_kills_total")
    assert [value for _, value in totals] == [100.0, 103.0]
    assert [at for at, _ in totals] == [at for at, _ in rates]
    query = "select metric, unit, kind from core.series where metric like 'oom_kills%' order by metric"
    with psycopg.connect(site.conninfo.get_secret_value()) as connection:
        assert connection.execute(query).fetchall() == [
            ("oom_kills_per_second", "operations_per_second", "counter"),
            ("oom_kills_total", "operations", "gauge"),
        ]


def test_samples_arrive_at_each_tenants_resolution(site: Site) -> None:
    delivery = site.delivery(AURORA, BOREALIS)
    site.sample(61)
    site.turn(delivery)
    assert [at for at, _ in site.rows("aurora")] == [10, 20, 30, 40, 50, 60]
    assert [at for at, _ in site.rows("borealis")] == [30, 60]
    assert site.rows("aurora")[1] == (20.0, 13.5)
    assert {rate for _, rate in site.rows("aurora", "disk_reads_per_second")} == {7.0}
    assert site.rows("borealis", "disk_reads_per_second") == []
    delivery.close()


def test_an_incomplete_interval_waits(site: Site) -> None:
    delivery = site.delivery()
    site.sample(15)
    site.turn(delivery)
    assert [at for at, _ in site.rows()] == [10]
    delivery.close()


def test_a_restart_goes_on_where_the_database_says(site: Site) -> None:
    first = site.delivery()
    site.sample(25)
    first.turn()
    first.close()
    second = site.delivery(connect=lambda: Unsteady(site.conninfo, application_name="test-agent"))
    site.sample(26)
    second.turn()
    assert [at for at, _ in site.rows()] == [10, 20, 30, 40, 50]
    assert {rate for _, rate in site.rows(metric="disk_reads_per_second")} == {7.0}
    second.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_cut_connection_loses_nothing_and_doubles_nothing(site: Site, cut: str) -> None:
    delivery = site.delivery()
    site.sample(31)
    delivery.turn()
    site.store.cut = cut
    site.sample(30)
    for _ in range(10):
        delivery.turn()
        site.clock.sleep(0.1)
    assert delivery.progress.last_error == "cut"
    site.store.cut = None
    site.clock.sleep(40)
    delivery.turn()
    assert [at for at, _ in site.rows()] == [10, 20, 30, 40, 50, 60]
    assert books(site) == (12, 0)
    delivery.close()


def books(site: Site) -> tuple[int, int]:
    """Return samples and duplicates that the database's books know of for the load."""
    with psycopg.connect(site.conninfo.get_secret_value()) as connection:
        row = connection.execute(
            "select sum(samples)::int, sum(duplicates)::int from core.delivery where collector = 'load'"
        ).fetchone()
    assert row is not None
    return row


def test_a_database_that_is_away_is_left_alone_more_and_more(site: Site) -> None:
    delivery = site.delivery()
    site.sample(11)
    delivery.turn()
    site.store.cut = "before"
    site.sample(10)
    breaker = delivery._policies.breaker
    while breaker.phase is Phase.CLOSED:
        delivery.turn()
        site.clock.sleep(0.5)
    failures = delivery.progress.failures
    assert failures == 3
    for _ in range(25):
        delivery.turn()
        site.clock.sleep(1)
    assert delivery.progress.failures - failures <= 2
    delivery.close()


def test_an_hour_away_is_caught_up_completely(site: Site) -> None:
    delivery = site.delivery()
    site.store.cut = "before"
    site.sample(1)
    for _ in range(60):
        site.sample(60)
        delivery.turn()
    site.store.cut = None
    site.turn(delivery, 3)
    assert [at for at, _ in site.rows()] == [10 * n for n in range(1, 361)]
    assert books(site) == (720, 0)
    delivery.close()


def test_samples_from_before_the_database_was_there_are_delivered(site: Site) -> None:
    def not_yet() -> DeliveryStore:
        raise ConfigurationError("the password does not exist yet")

    waiting = site.delivery(connect=not_yet)
    site.sample(25)
    waiting.turn()
    assert waiting.progress.last_error == "the password does not exist yet"
    waiting.close()
    delivery = site.delivery()
    delivery.turn()
    assert [at for at, _ in site.rows()] == [10, 20]
    delivery.close()


def test_a_tenant_that_appears_later_starts_then(site: Site) -> None:
    delivery = site.delivery(AURORA)
    site.sample(30)
    delivery.turn()
    delivery.follow(TenantDirectory((AURORA, BOREALIS)), site.spool.next_seq)
    site.sample(61)
    site.turn(delivery)
    assert [at for at, _ in site.rows("borealis")] == [60, 90]
    assert [at for at, _ in site.rows("aurora")] == [10 * n for n in range(1, 10)]
    delivery.close()


def test_a_tenant_whose_sources_change_goes_on_where_it_was(site: Site) -> None:
    delivery = site.delivery(AURORA)
    site.sample(31)
    delivery.turn()
    less = replace(AURORA, system=replace(AURORA.system, collectors=("load",)))
    delivery.follow(TenantDirectory((less,)), site.spool.next_seq)
    site.sample(30)
    site.turn(delivery)
    assert [at for at, _ in site.rows()] == [10, 20, 30, 40, 50, 60]
    assert [at for at, _ in site.rows(metric="disk_reads_per_second")] == [10, 20, 30]
    delivery.close()


def test_a_tenant_that_asks_for_detail_gets_it_from_then_on(site: Site) -> None:
    fine = Column("load", Metric("load_fine", Kind.GAUGE, "processes", "", detail=True))
    asking = replace(AURORA, system=replace(AURORA.system, detail=True))
    delivery = site.delivery(AURORA)
    for tenant in (AURORA, asking):
        delivery.follow(TenantDirectory((tenant,)), site.spool.next_seq)
        append_seconds(site.spool, site.clock, [(1.0, 1.0, 5.0)] * 31, columns=(LOAD, READS, fine))
        delivery.turn()
    site.turn(delivery)
    assert [at for at, _ in site.rows()] == [10, 20, 30, 40, 50, 60]
    assert site.rows(metric="load_fine") == [(40, 5.0), (50, 5.0), (60, 5.0)]
    delivery.close()


@pytest.mark.parametrize(
    "tenant",
    [replace(AURORA, system=replace(AURORA.system, enabled=False)), replace(AURORA, synthetic=True)],
    ids=["disabled", "synthetic"],
)
def test_a_tenant_that_wants_no_real_host_gets_none(site: Site, tenant: Tenant) -> None:
    delivery = site.delivery(tenant)
    site.sample(21)
    delivery.turn()
    assert site.rows() == []
    assert delivery.delivered_seq == EVERYTHING
    delivery.close()


def test_a_tenant_the_database_refuses_does_not_hold_up_the_others(site: Site) -> None:
    site.execute("alter table core.tenant add constraint never check (tenant_id <> 'borealis')")
    delivery = site.delivery(AURORA, BOREALIS)
    site.sample(31)
    delivery.turn()
    assert [at for at, _ in site.rows("aurora")] == [10, 20, 30]
    assert '"never"' in delivery.progress.refused["borealis"]
    site.execute("alter table core.tenant drop constraint never")
    site.turn(delivery, 1)
    site.turn(delivery, 1)
    assert [at for at, _ in site.rows("borealis")] == [30]
    assert delivery.progress.refused == {}
    delivery.close()


def test_agents_with_directories_of_their_own_do_not_remove_each_others_tenants(site: Site) -> None:
    other = Identity("agent-2", HEADER.epoch, "host-2", site.identity.root)
    site.store.tenants.sync([AURORA])
    site.sample(31)
    for identity, tenant in ((site.identity, AURORA), (other, BOREALIS), (site.identity, AURORA)):
        replace(site, identity=identity).delivery(tenant).turn()
    assert site.store.tenants.ids() == ["aurora", "borealis"]


def test_an_agent_leaves_a_tenant_as_its_owner_left_it(site: Site) -> None:
    """One that was removed centrally is served on as long as the agent's own files name it, but stays removed."""
    site.store.tenants.sync([AURORA, BOREALIS])
    site.store.tenants.sync([BOREALIS])
    delivery = site.delivery(replace(AURORA, name="Another name"))
    site.sample(31)
    delivery.turn()
    assert site.store.tenants.ids() == ["borealis"]
    assert len(site.rows("aurora")) == 3
    delivery.close()


def test_what_happened_to_the_clock_is_a_row_of_every_tenant(site: Site, store: Store) -> None:
    delivery = site.delivery(AURORA, BOREALIS)
    site.sample(20)
    site.spool.append(sweep(1.0, 1.0), nanoseconds(site.clock.now()), 0, [ClockChange(ClockEventKind.STEP, -3600.0)])
    site.sample(50)
    site.turn(delivery)
    window = Window(START, START + timedelta(hours=1))
    expected = [ClockEvent("host-1", START + timedelta(seconds=20), ClockEventKind.STEP, -3600.0)]
    assert store.ledger.clock_events("aurora", window) == store.ledger.clock_events("borealis", window) == expected
    delivery.close()


def test_gaps_and_bytes_are_booked(site: Site) -> None:
    delivery = site.delivery()
    site.sample(20)
    site.clock.sleep(100)
    site.sample(21)
    site.turn(delivery)
    with psycopg.connect(site.conninfo.get_secret_value()) as connection:
        row = connection.execute(
            "select intervals, gap_seconds, bytes from core.delivery where collector = 'disk'"
        ).fetchone()
    assert row == (5, pytest.approx(100.0), (9 + 10 + 1 + 9 + 10) * 8)
    delivery.close()


def test_what_is_delivered_to_all_may_be_dropped(site: Site) -> None:
    delivery = site.delivery(AURORA, BOREALIS)
    assert delivery.delivered_seq == 0
    site.sample(45)
    delivery.turn()
    assert delivery.delivered_seq == 29  # the slower tenant's first interval ends before second 30
    delivery.close()


def test_what_is_delivered_counts_as_delivered_after_a_restart_without_the_database(site: Site) -> None:
    def away() -> DeliveryStore:
        raise ServiceUnreachableError("away", service="postgresql", operation="connect")

    before = site.delivery(AURORA, BOREALIS)
    site.sample(600)
    before.turn()
    known = before.delivered_seq
    before.close()
    after = site.delivery(AURORA, BOREALIS, connect=away)
    after.turn()
    assert after.delivered_seq == known > 550
    site.spool.close()
    held = sum(path.stat().st_size for path in site.identity.directory.glob("*.segz"))
    site.spool = open_spool(site.identity.directory, site.clock, limits=limits(max_bytes=held // 3))
    site.spool.release(after.delivered_seq)
    for _ in range(10):
        site.spool.tend()
    given_up = site.spool.statistics
    assert (given_up.thinned_segments, given_up.dropped_segments, given_up.undelivered_segments) == (0, 0, 1)
    after.close()


def test_what_is_delivered_counts_as_delivered_after_a_crash_without_the_database(site: Site) -> None:
    before = site.delivery()
    site.sample(61)
    for _ in range(2):
        before.turn()
        site.clock.sleep(15)
    after = site.delivery(connect=lambda: Unsteady(site.conninfo, application_name="test-agent"))
    assert after.delivered_seq == before.delivered_seq == 59
    before.close()


def test_a_change_of_settings_while_the_database_is_away_leaves_what_is_delivered(site: Site) -> None:
    delivery = site.delivery()
    site.sample(61)
    delivery.turn()
    less = replace(AURORA, system=replace(AURORA.system, collectors=("load",)))
    delivery.follow(TenantDirectory((less,)), site.spool.next_seq)
    assert delivery.delivered_seq == 59
    delivery.close()


def test_a_store_that_was_set_back_is_believed(site: Site) -> None:
    before = site.delivery()
    site.sample(61)
    before.turn()
    before.close()
    site.execute("delete from core.agent_cursor")
    site.execute("delete from core.sample")
    after = site.delivery(connect=lambda: Unsteady(site.conninfo, application_name="test-agent"))
    assert after.delivered_seq == 59
    after.turn()
    assert [at for at, _ in site.rows()] == [10, 20, 30, 40, 50, 60]
    after.close()


def test_a_heartbeat_shows_in_the_database(site: Site) -> None:
    delivery = site.delivery()
    delivery.heartbeat("0.1.0", START, {"spool": {"bytes": 7}})
    with psycopg.connect(site.conninfo.get_secret_value()) as connection:
        row = connection.execute("select agent_id, host, version, state from core.agent").fetchone()
    assert row == ("agent-1", "host-1", "0.1.0", {"spool": {"bytes": 7}})
    delivery.close()


def test_the_lag_is_the_age_of_the_newest_delivered_interval(site: Site) -> None:
    delivery = site.delivery()
    assert delivery.lag_seconds() is None
    site.sample(21)
    delivery.turn()
    assert delivery.lag_seconds() == 1.0
    site.clock.sleep(60)
    assert delivery.lag_seconds() == 61.0
    assert site.clock.now() == START + timedelta(seconds=81)
    delivery.close()


def test_thinned_samples_are_delivered_as_if_nothing_had_been_given_up(site: Site) -> None:
    """The database is away for so long that the spool thins; a tenant of ten seconds does not notice."""
    delivery = site.delivery()
    site.sample(61)
    delivery.turn()
    site.store.cut = "before"
    site.sample(60 * 12)
    settle(site, max_bytes=4_000)
    assert site.spool.statistics.thinned_segments > 3
    assert site.spool.statistics.dropped_segments == 0
    site.store.cut = None
    restarted = site.delivery(connect=lambda: Unsteady(site.conninfo, application_name="test-agent"))
    site.turn(restarted)
    assert [at for at, _ in site.rows()] == [10 * n for n in range(1, 79)]
    assert [value for _, value in site.rows()][1:] == [10 * n + 3.5 for n in range(1, 78)]
    assert [value for _, value in site.rows(metric="load1_max")][1:] == [10 * n + 8.0 for n in range(1, 78)]
    assert {rate for _, rate in site.rows(metric="disk_reads_per_second")} == {7.0}
    with psycopg.connect(site.conninfo.get_secret_value()) as connection:
        row = connection.execute("select sum(gap_seconds), sum(duplicates)::int from core.delivery").fetchone()
    assert row == (pytest.approx(0.0), 0)
    restarted.close()
    delivery.close()


@pytest.mark.parametrize("recorder_hours", [0.0, 24.0])
@pytest.mark.parametrize("crash", [None, "before", "after"])
def test_what_was_given_up_before_a_restart_is_a_gap_once(site: Site, recorder_hours: float, crash: str | None) -> None:
    """With a recorder of no hours nothing from before the hole is there any more."""

    def restarted() -> Delivery:
        return site.delivery(connect=lambda: Unsteady(site.conninfo, application_name="test-agent"))

    delivery = site.delivery()
    site.sample(95)
    delivery.turn()
    acked = delivery.delivered_seq
    delivery.close()
    site.spool.release(acked)
    site.spool._limits = limits(max_hours=0.05, recorder_hours=recorder_hours)
    site.sample(600)
    first = next(seen for seen in read_spool(site.identity.directory) if seen.seq > acked)
    missing = first.seq - (acked + 1)
    assert missing > 300
    if crash:
        cut = site.delivery(connect=lambda: Unsteady(site.conninfo, application_name="test-agent"))
        cut.ask(lambda store: setattr(store, "cut", crash))
        cut.turn()
    for _ in range(2):
        again = restarted()
        site.clock.sleep(40)
        again.turn()
        again.close()
        with psycopg.connect(site.conninfo.get_secret_value()) as connection:
            query = "select collector, sum(gap_seconds)::float8 from core.delivery group by 1 order by 1"
            booked = connection.execute(query).fetchall()
        assert booked == [("disk", pytest.approx(missing)), ("load", pytest.approx(missing))]


def settle(site: Site, max_bytes: int) -> None:
    """Lower what the spool may hold, and let it come down to ten seconds where it must."""
    site.spool._limits = limits(max_bytes=max_bytes)
    site.spool._unsettled = True
    for _ in range(8):
        site.spool.tend()
