"""Telling tenants: new incident events and failed runs, and again what did not arrive.

The ledger in the store decides who may send what, so nothing depends on this process living on. Each target is a
queue of its own, worked off in order and beside the others: a target that does not answer delays only itself, and
its alerts come later in the order of events. After :data:`GIVE_UP` an alert is no longer news and stays undelivered.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from collectors_dagster.clock import Clock
from collectors_dagster.errors import CollectorsError
from collectors_dagster.integrations.notify import AlertMessage, Notifier
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.monitoring.alerts import failure_message, incident_message, plan_alerts
from collectors_dagster.patterns.retry import backoff_seconds
from collectors_dagster.records import RunFailure
from collectors_dagster.security.redaction import Redactor
from collectors_dagster.tenants import AlertTarget, Tenant

GIVE_UP = timedelta(hours=24)
EVENTS_AT_ONCE = 200
_PENDING_AT_ONCE = 1000
_WORKERS = 8
_WORK_SECONDS = 30.0
_BASE_SECONDS, _CAP_SECONDS = 15.0, 1800.0
_REFUSED = "refused: "
"""How the ledger remembers that a target answered and said no: such an alert comes again, but blocks nobody."""

_log = structlog.get_logger(__name__)


class Book(Protocol):
    """A ledger of deliveries."""

    def claim(self, source_id: int, target: str, /) -> bool:
        """Say whether the caller may send now."""
        ...

    def finish(self, source_id: int, target: str, error: str | None, /) -> None:
        """Book how it ended."""
        ...


@dataclass(frozen=True, slots=True)
class _Parcel:
    """One alert on its way; `tried_at` is None for a new one."""

    book: Book
    source_id: int
    target: AlertTarget
    message: AlertMessage
    attempts: int = 0
    tried_at: datetime | None = None
    last_error: str | None = None

    @property
    def address(self) -> tuple[str, str]:
        return self.message.tenant.id, self.target.name

    @property
    def refused(self) -> bool:
        return (self.last_error or "").startswith(_REFUSED)


@dataclass(frozen=True, slots=True)
class AlertingReport:
    """What one round did.

    Attributes
    ----------
    cursor : int
        Last incident event that is in the ledger; the next round begins after it.
    failed : int
        Deliveries that were tried and failed; they come again.
    waiting : int
        Deliveries that wait behind a failed one to the same target, or for their time.
    """

    cursor: int
    events: int = 0
    delivered: int = 0
    failed: int = 0
    waiting: int = 0


def deliver_alerts(
    store: Store, tenants: Sequence[Tenant], cursor: int, *, notifier: Notifier, clock: Clock
) -> AlertingReport:
    """Tell what happened after `cursor`, and what could not be told before. Takes at most about 40 seconds.

    Parameters
    ----------
    cursor : int
        ``AlertingReport.cursor`` of the round before; 0 at first.

    Raises
    ------
    CollectorsError
        If the store is away; the same cursor may be used again.
    """
    since = clock.now() - GIVE_UP
    events = store.incidents.events_after(cursor, EVENTS_AT_ONCE)
    recent = [event for event in events if event.at > since]
    parcels = _again(store, tenants, since)
    known = {(parcel.source_id, parcel.target.name) for parcel in parcels if parcel.book is store.alerts}
    parcels += [
        _Parcel(store.alerts, plan.source_id, plan.target, plan.message)
        for plan in plan_alerts(recent, tenants)
        if (plan.source_id, plan.target.name) not in known
    ]
    delivered, failed, waiting = _work_off(parcels, notifier, clock)
    last = events[-1].id if events else cursor
    return AlertingReport(last, len(events), delivered, failed, waiting)


def deliver_failure(
    store: Store, tenants: Sequence[Tenant], failure: RunFailure, *, notifier: Notifier, clock: Clock
) -> bool:
    """Tell a tenant that a run failed; return whether this was news.

    What looks like a secret in the error is taken out first. What does not arrive is sent again by
    :func:`deliver_alerts`.
    """
    failure = replace(failure, error=Redactor().redact(failure.error))
    failure_id = store.failures.record(failure)
    tenant = next((one for one in tenants if one.id == failure.tenant_id), None)
    if failure_id is None or tenant is None:
        return False
    message = failure_message(failure, tenant)
    _work_off([_Parcel(store.failures, failure_id, target, message) for target in tenant.alerts], notifier, clock)
    return True


def _again(store: Store, tenants: Sequence[Tenant], since: datetime) -> list[_Parcel]:
    """Return what was tried before, for targets that are still configured."""
    by_id = {tenant.id: tenant for tenant in tenants}
    targets = {(tenant.id, target.name): target for tenant in tenants for target in tenant.alerts}
    parcels = []
    for alert in store.alerts.pending(_PENDING_AT_ONCE, since=since):
        tenant_id = alert.event.incident.tenant_id
        if target := targets.get((tenant_id, alert.target)):
            message = incident_message(alert.event, by_id[tenant_id])
            tried = (alert.attempts, alert.tried_at, alert.last_error)
            parcels.append(_Parcel(store.alerts, alert.event.id, target, message, *tried))
    for told in store.failures.pending(_PENDING_AT_ONCE, since=since):
        tenant_id = told.failure.tenant_id
        if target := targets.get((tenant_id, told.target)):
            message = failure_message(told.failure, by_id[tenant_id])
            tried = (told.attempts, told.tried_at, told.last_error)
            parcels.append(_Parcel(store.failures, told.failure_id, target, message, *tried))
    return parcels


def _work_off(parcels: Iterable[_Parcel], notifier: Notifier, clock: Clock) -> tuple[int, int, int]:
    """Work off the queues of all targets; return numbers of delivered, failed and waiting parcels."""
    queues: dict[tuple[str, str], list[_Parcel]] = {}
    for parcel in parcels:
        queues.setdefault(parcel.address, []).append(parcel)
    if not queues:
        return 0, 0, 0
    deadline = clock.monotonic() + _WORK_SECONDS
    with ThreadPoolExecutor(max_workers=min(_WORKERS, len(queues)), thread_name_prefix="alerts") as pool:
        rounds = list(pool.map(lambda queue: _Queue(notifier, clock, deadline).work_off(queue), queues.values()))
    delivered, failed, waiting = (sum(column) for column in zip(*rounds, strict=True))
    return delivered, failed, waiting


class _Queue:
    """One target's alerts, in order. What can never be accepted steps aside; an outage stops the queue."""

    def __init__(self, notifier: Notifier, clock: Clock, deadline: float) -> None:
        self._notifier = notifier
        self._clock = clock
        self._deadline = deadline
        self._blocked = False
        self._flowing = False

    def work_off(self, queue: Sequence[_Parcel]) -> tuple[int, int, int]:
        outcomes = [self._handle(parcel) for parcel in queue]
        return outcomes.count("delivered"), outcomes.count("failed"), outcomes.count("waiting")

    def _handle(self, parcel: _Parcel) -> str:
        self._blocked = self._blocked or self._clock.monotonic() >= self._deadline
        if parcel.tried_at is not None and (self._blocked or not self._may_repeat(parcel, parcel.tried_at)):
            self._blocked = self._blocked or not parcel.refused
            return "waiting"
        if not parcel.book.claim(parcel.source_id, parcel.target.name):
            return "elsewhere"
        if self._blocked:
            parcel.book.finish(parcel.source_id, parcel.target.name, "waits behind an earlier alert")
            return "waiting"
        return self._send(parcel)

    def _send(self, parcel: _Parcel) -> str:
        problem: CollectorsError | None = None
        try:
            self._notifier.send(parcel.target, parcel.message)
        except CollectorsError as error:
            problem = error
        if problem is None:
            parcel.book.finish(parcel.source_id, parcel.target.name, None)
            self._flowing = True
            return "delivered"
        self._blocked = problem.transient
        reason = str(problem) if problem.transient else _REFUSED + str(problem)
        parcel.book.finish(parcel.source_id, parcel.target.name, reason)
        _log.warning(
            "alert not delivered",
            tenant=parcel.message.tenant.id,
            target=parcel.target.name,
            alert_id=parcel.message.id,
            attempts=parcel.attempts + 1,
            reason=str(problem),
        )
        return "failed"

    def _may_repeat(self, parcel: _Parcel, tried_at: datetime) -> bool:
        """Say whether its pause is over; while the target accepts others, only a refusal keeps its pause."""
        if self._flowing and not parcel.refused:
            return True
        pause = backoff_seconds(_BASE_SECONDS, _CAP_SECONDS, max(parcel.attempts, 1), 1.0)
        return (self._clock.now() - tried_at).total_seconds() >= pause
