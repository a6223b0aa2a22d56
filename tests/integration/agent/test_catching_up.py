"""A backlog beside fresh samples: fresh ones first, everything once, whatever is cut, killed or restarted."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from collectors_dagster.agent.delivery import Delivery, Policies
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.intervals import ClosedInterval, Intervals
from collectors_dagster.agent.spool import Spool
from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import ServiceUnreachableError
from collectors_dagster.integrations.timescale import Delivered, DeliveryBatch, DeliveryResult, DeliveryStore
from collectors_dagster.patterns.circuit_breaker import BreakerPolicy, CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.rate_limiter import local_rate_limiter
from collectors_dagster.patterns.rate_policy import RatePolicy
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.tenants import SystemSource, Tenant, TenantDirectory
from tests.support.effort import times
from tests.support.spools import HEADER, append_seconds, open_spool, read_spool

AURORA = Tenant("aurora", "Aurora", system=SystemSource(collectors=("load", "disk")))
SAMPLES_PER_INTERVAL = 3  # load1, load1_max, disk_reads_per_second
START = datetime(2026, 1, 1, tzinfo=UTC)
Stored = set[tuple[str, datetime, float]]


class Unsteady(DeliveryStore):
    """A real store that can be out of reach, or lose the answer to what it has stored."""

    cut: str | None = None
    batches: list[DeliveryBatch]

    def deliver(self, batch: DeliveryBatch) -> DeliveryResult:
        self._fail_if("before")
        result = super().deliver(batch)
        self.batches.append(batch)
        self._fail_if("after")
        return result

    def delivered(self, agent_id: str, epoch: str, tenant_id: str) -> Delivered | None:
        self._fail_if("before")
        return super().delivered(agent_id, epoch, tenant_id)

    def _fail_if(self, when: str) -> None:
        if self.cut == when:
            raise ServiceUnreachableError("cut", service="postgresql", operation="deliver")


@dataclass
class Story:
    """One agent's life, from its spool to the database."""

    identity: Identity
    store: Unsteady
    conninfo: SecretStr
    clock: ManualClock = field(default_factory=ManualClock)
    tenants: tuple[Tenant, ...] = (AURORA,)
    batch_samples: int = 15
    limit: RatePolicy = field(default_factory=lambda: RatePolicy(1000, 1000))

    def __post_init__(self) -> None:
        self.spool = self._opened_spool()
        self.delivery = self._begun()

    def sample(self, seconds: int) -> None:
        at = round(self.clock.monotonic())
        append_seconds(self.spool, self.clock, [(float(at + n), float((at + n) ** 2)) for n in range(seconds)])

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.delivery.turn()
            self.spool.release(self.delivery.delivered_seq)

    def cut(self, when: str) -> None:
        self.store.cut = None if when == "never" else when

    def restart(self, kind: str) -> None:
        """Kill delivery alone, or the process: then the segment being written stays as it is."""
        if kind == "process":
            self.spool = self._opened_spool()
        self.delivery = self._begun()

    def finish(self) -> None:
        """Let everything pass that hinders, and everything be sent."""
        self.store.cut = None
        self.sample(21)
        for _ in range(60):
            self.turn()
            self.clock.sleep(1.0)
            self.delivery.progress.waiting_until = 0.0

    def whole(self) -> list[ClosedInterval]:
        """Return the intervals that a reading of the whole spool in order gives."""
        machine = Intervals(self.identity.host, ["load", "disk"], resolution_seconds=10.0, sample_interval_seconds=1.0)
        seen = read_spool(self.identity.directory)
        return [closed for each in seen if (closed := machine.add(each)) is not None]

    def due(self, until_seq: int | None = None) -> Stored:
        return {
            (sample.series.metric, sample.ts, sample.value)
            for closed in self.whole()
            if until_seq is None or closed.last_seq <= until_seq
            for sample in closed.samples
        }

    def stored(self, tenant: str = "aurora") -> Stored:
        query = """
            select s.metric, x.ts, x.value from core.sample x join core.series s using (series_id)
            join core.tenant t on t.tenant_key = s.tenant_key where t.tenant_id = %s and s.host = %s
        """
        with psycopg.connect(self.conninfo.get_secret_value()) as connection:
            return set(connection.execute(query, (tenant, self.identity.host)).fetchall())

    def books(self) -> tuple[int, int, int, float]:
        """Return samples, duplicates, intervals and gap seconds as the database's books have them."""
        query = """
            select coalesce(sum(samples), 0)::int, coalesce(sum(duplicates), 0)::int,
                   coalesce(sum(intervals) filter (where collector = 'load'), 0)::int,
                   coalesce(sum(gap_seconds) filter (where collector = 'load'), 0)
            from core.delivery where host = %s
        """
        with psycopg.connect(self.conninfo.get_secret_value()) as connection:
            row = connection.execute(query, (self.identity.host,)).fetchone()
        assert row is not None
        return row

    def ahead(self) -> str:
        query = "select ahead::text from core.agent_cursor where agent_id = %s"
        with psycopg.connect(self.conninfo.get_secret_value()) as connection:
            row = connection.execute(query, (self.identity.agent_id,)).fetchone()
        assert row is not None
        return str(row[0])

    def _opened_spool(self) -> Spool:
        header = HEADER._replace(agent_id=self.identity.agent_id, host=self.identity.host)
        return open_spool(self.identity.directory, self.clock, header=header)

    def _begun(self) -> Delivery:
        policies = Policies(
            CircuitBreaker("delivery", BreakerPolicy(1000, 1), classify=failed_if_transient, clock=self.clock),
            local_rate_limiter("delivery", self.limit, clock=self.clock),
            Backoff(base_seconds=0.5, cap_seconds=15.0, random=lambda: 0.0),
        )
        delivery = Delivery(
            self.identity,
            lambda: self.store,
            policies,
            self.clock,
            sample_interval_seconds=1.0,
            quarantine_bytes=1024**2,
            batch_samples=self.batch_samples,
        )
        delivery.follow(TenantDirectory(self.tenants), 1)
        return delivery


@contextmanager
def life(
    database: SecretStr, *, limit: RatePolicy | None = None, tenants: tuple[Tenant, ...] = (AURORA,)
) -> Iterator[Story]:
    """Yield a new agent on a host of its own."""
    name = f"host-{uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as folder, Unsteady(database, application_name="test-agent") as store:
        store.batches = []
        identity = Identity(name, HEADER.epoch, name, Path(folder) / "spool")
        identity.directory.mkdir(parents=True)
        story = Story(identity, store, database, tenants=tenants, limit=limit or RatePolicy(1000, 1000))
        yield story
        story.spool.close()


STEPS = st.one_of(
    st.tuples(st.just("sample"), st.integers(1, 150)),
    st.tuples(st.just("turn"), st.integers(1, 2)),
    st.tuples(st.just("cut"), st.sampled_from(["before", "after", "never", "never"])),
    st.tuples(st.just("restart"), st.sampled_from(["delivery", "process"])),
)


@settings(max_examples=times(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=4, max_size=25))
def test_no_order_of_outages_and_crashes_loses_or_doubles_anything(
    steps: list[tuple[str, int | str]], database: SecretStr
) -> None:
    with life(database) as story:
        for name, argument in steps:
            getattr(story, name)(argument)
            assert story.due(story.delivery.delivered_seq) <= story.stored()
        story.finish()
        assert story.stored() == story.due()
        whole = story.whole()
        samples, duplicates, intervals, gap = story.books()
        assert (samples, duplicates) == (len(story.due()), 0)
        assert intervals == len([closed for closed in whole if closed.samples])
        expected_gap = sum(
            note.gap_seconds for closed in whole for (name, _), note in closed.notes.items() if name == "load"
        )
        assert gap == pytest.approx(expected_gap)
        assert story.ahead() == "{}"


def test_after_an_outage_fresh_samples_come_first_and_the_backlog_follows(database: SecretStr) -> None:
    with life(database) as story:
        story.sample(31)
        story.turn()
        story.cut("before")
        for _ in range(60):
            story.sample(60)
            story.turn()
        story.cut("never")
        story.store.batches.clear()
        story.turn()
        newest = max(ts for _, ts, _ in story.due())
        assert newest in {ts for _, ts, _ in story.stored()}
        fresh, backlog = story.store.batches[:2]
        assert max(sample.ts for sample in fresh.samples) == newest
        assert len(fresh.samples) <= 7 * SAMPLES_PER_INTERVAL  # from the last full minute on
        assert min(sample.ts for sample in backlog.samples) == START + timedelta(seconds=40)
        assert story.delivery.progress.tenants["aurora"].backlog_records > 3000
        assert story.ahead() != "{}"
        lags = []
        while story.delivery.progress.tenants["aurora"].backlog_records:
            story.sample(1)
            story.turn()
            lags.append(story.clock.now() - max(ts for _, ts, _ in story.stored()))
        assert max(lags) <= timedelta(seconds=11)
        assert len(lags) < 3600 / 50
        assert story.stored() == story.due()
        assert story.ahead() == "{}"


def test_a_second_outage_during_the_catching_up_begins_a_second_hole(database: SecretStr) -> None:
    with life(database) as story:
        for _ in range(2):
            story.cut("before")
            for _ in range(30):
                story.sample(60)
                story.turn()
            story.cut("never")
            story.turn(2)
        assert story.ahead().count("[") == 2
        story.restart("process")
        newest = max(ts for _, ts, _ in story.due())
        story.sample(10)
        story.turn()
        assert newest in {ts for _, ts, _ in story.stored()}
        story.finish()
        assert story.stored() == story.due()
        assert story.books()[1] == 0


def test_what_the_spool_gave_up_ends_the_hole(database: SecretStr) -> None:
    with life(database) as story:
        story.cut("before")
        for _ in range(30):
            story.sample(60)
            story.turn()
        story.cut("never")
        story.turn()
        for path in sorted(story.identity.directory.glob("*.segz"))[5:-3]:
            path.unlink()
        story.finish()
        assert story.stored() >= story.due()
        assert story.ahead() == "{}"
        assert story.delivery.progress.tenants["aurora"].backlog_records == 0


def test_a_tenant_that_came_late_has_no_hole_before_it(database: SecretStr) -> None:
    late = Tenant("borealis", "Borealis", system=AURORA.system)
    with life(database) as story:
        story.sample(300)
        story.turn()
        story.tenants = (AURORA, late)
        story.delivery.follow(TenantDirectory(story.tenants), story.spool.next_seq)
        story.sample(60)
        story.turn(5)
        assert {ts for _, ts, _ in story.stored("borealis")} <= {ts for _, ts, _ in story.due()}
        assert story.delivery.progress.tenants["borealis"].backlog_records == 0
        assert story.delivery.delivered_seq > 300


def test_many_tenants_with_few_calls_share_them_four_to_one(database: SecretStr) -> None:
    """Twelve tenants' fresh samples need more calls than five a second allow while one of them catches up."""
    tenants = tuple(Tenant(f"t{number:02d}", "T", system=AURORA.system) for number in range(12))
    with life(database, tenants=tenants, limit=RatePolicy(1.5, 5)) as story:
        story.sample(31)
        story.turn(20)
        story.cut("before")
        for _ in range(20):
            story.sample(60)
            story.turn()
        story.cut("never")
        turns, worst = 0, timedelta(0)
        while any(lane.backlog_records for lane in story.delivery.progress.tenants.values()) or turns < 30:
            story.sample(1)
            story.turn()
            turns += 1
            assert turns < 2000
            if turns > 30:
                ends = [lane.delivered_until for lane in story.delivery.progress.tenants.values()]
                worst = max(worst, *(story.clock.now() - end for end in ends if end is not None))
        assert worst <= timedelta(seconds=30)
        story.sample(11)
        story.turn(40)
        for tenant in tenants:
            missing = {ts for _, ts, _ in story.due()} - {ts for _, ts, _ in story.stored(tenant.id)}
            assert len(missing) <= 3
