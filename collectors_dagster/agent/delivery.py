"""Delivery: a second thread that carries every tenant's samples from the spool to the store.

Nothing is lost when the database is away: lanes keep their place and the spool keeps the samples. Nothing is stored
twice: the store moves the spool's cursor in the transaction of the samples, and after a restart we ask it where to go
on.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.lane import Lane, LaneProgress
from collectors_dagster.agent.positions import Positions
from collectors_dagster.clock import Clock
from collectors_dagster.config.tenants import TenantDirectory
from collectors_dagster.errors import CollectorsError, StorageError
from collectors_dagster.integrations.timescale.delivery import DeliveryBatch, DeliveryStore
from collectors_dagster.patterns.circuit_breaker import CircuitBreaker
from collectors_dagster.patterns.rate_limiter import TokenBucket
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.scopes import Scope
from collectors_dagster.tenants import SystemSource, Tenant

log = structlog.get_logger("delivery")

EVERYTHING = 2**62
"""More than any sequence number: without tenants, all of the spool is delivered."""
REFUSED_PAUSE_SECONDS = 10.0
BATCHES_PER_TURN = 5
"""Batches of one tenant in a row while others wait."""


@dataclass(frozen=True, slots=True)
class Policies:
    """How the store is called.

    Attributes
    ----------
    breaker : CircuitBreaker
        Around every call.
    limiter : TokenBucket
        One token per batch.
    backoff : Backoff
        Pauses after failures in a row.
    """

    breaker: CircuitBreaker
    limiter: TokenBucket
    backoff: Backoff


@dataclass(slots=True)
class DeliveryProgress:
    """How delivery is doing.

    Attributes
    ----------
    waiting_until : float
        Monotonic time before which the store is left alone.
    refused : dict
        By tenant, why the store does not take its samples.
    """

    turns: int = 0
    batches: int = 0
    failures: int = 0
    last_error: str | None = None
    waiting_until: float = 0.0
    refused: dict[str, str] = field(default_factory=dict)
    tenants: dict[str, LaneProgress] = field(default_factory=dict)


class Delivery:
    """Keeps one lane per tenant that wants host performance, and moves them. For one thread.

    Parameters
    ----------
    connect : callable
        Makes the store; called again until it succeeds (the database's password may not be there yet).
    """

    def __init__(
        self,
        identity: Identity,
        connect: Callable[[], DeliveryStore],
        policies: Policies,
        clock: Clock,
        *,
        sample_interval_seconds: float,
    ) -> None:
        self.progress = DeliveryProgress()
        self._identity = identity
        self._connect = connect
        self._policies = policies
        self._clock = clock
        self._sample_interval = sample_interval_seconds
        self._positions = Positions(identity.directory)
        self._directory = TenantDirectory()
        self._due: dict[str, Tenant] = {}
        self._lanes: dict[str, Lane] = {}
        self._refused_until: dict[str, float] = {}
        self._store: DeliveryStore | None = None

    def follow(self, directory: TenantDirectory, next_seq: int) -> None:
        """Take over the configured tenants; a new one is served from record `next_seq` on."""
        if directory is self._directory:
            return
        self._directory = directory
        self._due = {
            tenant.id: tenant for tenant in directory.tenants if tenant.system.enabled and not tenant.synthetic
        }
        self._positions.admit(self._due, next_seq, complete=not directory.problems)
        for gone in set(self.progress.refused) - set(self._due):
            del self.progress.refused[gone]
        self._refused_until.clear()
        for tenant_id, lane in list(self._lanes.items()):
            if not _same_lane(lane.tenant, self._due.get(tenant_id)):
                self._end(tenant_id)
        log.info("tenants followed", tenants=sorted(self._due), problems=len(directory.problems))

    def turn(self) -> None:
        """Send what is complete, a little of each tenant; on failure, leave the store alone for a while."""
        self.progress.turns += 1
        if self._clock.monotonic() < self.progress.waiting_until:
            return
        try:
            for tenant in self._due.values():
                self._serve(tenant)
        except CollectorsError as error:
            self._failed(error)

    def heartbeat(self, version: str, started_at: datetime, state: dict[str, object]) -> None:
        """Say that this agent lives, if the store can be reached at all."""
        if self._clock.monotonic() < self.progress.waiting_until:
            return
        agent = self._identity
        try:
            store = self._opened()
            self._policies.breaker.call(lambda: store.heartbeat(agent.agent_id, agent.host, version, started_at, state))
        except CollectorsError as error:
            self._failed(error)

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The parts of the host that are due to somebody, each once."""
        return tuple(dict.fromkeys(tenant.system.scope for tenant in self._due.values()))

    @property
    def tenant_problems(self) -> tuple[str, ...]:
        """What is wrong with the tenant files being followed."""
        return self._directory.problems

    @property
    def directory(self) -> TenantDirectory:
        """The tenants being followed; the same object until they change."""
        return self._directory

    @property
    def served(self) -> tuple[Tenant, ...]:
        """Those of them that want this host's performance."""
        return tuple(self._due.values())

    def expected_peaks(self) -> list[datetime]:
        """Return the instants of the next day at which forecasts of this host peak; none if the store is away."""
        if self._clock.monotonic() < self.progress.waiting_until:
            return []
        try:
            store = self._opened()
            return self._policies.breaker.call(
                lambda: store.expected_peaks(list(self._due), self._identity.host, self._clock.now())
            )
        except CollectorsError as error:
            self._failed(error)
            return []

    @property
    def delivered_seq(self) -> int:
        """Everything up to here is delivered to every tenant that it was due to."""
        return min((self._acked(tenant_id) for tenant_id in self._due), default=EVERYTHING)

    def lag_seconds(self) -> float | None:
        """Return the age of the newest delivered interval of the tenant furthest behind; ``None`` without any."""
        ends = [lane.progress.delivered_until for lane in list(self._lanes.values())]  # asked by another thread
        known = [end for end in ends if end is not None]
        return (self._clock.now() - min(known)).total_seconds() if known else None

    def close(self) -> None:
        """Close the lanes and the store."""
        for tenant_id in list(self._lanes):
            self._end(tenant_id)
        if self._store is not None:
            self._store.close()

    def _acked(self, tenant_id: str) -> int:
        lane = self._lanes.get(tenant_id)
        return lane.progress.acked_seq if lane else self._positions.first_seq(tenant_id) - 1

    def _serve(self, tenant: Tenant) -> None:
        if self._clock.monotonic() < self._refused_until.get(tenant.id, -math.inf):
            return
        try:
            self._move(self._lanes.get(tenant.id) or self._begin(tenant))
        except StorageError as error:
            self._refused(tenant.id, error)
        else:
            self.progress.refused.pop(tenant.id, None)

    def _move(self, lane: Lane) -> None:
        for _ in range(BATCHES_PER_TURN):
            batch = lane.next_batch()
            if batch is None or self._policies.limiter.try_acquire() > 0:
                return
            self._send(lane, batch)

    def _send(self, lane: Lane, batch: DeliveryBatch) -> None:
        store = self._opened()
        result = self._policies.breaker.call(lambda: store.deliver(batch))
        lane.confirm(result)
        self._policies.backoff.succeeded()
        self.progress.batches += 1
        self.progress.last_error = None

    def _begin(self, tenant: Tenant) -> Lane:
        agent = self._identity
        acked = self._policies.breaker.call(lambda: self._acked_in_store(tenant.id))
        begun = self._positions.first_seq(tenant.id) - 1
        start = begun if acked is None else max(begun, acked)
        lane = Lane(tenant, agent, start, sample_interval_seconds=self._sample_interval)
        self._lanes[tenant.id] = lane
        self.progress.tenants[tenant.id] = lane.progress
        log.info("lane begins", tenant=tenant.id, acked_seq=start)
        return lane

    def _acked_in_store(self, tenant_id: str) -> int | None:
        store, agent = self._opened(), self._identity
        try:
            return store.acked_seq(agent.agent_id, agent.epoch, tenant_id)
        except StorageError:  # a tenant that nobody has told the database of
            if self._directory.problems:
                raise  # synchronising would mark those whose files cannot be read as removed
            store.tenants.sync(self._directory.tenants)
            return store.acked_seq(agent.agent_id, agent.epoch, tenant_id)

    def _end(self, tenant_id: str) -> None:
        self._lanes.pop(tenant_id).close()
        self.progress.tenants.pop(tenant_id, None)

    def _opened(self) -> DeliveryStore:
        if self._store is None:
            self._store = self._connect()
        return self._store

    def _failed(self, error: CollectorsError) -> None:
        """Leave the store alone for a while: it cannot be reached."""
        pause = self._policies.backoff.failed(error.retry_after_seconds)
        self.progress.waiting_until = self._clock.monotonic() + pause
        self.progress.failures += 1
        if self.progress.last_error is None:
            log.warning("delivery fails; samples wait in the spool", error=str(error), pause_seconds=round(pause, 1))
        self.progress.last_error = str(error)

    def _refused(self, tenant_id: str, error: StorageError) -> None:
        """Leave one tenant alone for a while: the store does not take its data, the others go on."""
        self._refused_until[tenant_id] = self._clock.monotonic() + REFUSED_PAUSE_SECONDS
        self.progress.failures += 1
        if self.progress.refused.get(tenant_id) != str(error):
            log.error(
                "the store refuses a tenant's samples; they wait in the spool", tenant=tenant_id, error=str(error)
            )
        self.progress.refused[tenant_id] = str(error)


def _same_lane(old: Tenant, new: Tenant | None) -> bool:
    return new is not None and _lane_settings(old.system) == _lane_settings(new.system)


def _lane_settings(system: SystemSource) -> tuple[object, ...]:
    return system.collectors, system.collection_interval_seconds, system.detail, system.scope, system.max_series
