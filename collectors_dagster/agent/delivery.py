"""Delivery: a second thread that carries every tenant's samples from the spool to the store.

Nothing is lost when the database is away: lanes keep their place and the spool keeps the samples. Nothing is stored
twice: the store moves the spool's cursor in the transaction of the samples, and after a restart we ask it where to go
on. Fresh samples go first: a backlog is caught up beside them, one batch at a time. What the store refuses for good
is tried three times and then put into quarantine, so that it holds up nothing behind it.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.lane import BATCH_SAMPLES, Lane
from collectors_dagster.agent.lanes import LaneProgress, TenantLanes
from collectors_dagster.agent.positions import Positions
from collectors_dagster.agent.quarantine import Quarantine, quarantine_directory
from collectors_dagster.clock import Clock
from collectors_dagster.errors import CollectorsError, ConstraintViolatedError, StorageError
from collectors_dagster.integrations.timescale.delivery import Delivered, DeliveryBatch, DeliveryStore
from collectors_dagster.logs import get_logger
from collectors_dagster.patterns.circuit_breaker import CircuitBreaker
from collectors_dagster.patterns.rate_limiter import RateLimiter
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.scopes import Scope
from collectors_dagster.security.sealing import Sealer
from collectors_dagster.tenants import SystemSource, Tenant, TenantDirectory

log = get_logger("delivery")

EVERYTHING = 2**62
"""More than any sequence number: without tenants, all of the spool is delivered."""
REFUSED_PAUSE_SECONDS = 10.0
FRESH_BATCHES = 5
"""Fresh batches of one tenant in a row while others wait."""
FRESH_SHARE = 4
"""While a backlog waits, after so many fresh batches one of the backlog is sent; without fresh ones, it has all."""
BACKLOG_BATCHES = 5
"""Batches of the backlog in a turn; after each, all fresh lanes are looked after."""
LONGEST_TURN_SECONDS = 2.0
"""No further batch of the backlog is begun in a turn that lasts longer: heartbeats and the spool want theirs."""
POISON_TRIES = 3
"""So often the store may refuse a batch for its content before the batch is put into quarantine."""
POISON_PAUSE_SECONDS = 1.0
KEEP_SECONDS = 10.0
"""So often at most what is delivered is noted on disk: a restart without the database knows it up to here."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policies:
    """How the store is called.

    Attributes
    ----------
    breaker : CircuitBreaker
        Around every call.
    limiter : RateLimiter
        One token per batch.
    backoff : Backoff
        Pauses after failures in a row.
    """

    breaker: CircuitBreaker
    limiter: RateLimiter
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
        quarantine_bytes: int,
        batch_samples: int = BATCH_SAMPLES,
        sealer: Sealer | None = None,
    ) -> None:
        self._sealer = sealer
        self.quarantine = Quarantine(quarantine_directory(identity.root), quarantine_bytes, sealer)
        self.progress = DeliveryProgress()
        self._identity = identity
        self._connect = connect
        self._policies = policies
        self._clock = clock
        self._sample_interval = sample_interval_seconds
        self._batch_samples = batch_samples
        self._positions = Positions(identity.directory)
        self._keep_due = clock.monotonic() + KEEP_SECONDS
        self._directory = TenantDirectory()
        self._due: dict[str, Tenant] = {}
        self._lanes: dict[str, TenantLanes] = {}
        self._backlogs: deque[str] = deque()
        self._refused_until: dict[str, float] = {}
        self._store: DeliveryStore | None = None

    def follow(self, directory: TenantDirectory, next_seq: int) -> None:
        """Take over the configured tenants; a new one is served from record `next_seq` on."""
        if directory is self._directory:
            return
        self._due = {
            tenant.id: tenant for tenant in directory.tenants if tenant.system.enabled and not tenant.synthetic
        }
        self._positions.admit(self._due, next_seq, complete=not directory.problems)
        for gone in set(self.progress.refused) - set(self._due):
            del self.progress.refused[gone]
        self._refused_until.clear()
        self._backlogs = deque(self._due)
        for tenant_id, lane in list(self._lanes.items()):
            if not _same_lane(lane.tenant, self._due.get(tenant_id)):
                self._end(tenant_id)
        self._directory = directory  # last: another thread takes it as the sign that all of the above is done
        log.info("tenants followed", tenants=sorted(self._due), problems=len(directory.problems))

    def turn(self) -> None:
        """Send what is complete, fresh samples first; on failure, leave the store alone for a while."""
        self.progress.turns += 1
        began = self._clock.monotonic()
        if began >= self._keep_due:
            self._keep_due = began + KEEP_SECONDS
            self._keep_positions()
        if began < self.progress.waiting_until:
            return
        try:
            self._look_after_fresh()
            for _ in range(BACKLOG_BATCHES):
                if self._clock.monotonic() - began > LONGEST_TURN_SECONDS or not self._catch_up():
                    break
                self._look_after_fresh()
        except CollectorsError as error:
            self._failed(error)

    def heartbeat(self, version: str, started_at: datetime, state: dict[str, object]) -> None:
        """Say that this agent lives, if the store can be reached at all."""
        if self._clock.monotonic() < self.progress.waiting_until:
            return
        agent = self._identity
        try:
            store = self._opened()
            self._called(lambda: store.heartbeat(agent.agent_id, agent.host, version, started_at, state))
        except CollectorsError as error:
            self._failed(error)

    def ask(self, question: Callable[[DeliveryStore], T]) -> T:
        """Ask the store something beside the samples, under the same policies.

        Raises
        ------
        CollectorsError
            If the store cannot be reached, or refuses.
        """
        store = self._opened()
        return self._called(lambda: question(store))

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
        self._keep_positions()
        for tenant_id in list(self._lanes):
            self._end(tenant_id)
        if self._store is not None:
            self._store.close()

    def _acked(self, tenant_id: str) -> int:
        lanes = self._lanes.get(tenant_id)
        return lanes.acked_seq if lanes else self._positions.acked_seq(tenant_id)

    def _keep_positions(self) -> None:
        for tenant_id, lanes in self._lanes.items():
            self._positions.note(tenant_id, lanes.acked_seq)
        self._positions.keep()

    def _look_after_fresh(self) -> None:
        """Send every tenant's fresh samples, with a share for the backlog."""
        sent = 0
        for tenant in self._due.values():
            sent += self._serve(tenant, self._send_fresh)
            if sent >= FRESH_SHARE:
                sent = 0
                self._catch_up()

    def _catch_up(self) -> bool:
        """Send one batch of the backlog, of one tenant after the other; tell whether there was any to send."""
        for _ in range(len(self._backlogs)):
            tenant_id = self._backlogs[0]
            self._backlogs.rotate(-1)
            if self._serve(self._due[tenant_id], self._send_backlog):
                return True
        return False

    def _serve(self, tenant: Tenant, send: Callable[[Tenant], int]) -> int:
        """Send something of a tenant that is not refused; return how many batches it was."""
        if self._clock.monotonic() < self._refused_until.get(tenant.id, -math.inf):
            return 0
        try:
            sent = send(tenant)
        except StorageError as error:
            self._refused(tenant.id, error)
            return 0
        self.progress.refused.pop(tenant.id, None)
        return sent

    def _send_fresh(self, tenant: Tenant) -> int:
        lanes = self._lanes.get(tenant.id) or self._begin(tenant)
        for sent in range(FRESH_BATCHES):
            if lanes.next_batch(lanes.fresh) is None:
                return sent
            if lanes.fresh.full:
                self._called(lambda: self._delivered(tenant))  # it can be reached: not one split per attempt
                lanes.split()
            if not self._send(lanes, lanes.fresh):
                return sent
        return FRESH_BATCHES

    def _send_backlog(self, tenant: Tenant) -> int:
        lanes = self._lanes.get(tenant.id)
        return int(lanes is not None and lanes.backlog is not None and self._send(lanes, lanes.backlog))

    def _send(self, lanes: TenantLanes, lane: Lane) -> bool:
        """Send a lane's next batch; tell whether there was one that could be sent."""
        if self._clock.monotonic() < lane.retry_at:
            return False
        batch = lanes.next_batch(lane)
        if batch is None or self._policies.limiter.try_acquire() > 0:
            return False
        store = self._opened()
        try:
            result = self._called(lambda: store.deliver(batch))
        except ConstraintViolatedError as error:
            self._poisoned(lanes, lane, batch, error)
            return True
        lanes.confirm(lane, result)
        self.progress.batches += 1
        self.progress.last_error = None
        return True

    def _called(self, operation: Callable[[], T]) -> T:
        """Ask the store; any answer ends the pauses."""
        result = self._policies.breaker.call(operation)
        self._policies.backoff.succeeded()
        return result

    def _begin(self, tenant: Tenant) -> TenantLanes:
        begun = self._positions.first_seq(tenant.id)
        delivered = self._called(lambda: self._delivered(tenant)) or Delivered(begun - 1)
        lanes = TenantLanes(
            tenant,
            self._identity,
            delivered,
            begun,
            sample_interval_seconds=self._sample_interval,
            batch_samples=self._batch_samples,
            sealer=self._sealer,
        )
        self._lanes[tenant.id] = lanes
        self.progress.tenants[tenant.id] = lanes.progress
        log.info("lane begins", tenant=tenant.id, acked_seq=lanes.acked_seq, ahead=len(delivered.ahead))
        return lanes

    def _delivered(self, tenant: Tenant) -> Delivered | None:
        store, agent = self._opened(), self._identity
        try:
            return store.delivered(agent.agent_id, agent.epoch, tenant.id)
        except StorageError:  # perhaps a tenant that nobody has told the database of
            store.tenants.introduce(tenant)
            return store.delivered(agent.agent_id, agent.epoch, tenant.id)

    def _poisoned(self, lanes: TenantLanes, lane: Lane, batch: DeliveryBatch, error: ConstraintViolatedError) -> None:
        """Narrow a refused batch down to one interval, try that again, and in the end put it aside.

        Where one after the other is refused for the same reason, trying again has been tried.
        """
        if not batch.samples and not batch.notes:
            raise error  # it is not the content that is refused
        self.progress.failures += 1
        lanes.progress.last_error = str(error)
        if lane.narrow():
            return
        lane.refusals += 1
        lane.retry_at = self._clock.monotonic() + POISON_PAUSE_SECONDS
        if lane.refusals >= POISON_TRIES or str(error) == lane.gave_up_for:
            self._put_aside(lanes, lane, batch, str(error))

    def _put_aside(self, lanes: TenantLanes, lane: Lane, batch: DeliveryBatch, reason: str) -> None:
        try:
            name = self.quarantine.keep(batch, reason, self._clock.now())
        except OSError as error:
            raise StorageError(f"a refused batch cannot be put into quarantine: {error.strerror}") from error
        told = log.info if reason == lane.gave_up_for else log.error  # one after the other: said once
        told(
            "the store refuses a batch for good; it is in quarantine", tenant=batch.tenant_id, batch=name, reason=reason
        )
        lane.give_up(reason)
        lanes.progress.quarantined_batches += 1

    def _end(self, tenant_id: str) -> None:
        lanes = self._lanes.pop(tenant_id)
        self._positions.note(tenant_id, lanes.acked_seq)
        lanes.close()
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
