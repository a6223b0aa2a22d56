"""What alerts are due: incident events and failed runs, turned into messages for each tenant's targets. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from collectors_dagster.integrations.notify.message import (
    AlertKind,
    AlertMessage,
    ConsentPart,
    ContributionPart,
    FailurePart,
    IncidentPart,
    OutlookPart,
    TenantPart,
)
from collectors_dagster.monitoring.wording import contribution_text, rarity_text
from collectors_dagster.records import (
    Contribution,
    Incident,
    IncidentEvent,
    IncidentEventKind,
    NoticeKind,
    RunFailure,
)
from collectors_dagster.tenants import AlertTarget, Tenant

_KINDS = {
    IncidentEventKind.OPENED: AlertKind.OPENED,
    IncidentEventKind.UPDATED: AlertKind.UPDATED,
    IncidentEventKind.RESOLVED: AlertKind.RESOLVED,
}
_MARKS = {
    NoticeKind.RUN_FAILED: "FAILED",
    NoticeKind.CONSENT_NEEDED: "CONSENT NEEDED",
    NoticeKind.CONSENT_ENDS: "CONSENT ENDS SOON",
    NoticeKind.PEAK_EXPECTED: "PEAK EXPECTED",
}
_ERROR_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one target.

    Attributes
    ----------
    source_id : int
        The incident event or the failure behind it, in its ledger.
    """

    source_id: int
    target: AlertTarget
    message: AlertMessage


def plan_alerts(events: Iterable[IncidentEvent], tenants: Sequence[Tenant]) -> list[Delivery]:
    """Return what to send for `events`, in their order: one delivery per event and target of its tenant.

    Events of tenants that are no longer configured, and of history scored afterwards, alert nobody.
    """
    known = {tenant.id: tenant for tenant in tenants}
    return [
        Delivery(event.id, target, incident_message(event, known[event.incident.tenant_id]))
        for event in events
        if event.incident.tenant_id in known and event.incident.source == "stream"
        for target in known[event.incident.tenant_id].alerts
    ]


def incident_message(event: IncidentEvent, tenant: Tenant) -> AlertMessage:
    """Return the message about one step of an incident's life."""
    return AlertMessage(
        id=f"{tenant.id}-incident-{event.id}-{int(event.at.timestamp())}",
        kind=_KINDS[event.kind],
        at=event.at,
        text=incident_text(event, tenant),
        tenant=_tenant_part(tenant),
        incident=_incident_part(event.incident),
    )


def failure_message(failure: RunFailure, tenant: Tenant) -> AlertMessage:
    """Return the message about a failed run, or another notice of the same ledger."""
    error = failure.error.strip()[:_ERROR_CHARACTERS]
    first = error.splitlines()[0] if error else "no message"
    kind = failure.kind
    of_run, of_peak = kind is NoticeKind.RUN_FAILED, kind is NoticeKind.PEAK_EXPECTED
    return AlertMessage(
        id=f"{tenant.id}-failure-{failure.key}",
        kind=AlertKind(failure.kind.value),
        at=failure.at,
        text=f"[{_MARKS[failure.kind]}] {tenant.name}: {failure.what}: {first}",
        tenant=_tenant_part(tenant),
        failure=FailurePart(run_id=failure.run_id, what=failure.what, error=error, url=failure.url) if of_run else None,
        consent=None if of_run or of_peak else ConsentPart(account=failure.what, reason=error),
        outlook=OutlookPart(host=failure.what, reason=error) if of_peak else None,
    )


def incident_text(event: IncidentEvent, tenant: Tenant) -> str:
    """Return the line for people.

    ::

        [WARNING] web-1 (Aurora Analytics): CPU utilization 97 % (expected 2.0 % to 31 %)
        [RESOLVED after 4 min] web-1 (Aurora Analytics): CPU utilization 97 % (expected 2.0 % to 31 %)
    """
    incident = event.incident
    if incident.resolved_at is not None and event.kind is IncidentEventKind.RESOLVED:
        mark = f"RESOLVED after {_duration(incident.resolved_at - incident.opened_at)}"
    else:
        mark = incident.severity.upper() + (", update" if event.kind is IncidentEventKind.UPDATED else "")
    invented = ", synthetic" if tenant.synthetic else ""
    return f"[{mark}] {incident.host} ({tenant.name}{invented}): {incident.title}"


def _duration(span: timedelta) -> str:
    minutes = math.ceil(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _tenant_part(tenant: Tenant) -> TenantPart:
    return TenantPart(id=tenant.id, name=tenant.name, synthetic=tenant.synthetic)


def _incident_part(incident: Incident) -> IncidentPart:
    if incident.id is None:
        raise ValueError("only a stored incident has events")
    return IncidentPart(
        id=incident.id,
        host=incident.host,
        severity=incident.severity,
        title=incident.title,
        opened_at=incident.opened_at,
        updated_at=incident.updated_at,
        resolved_at=incident.resolved_at,
        peak_score=incident.peak_score,
        rarity=rarity_text(incident.peak_score),
        contributions=tuple(_contribution_part(part) for part in incident.contributions),
        model_version=incident.model_version,
    )


def _contribution_part(part: Contribution) -> ContributionPart:
    return ContributionPart(
        signal=part.signal,
        value=_number(part.value),
        expected_low=_number(part.expected_low),
        expected_high=_number(part.expected_high),
        deviation=_number(part.deviation),
        text=contribution_text(part),
    )


def _number(value: float) -> float | None:
    """Return what JSON can say: an unknown expectation is NaN with us and null there."""
    return value if math.isfinite(value) else None
