"""Incidents at full resolution: the minutes around each are delivered by themselves, once, after live data.

The scorer opens incidents in the database; the agent asks for those of its host and tenants with every heartbeat. How
far each window is delivered is kept in the database, in the transaction of its values, so that a restart goes on where
it was.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from collectors_dagster.agent.delivery import Delivery
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.window import CLOSING_INTERVALS, WindowReader
from collectors_dagster.clock import Clock
from collectors_dagster.errors import CollectorsError, SpoolError, StorageError
from collectors_dagster.integrations.timescale.details import DetailBatch, DueWindow
from collectors_dagster.logs import get_logger
from collectors_dagster.records import Window
from collectors_dagster.security.sealing import Sealer

log = get_logger("delivery")

MINUTES_PER_PIECE = 2
"""Minutes of one window sent in one turn: live data never wait long."""
SETTLING = timedelta(seconds=3)
"""A minute is read this long after its end."""
FAILURE_PAUSE_SECONDS = 15.0
REFUSED_PAUSE_SECONDS = 300.0
"""A window that is refused by itself waits so long, and the others go on."""
_MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """How much is delivered around an incident.

    Attributes
    ----------
    before, after : timedelta
        Before its opening, after its end.
    most : timedelta
        Of one incident at most; zero for nothing at all.
    reach : timedelta
        How far back the flight recorder goes.
    """

    before: timedelta
    after: timedelta
    most: timedelta
    reach: timedelta


@dataclass(frozen=True, slots=True)
class Piece:
    """What to deliver next of an incident's window, in whole minutes.

    Attributes
    ----------
    complete : bool
        Nothing follows it.
    """

    window: Window
    complete: bool


def next_piece(due: DueWindow, policy: WindowPolicy, settled: datetime) -> Piece | None:
    """Return the next piece of a window; None if its minute is not over yet.

    Parameters
    ----------
    settled : datetime
        Everything up to here has been sampled.

    Examples
    --------
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> five, hour = timedelta(minutes=5), timedelta(hours=1)
    >>> policy = WindowPolicy(five, five, hour, 24 * hour)
    >>> piece = next_piece(DueWindow(1, "acme", noon, noon + five, None), policy, noon + hour)
    >>> piece.window.start.minute, piece.window.end.minute, piece.complete
    (55, 57, False)
    """
    first = _floor(due.opened_at - policy.before)
    limit = first + policy.most
    end = limit if due.resolved_at is None else min(limit, _ceil(due.resolved_at + policy.after))
    start = first if due.shipped_until is None else max(first, due.shipped_until)
    until = min(end, start + MINUTES_PER_PIECE * _MINUTE, _floor(settled))
    if until <= start < end:
        return None
    until = max(start, until)
    is_known = due.resolved_at is not None or end == limit
    return Piece(Window(start, until), complete=is_known and until >= end)


def _floor(instant: datetime) -> datetime:
    return _EPOCH + (instant - _EPOCH) // _MINUTE * _MINUTE


def _ceil(instant: datetime) -> datetime:
    return _EPOCH - (_EPOCH - instant) // _MINUTE * _MINUTE


@dataclass(slots=True)
class ShippingProgress:
    """How the windows of incidents are doing since the start.

    Attributes
    ----------
    due : list of int
        Incidents whose windows are not complete.
    completed : int
        Windows.
    values : int
        Delivered values, those that were there already left out.
    """

    due: list[int] = field(default_factory=list)
    completed: int = 0
    values: int = 0
    last_error: str | None = None


class IncidentShipper:
    """Delivers the windows of incidents. For the delivery thread."""

    def __init__(
        self,
        identity: Identity,
        delivery: Delivery,
        policy: WindowPolicy,
        clock: Clock,
        *,
        sample_interval_seconds: float,
        sealer: Sealer | None = None,
    ) -> None:
        self.progress = ShippingProgress()
        self._identity = identity
        self._delivery = delivery
        self._policy = policy
        self._clock = clock
        self._settling = SETTLING + CLOSING_INTERVALS * timedelta(seconds=sample_interval_seconds)
        self._reader = WindowReader(
            identity.directory, identity.host, sample_interval_seconds=sample_interval_seconds, sealer=sealer
        )
        self._due: list[DueWindow] = []
        self._paused_until = -math.inf
        self._set_aside: dict[int, float] = {}

    def look(self) -> None:
        """Ask which incidents there are; with each heartbeat."""
        if not self._policy.most or self._is_paused():
            return
        since = self._clock.now() - self._policy.reach - self._policy.most
        agent, tenants = self._identity, [tenant.id for tenant in self._delivery.served]
        try:
            self._due = self._delivery.ask(lambda store: store.details.due(agent.agent_id, agent.host, tenants, since))
        except CollectorsError as error:
            self._fail(error)
        self.progress.due = [due.incident_id for due in self._due]

    def turn(self) -> None:
        """Deliver a piece of a window, unless samples still wait."""
        if not self._due or self._is_paused() or self._is_behind():
            return
        settled = self._clock.now() - self._settling
        now = self._clock.monotonic()
        for due in self._due:
            if now < self._set_aside.get(due.incident_id, -math.inf):
                continue
            piece = next_piece(due, self._policy, settled)
            if piece is not None:
                self._try_to_ship(due, piece)
                return

    def _is_paused(self) -> bool:
        return self._clock.monotonic() < max(self._paused_until, self._delivery.progress.waiting_until)

    def _is_behind(self) -> bool:
        progress = self._delivery.progress
        return any(one.backlog_records for tenant, one in progress.tenants.items() if tenant not in progress.refused)

    def _try_to_ship(self, due: DueWindow, piece: Piece) -> None:
        try:
            added = self._ship(due, piece)
        except (StorageError, SpoolError) as error:  # this window alone is refused, or cannot be read
            self._set_aside[due.incident_id] = self._clock.monotonic() + REFUSED_PAUSE_SECONDS
            self._tell(error)
            return
        except CollectorsError as error:
            self._fail(error)
            return
        self._set_aside.pop(due.incident_id, None)
        self.progress.values += added
        self.progress.last_error = None
        following = DueWindow(due.incident_id, due.tenant_id, due.opened_at, due.resolved_at, piece.window.end)
        self._due = [following if one is due else one for one in self._due if not (one is due and piece.complete)]
        if piece.complete:
            self.progress.completed += 1
            log.info("an incident is delivered at full resolution", tenant=due.tenant_id, incident=due.incident_id)

    def _ship(self, due: DueWindow, piece: Piece) -> int:
        tenant = next((tenant for tenant in self._delivery.served if tenant.id == due.tenant_id), None)
        samples = [] if tenant is None else self._reader.samples(tenant.system, piece.window, tenant.id)
        batch = DetailBatch(
            self._identity.agent_id, due.tenant_id, samples, piece.window.end, due.incident_id, piece.complete
        )
        return self._delivery.ask(lambda store: store.details.write(batch))

    def _fail(self, error: CollectorsError) -> None:
        """Leave it for a while; what is due stays due."""
        self._paused_until = self._clock.monotonic() + FAILURE_PAUSE_SECONDS
        self._tell(error)

    def _tell(self, error: CollectorsError) -> None:
        if self.progress.last_error is None:
            log.warning("incidents cannot be delivered at full resolution yet", error=str(error))
        self.progress.last_error = str(error)
