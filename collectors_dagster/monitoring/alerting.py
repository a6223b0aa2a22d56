"""Telling tenants: new incident events, failed runs and consents that end, until they are told.

What is to be sent is first noted in the store's ledger, which then decides who may send what: nothing depends on
this process living on. Each target is a queue of its own, worked off in order and beside the others: a target that
does not answer delays only itself. After :data:`GIVE_UP` an alert is no longer news and stays undelivered.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from collectors_dagster.clock import Clock
from collectors_dagster.errors import CollectorsError
from collectors_dagster.integrations.notify import AlertMessage
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.monitoring.alerts import failure_message, incident_message, plan_alerts
from collectors_dagster.monitoring.consent_alerts import note_consent_alerts
from collectors_dagster.patterns.retry import backoff_seconds
from collectors_dagster.records import RunFailure
from collectors_dagster.security.redaction import Redactor
from collectors_dagster.tenants import AlertTarget, Tenant

GIVE_UP = timedelta(hours=24)
EVENTS_AT_ONCE = 200
_PENDING_AT_ONCE = 2000
PATIENCE_SECONDS = 40.0
_WORKERS = 8
_SEND_SECONDS = 25.0
"""No queue begins another alert after this time."""
_BASE_SECONDS, _CAP_SECONDS = 15.0, 1800.0
_REFUSED = "refused: "
"""How the ledger remembers that a target answered and said no: such an alert comes again, but blocks nobody."""

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Brings a message to a target."""

    def send(self, target: AlertTarget, message: AlertMessage, /) -> None:
        """Return once it is accepted; raise :class:`CollectorsError` if it is not."""
        ...


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
    """One alert on its way."""

    book: Book
    source_id: int
    target: AlertTarget
    message: AlertMessage
    attempts: int
    tried_at: datetime
    last_error: str | None

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
        Last incident event whose alerts are in the ledger; the next round begins after it.
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
    store: Store,
    tenants: Sequence[Tenant],
    cursor: int,
    *,
    sender: Sender,
    clock: Clock,
    patience_seconds: float = PATIENCE_SECONDS,
) -> AlertingReport:
    """Tell what happened after `cursor`, and what could not be told before.

    Parameters
    ----------
    cursor : int
        ``AlertingReport.cursor`` of the round before; 0 at first.
    patience_seconds : float
        No round waits longer for its targets; whoever drips an answer is left to its thread and taken up later.

    Raises
    ------
    CollectorsError
        If the store is away; the same cursor may be used again.
    """
    since = clock.now() - GIVE_UP
    events = store.incidents.events_after(cursor, EVENTS_AT_ONCE)
    planned = plan_alerts((event for event in events if event.at > since), tenants)
    store.alerts.enqueue([(one.source_id, one.target.name) for one in planned])
    note_consent_alerts(store, tenants, clock.now())
    tally = _work_off(_due(store, tenants, since), sender, clock, patience_seconds)
    last = events[-1].id if events else cursor
    return AlertingReport(last, len(events), tally.delivered, tally.failed, tally.waiting)


def deliver_failure(
    store: Store, tenants: Sequence[Tenant], failure: RunFailure, *, sender: Sender, clock: Clock
) -> bool:
    """Tell a tenant that a run failed; return whether this was news.

    What looks like a secret in the error is taken out first. What does not arrive is sent again by
    :func:`deliver_alerts`.
    """
    tenant = next((one for one in tenants if one.id == failure.tenant_id), None)
    if tenant is None:
        return False
    failure = replace(failure, error=Redactor().redact(failure.error))
    failure_id = store.failures.record(failure, [target.name for target in tenant.alerts])
    if failure_id is None:
        return False
    message, now = failure_message(failure, tenant), clock.now()
    parcels = [_Parcel(store.failures, failure_id, target, message, 0, now, None) for target in tenant.alerts]
    _work_off(parcels, sender, clock, PATIENCE_SECONDS)
    return True


def _due(store: Store, tenants: Sequence[Tenant], since: datetime) -> list[_Parcel]:
    """Return what is not delivered yet, for targets that are still configured."""
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


@dataclass(slots=True)
class _Tally:
    """What became of the parcels; `problem` is what kept a queue from going on."""

    delivered: int = 0
    failed: int = 0
    waiting: int = 0
    problem: Exception | None = None


def _work_off(parcels: Iterable[_Parcel], sender: Sender, clock: Clock, patience: float) -> _Tally:
    """Work off the queues of all targets."""
    queues: dict[tuple[str, str], list[_Parcel]] = {}
    for parcel in parcels:
        queues.setdefault(parcel.address, []).append(parcel)
    deadline = clock.monotonic() + _SEND_SECONDS
    tallies = [_Tally() for _ in queues]
    jobs = [
        _Queue(queue, sender, clock, deadline, tally).work_off
        for queue, tally in zip(queues.values(), tallies, strict=True)
    ]
    _side_by_side(jobs, clock, patience)
    for tally in tallies:
        if tally.problem is not None:
            raise tally.problem
    return _Tally(*(sum(getattr(tally, name) for tally in tallies) for name in ("delivered", "failed", "waiting")))


def _side_by_side(jobs: Iterable[Callable[[], None]], clock: Clock, patience: float) -> None:
    """Run `jobs` in a few threads; do not wait for ever for those that hang, nor let them hold up our end."""
    left = deque(jobs)
    threads = [
        threading.Thread(target=_one_after_another, args=(left,), name=f"alerts-{number}", daemon=True)
        for number in range(min(_WORKERS, len(left)))
    ]
    deadline = clock.monotonic() + patience
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - clock.monotonic()))


def _one_after_another(left: deque[Callable[[], None]]) -> None:
    while True:
        try:
            job = left.popleft()
        except IndexError:
            return
        job()


class _Queue:
    """One target's alerts, in order. What can never be accepted steps aside; an outage stops the queue."""

    def __init__(
        self, parcels: Sequence[_Parcel], sender: Sender, clock: Clock, deadline: float, tally: _Tally
    ) -> None:
        self._parcels = parcels
        self._sender = sender
        self._clock = clock
        self._deadline = deadline
        self._tally = tally
        self._blocked = False
        self._flowing = False

    def work_off(self) -> None:
        """Send what may be sent; the tally says how it went."""
        try:
            for parcel in self._parcels:
                self._handle(parcel)
        except CollectorsError as error:
            self._tally.problem = error

    def _handle(self, parcel: _Parcel) -> None:
        self._blocked = self._blocked or self._clock.monotonic() >= self._deadline
        if self._blocked or not self._is_due(parcel):
            self._blocked = self._blocked or not parcel.refused
            self._tally.waiting += 1
        elif parcel.book.claim(parcel.source_id, parcel.target.name):
            self._send(parcel)

    def _send(self, parcel: _Parcel) -> None:
        problem = self._problem_of_sending(parcel)
        if problem is None:
            parcel.book.finish(parcel.source_id, parcel.target.name, None)
            self._flowing = True
            self._tally.delivered += 1
            return
        self._blocked = problem.transient
        reason = str(problem) if problem.transient else _REFUSED + str(problem)
        parcel.book.finish(parcel.source_id, parcel.target.name, reason)
        self._tally.failed += 1
        log.warning(
            "alert not delivered",
            tenant=parcel.message.tenant.id,
            target=parcel.target.name,
            alert_id=parcel.message.id,
            attempts=parcel.attempts + 1,
            reason=str(problem),
        )

    def _problem_of_sending(self, parcel: _Parcel) -> CollectorsError | None:
        try:
            self._sender.send(parcel.target, parcel.message)
        except CollectorsError as error:
            return error
        except Exception as error:
            log.exception("alert cannot be sent", tenant=parcel.message.tenant.id, target=parcel.target.name)
            return CollectorsError(f"{type(error).__name__} on our side; see the log")
        return None

    def _is_due(self, parcel: _Parcel) -> bool:
        """Say whether its pause is over; while the target accepts others, only a refusal keeps its pause."""
        if parcel.attempts == 0 or (self._flowing and not parcel.refused):
            return True
        pause = backoff_seconds(_BASE_SECONDS, _CAP_SECONDS, parcel.attempts, 1.0)
        return (self._clock.now() - parcel.tried_at).total_seconds() >= pause
