"""One tenant's share of the scorer's work."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from collectors_dagster.integrations.timescale import Store
from collectors_dagster.models.anomaly import TenantDetector
from collectors_dagster.monitoring.feedback import LearntNormal
from collectors_dagster.monitoring.incidents import IncidentTracker, Plan
from collectors_dagster.records import IncidentEventKind, ScoredMinute, Window
from collectors_dagster.scorer.minutes import MINUTE, HostMinutes, whole_minute
from collectors_dagster.tenants import Tenant

LIVE = timedelta(minutes=5)
_BUDGET_TIME = timedelta(hours=1)
_VERDICTS_AGAIN = timedelta(seconds=15)

log = structlog.get_logger("scorer")


@dataclass(frozen=True, slots=True)
class TenantProgress:
    """How far a tenant is."""

    hosts: int = 0
    evaluated_until: datetime | None = None
    minutes_written: int = 0
    latest: Mapping[str, ScoredMinute] = field(default_factory=dict)
    model_version: str = ""


class TenantScorer:
    """Scores one tenant; nothing is lost if any step raises: the next tick takes it up again.

    Parameters
    ----------
    now : datetime
        Incidents of the hour before count for the alert budget.
    """

    def __init__(self, store: Store, tenant_id: str, now: datetime) -> None:
        self.tenant_id = tenant_id
        self.progress = TenantProgress()
        self._store = store
        self._minutes = HostMinutes(store, tenant_id)
        self._evaluated: dict[str, datetime] = {}
        self._written: dict[str, datetime] = {}
        self._learnt = LearntNormal()
        self._verdicts_read_at: datetime | None = None
        self.tracker = IncidentTracker(
            tenant_id,
            open_incidents=store.incidents.open(tenant_id),
            past_incidents=store.incidents.list(tenant_id, Window(now - _BUDGET_TIME, now), "stream"),
        )

    def tick(self, tenant: Tenant, detector: TenantDetector, now: datetime) -> None:
        """Take in what was delivered since the last tick."""
        resolution = tenant.system.collection_interval_seconds
        newest = self._minutes.newest(now - max(LIVE, 3 * timedelta(seconds=resolution)))
        if newest:
            self._heed_verdicts(now)
            self._minutes.follow(whole_minute(max(newest.values())))
            self._minutes.follow_past(now, sorted(newest))
            self._write_minutes(detector, newest)
            self._judge(tenant, detector, newest)
        self._apply(self.tracker.plan_silent(now))
        self._minutes.forget(set(newest))
        self.progress = replace(self.progress, hosts=len(newest), model_version=detector.version)

    def latest_score(self, now: datetime) -> float | None:
        """Return the highest score among the newest evaluations; None if none is of the last minutes."""
        return max((one.score for one in self.progress.latest.values() if now - one.ts <= LIVE), default=None)

    def status(self) -> dict[str, Any]:
        """Return how this tenant is doing."""
        progress = self.progress
        until = progress.evaluated_until
        return {
            "hosts": progress.hosts,
            "model_version": progress.model_version,
            "evaluated_until": until.isoformat() if until else None,
            "minutes_written": progress.minutes_written,
            "latest": {
                host: {"ts": one.ts.isoformat(), "score": round(one.score, 4), "state": one.state.value}
                for host, one in progress.latest.items()
            },
            "open_incidents": [
                {"id": one.id, "host": one.host, "severity": one.severity.value, "title": one.title}
                for one in self.tracker.open
            ],
            "incidents_held_back": self.tracker.held_back,
        }

    def _heed_verdicts(self, now: datetime) -> None:
        """Read what people said about incidents, some times a minute."""
        if self._verdicts_read_at is None or now - self._verdicts_read_at >= _VERDICTS_AGAIN:
            self._learnt = LearntNormal(self._store.feedback.list(self.tenant_id))
            self._verdicts_read_at = now

    def _write_minutes(self, detector: TenantDetector, newest: Mapping[str, datetime]) -> None:
        """Score and store the whole minutes that have become known."""
        scored: list[ScoredMinute] = []
        until = {host: whole_minute(ts) for host, ts in newest.items()}
        for host, end in until.items():
            after = self._written.get(host, end - MINUTE)
            current = self._minutes.minutes(host, after, end)
            if current is not None:
                history = self._minutes.history(host, after + timedelta(seconds=1))
                scored += detector.detector(host).score(current, history)
        if scored:
            self._store.scores.write(self.tenant_id, "stream", scored)
        self._written = until
        self.progress = replace(self.progress, minutes_written=self.progress.minutes_written + len(scored))

    def _judge(self, tenant: Tenant, detector: TenantDetector, newest: Mapping[str, datetime]) -> None:
        """Evaluate the last sixty seconds of every host with news, and apply what that changes."""
        news = {host: ts for host, ts in newest.items() if ts > self._evaluated.get(host, ts - MINUTE)}
        evaluations: list[ScoredMinute] = []
        for row in self._minutes.trailing(news, tenant.system.collection_interval_seconds):
            history = self._minutes.history(row.host, news[row.host])
            evaluations += detector.detector(row.host).score(row, history)
        heeded = self._learnt.heeded(evaluations)
        self._apply(self.tracker.plan(heeded, threshold=tenant.system.anomaly_threshold))
        self._evaluated |= news
        if news:
            latest = {one.host: one for one in evaluations}
            self.progress = replace(self.progress, evaluated_until=max(news.values()), latest=latest)

    def _apply(self, plan: Plan) -> None:
        if not plan.states:
            return
        saved = self._store.incidents.apply(self.tenant_id, plan.changes) if plan.changes else []
        self.tracker.commit(plan, saved)
        for (kind, _), incident in zip(plan.changes, saved, strict=True):
            say = log.info if kind is IncidentEventKind.RESOLVED else log.warning
            say(
                f"incident {kind}",
                tenant=self.tenant_id,
                host=incident.host,
                incident=incident.id,
                severity=incident.severity.value,
                title=incident.title,
            )
