"""The tenants of this scorer, tick by tick: who is scored, what to do when something is away."""

from dataclasses import replace
from typing import Any, Protocol

import structlog

from collectors_dagster.clock import Clock
from collectors_dagster.errors import CollectorsError, IntegrationError
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.patterns.retry import Backoff
from collectors_dagster.records import IncidentEventKind
from collectors_dagster.scorer.champions import Champions
from collectors_dagster.scorer.division import Division
from collectors_dagster.scorer.tenant import TenantScorer
from collectors_dagster.tenants import Tenant, TenantDirectory

_LEFTOVERS_SECONDS = 60.0

log = structlog.get_logger("scorer")


class Directory(Protocol):
    """Where the tenants come from."""

    def current(self) -> TenantDirectory:
        """Return the tenants as configured now."""
        ...


class Scorer:
    """The scorer without its process: :meth:`tick` does a round, if one is due, and returns how long to wait.

    Parameters
    ----------
    tick_seconds : float
        Pause after a round that went well.
    """

    def __init__(
        self,
        store: Store,
        division: Division,
        champions: Champions,
        directory: Directory,
        clock: Clock,
        *,
        tick_seconds: float,
        backoff: Backoff,
    ) -> None:
        self._store = store
        self._division = division
        self._champions = champions
        self._directory = directory
        self._clock = clock
        self._tick_seconds = tick_seconds
        self._backoff = backoff
        self._started_at = clock.now()
        self._tenants: dict[str, TenantScorer] = {}
        self._round_due = self._leftovers_due = clock.monotonic()
        self._state = "starting"
        self._ticks = 0
        self._last_seconds = 0.0
        self._problems: dict[str, str] = {}

    def tick(self) -> float:
        """Do one round, or say that this scorer lives if none is due; return the seconds until the next call."""
        started = self._clock.monotonic()
        if started < self._round_due:
            self._division.heartbeat()
        else:
            self._round_due = started + self._rounded(started)
        left = self._round_due - self._clock.monotonic()
        return max(0.0, min(left, self._division.heartbeat_seconds))

    def close(self) -> None:
        """Let the other scorers have the tenants."""
        self._division.depart()
        self._state = "stopped"

    def status(self) -> dict[str, Any]:
        """Return the status to publish."""
        return {
            "state": self._state,
            "updated_at": self._clock.now().isoformat(),
            "started_at": self._started_at.isoformat(),
            "ticks": self._ticks,
            "scorers": self._division.instances,
            "last_tick_milliseconds": round(1000 * self._last_seconds, 1),
            "problems": self._problems | ({"models": self._champions.problem} if self._champions.problem else {}),
            "tenants": {tenant_id: scorer.status() for tenant_id, scorer in self._tenants.items()},
        }

    def latest_scores(self) -> dict[str, float]:
        """Return the highest score of the last minute by tenant; tenants whose hosts deliver nothing are left out."""
        now = self._clock.now()
        found = {tenant_id: scorer.latest_score(now) for tenant_id, scorer in self._tenants.items()}
        return {tenant_id: score for tenant_id, score in found.items() if score is not None}

    def _rounded(self, started: float) -> float:
        """Do a round; return after how many seconds, from its start, the next is due."""
        try:
            self._round()
        except CollectorsError as error:
            return self._stumbled(error)
        finally:
            self._last_seconds = self._clock.monotonic() - started
        self._backoff.succeeded()
        self._problems.pop("", None)
        self._ticks += 1
        return self._tick_seconds

    def _round(self) -> None:
        known = set(self._store.tenants.ids())
        scored = {one.id: one for one in self._directory.current().tenants if _is_scored(one) and one.id in known}
        mine = self._division.take(scored)
        self._enter("running" if mine or not scored else "standby")
        self._champions.follow(mine)
        # Whoever takes a tenant over begins with what the store holds.
        self._tenants = {tenant_id: one for tenant_id, one in self._tenants.items() if tenant_id in mine}
        self._problems = {key: text for key, text in self._problems.items() if key in mine}
        for tenant_id in sorted(mine):
            self._score(scored[tenant_id])
            self._division.heartbeat()
        if self._division.leads:
            self._close_leftovers(set(scored))

    def _score(self, tenant: Tenant) -> None:
        """Score one tenant. If the database fails, the round ends; anything else costs only this tenant."""
        try:
            now = self._clock.now()
            if tenant.id not in self._tenants:
                self._tenants[tenant.id] = TenantScorer(self._store, tenant.id, now)
            self._tenants[tenant.id].tick(tenant, self._champions.detector(tenant.id), now)
        except IntegrationError:
            raise
        except Exception as error:
            if tenant.id not in self._problems:
                log.exception("tenant cannot be scored", tenant=tenant.id)
            self._problems[tenant.id] = f"{type(error).__name__}: {error}"
        else:
            self._problems.pop(tenant.id, None)

    def _close_leftovers(self, scored: set[str]) -> None:
        """Resolve incidents of tenants that are no longer scored: nobody else would."""
        if self._clock.monotonic() < self._leftovers_due:
            return
        self._leftovers_due = self._clock.monotonic() + _LEFTOVERS_SECONDS
        now = self._clock.now()
        for incident in self._store.incidents.open():
            if incident.tenant_id not in scored:
                title = f"{incident.title}; closed because the tenant is no longer scored"
                closed = replace(incident, updated_at=now, resolved_at=now, title=title)
                self._store.incidents.apply(incident.tenant_id, [(IncidentEventKind.RESOLVED, closed)])

    def _stumbled(self, error: CollectorsError) -> float:
        self._division.lose()
        self._tenants.clear()  # another scorer may score them in between
        self._problems[""] = str(error)
        if self._backoff.failures == 0:
            log.warning("scoring pauses", reason=str(error))
        self._enter("waiting")
        return max(self._tick_seconds, self._backoff.failed(error.retry_after_seconds))

    def _enter(self, state: str) -> None:
        if state != self._state:
            log.info("scorer state", state=state)
        self._state = state


def _is_scored(tenant: Tenant) -> bool:
    return tenant.system.enabled and tenant.system.ml_enabled
