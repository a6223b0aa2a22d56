"""Records as JSON documents in columns, and back.

JSON has no NaN and no infinity: such numbers travel as the strings ``nan``, ``inf``, ``-inf``.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from collectors_dagster.records import Claim, Contribution, HealthReason, Incident, Recommendation, Severity, Statistic

Document = dict[str, Any]


def contribution_documents(contributions: Sequence[Contribution]) -> list[Document]:
    """Return contributions as JSON, in their order."""
    return [
        {
            "signal": one.signal,
            "value": number(one.value),
            "expected_low": number(one.expected_low),
            "expected_high": number(one.expected_high),
            "deviation": number(one.deviation),
        }
        for one in contributions
    ]


def contributions_from(documents: Sequence[Document]) -> tuple[Contribution, ...]:
    """Return contributions from JSON."""
    return tuple(
        Contribution(
            signal=one["signal"],
            value=float(one["value"]),
            expected_low=float(one["expected_low"]),
            expected_high=float(one["expected_high"]),
            deviation=float(one["deviation"]),
        )
        for one in documents
    )


def incident_document(incident: Incident) -> Document:
    """Return an incident as JSON."""
    return {
        "id": incident.id,
        "tenant_id": incident.tenant_id,
        "host": incident.host,
        "opened_at": incident.opened_at.isoformat(),
        "updated_at": incident.updated_at.isoformat(),
        "resolved_at": None if incident.resolved_at is None else incident.resolved_at.isoformat(),
        "severity": incident.severity.value,
        "peak_score": incident.peak_score,
        "title": incident.title,
        "contributions": contribution_documents(incident.contributions),
        "model_version": incident.model_version,
        "source": incident.source,
    }


def incident_from(document: Document) -> Incident:
    """Return an incident from JSON."""
    resolved_at = document["resolved_at"]
    return Incident(
        id=document["id"],
        tenant_id=document["tenant_id"],
        host=document["host"],
        opened_at=datetime.fromisoformat(document["opened_at"]),
        updated_at=datetime.fromisoformat(document["updated_at"]),
        resolved_at=None if resolved_at is None else datetime.fromisoformat(resolved_at),
        severity=Severity(document["severity"]),
        peak_score=float(document["peak_score"]),
        title=document["title"],
        contributions=contributions_from(document["contributions"]),
        model_version=document["model_version"],
        source=document["source"],
    )


def reason_documents(reasons: Sequence[HealthReason]) -> list[Document]:
    """Return health reasons as JSON."""
    return [{"group": one.group, "penalty": number(one.penalty), "text": one.text} for one in reasons]


def reasons_from(documents: Sequence[Document]) -> tuple[HealthReason, ...]:
    """Return health reasons from JSON."""
    return tuple(HealthReason(one["group"], float(one["penalty"]), one["text"]) for one in documents)


def recommendation_documents(recommendations: Sequence[Recommendation]) -> list[Document]:
    """Return recommendations as JSON."""
    return [
        {
            "kind": one.kind,
            "text": one.text,
            "evidence": one.evidence,
            "confidence": number(one.confidence),
            "saving_per_month": one.saving_per_month,
            "currency": one.currency,
            "claim": None if one.claim is None else _claim_document(one.claim),
            "outcome": one.outcome,
        }
        for one in recommendations
    ]


def recommendations_from(documents: Sequence[Document]) -> tuple[Recommendation, ...]:
    """Return recommendations from JSON."""
    return tuple(
        Recommendation(
            one["kind"],
            one["text"],
            one["evidence"],
            float(one["confidence"]),
            saving_per_month=one.get("saving_per_month"),  # advice of earlier releases has less
            currency=one.get("currency", ""),
            claim=_claim_from(one["claim"]) if one.get("claim") else None,
            outcome=one.get("outcome"),
        )
        for one in documents
    )


def _claim_document(claim: Claim) -> Document:
    return {
        "signal": claim.signal,
        "statistic": claim.statistic.value,
        "low": number(claim.low),
        "high": number(claim.high),
        "start": claim.start.isoformat(),
        "end": claim.end.isoformat(),
    }


def _claim_from(document: Document) -> Claim:
    return Claim(
        signal=document["signal"],
        statistic=Statistic(document["statistic"]),
        low=float(document["low"]),
        high=float(document["high"]),
        start=datetime.fromisoformat(document["start"]),
        end=datetime.fromisoformat(document["end"]),
    )


def number(value: float) -> float | str:
    """Return a number that JSON can carry."""
    return float(value) if math.isfinite(value) else str(float(value))
