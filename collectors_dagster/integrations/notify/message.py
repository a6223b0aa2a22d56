"""What an alert says: the body that webhooks receive. Documented in ``docs/webhook.md``; fields are only added."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from collectors_dagster.records import Severity


class AlertKind(StrEnum):
    """The kinds of alerts."""

    OPENED = "incident.opened"
    UPDATED = "incident.updated"
    RESOLVED = "incident.resolved"
    RUN_FAILED = "run.failed"
    CONSENT_NEEDED = "consent.needed"
    CONSENT_ENDS = "consent.ends"
    PEAK_EXPECTED = "peak.expected"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class TenantPart(_Part):
    """A tenant as an alert shows it."""

    id: str = Field(description="The tenant.")
    name: str = Field(description="How people call the tenant.")
    synthetic: bool = Field(description="Whether the tenant's data are invented, for demonstrations.")


class ContributionPart(_Part):
    """One signal's part in an incident."""

    signal: str = Field(description="The signal, e.g. `cpu_utilization_ratio`; units come last.")
    value: float | None = Field(description="What was seen, in the signal's unit.")
    expected_low: float | None = Field(description="Lower end of what its history expects.")
    expected_high: float | None = Field(description="Upper end of what its history expects.")
    deviation: float | None = Field(description="Robust deviation from normal, capped; orders the list.")
    text: str = Field(description="The same in words.")


class IncidentPart(_Part):
    """The incident as it was at the event."""

    id: int = Field(description="The incident; the same in all its events.")
    host: str = Field(description="The host.")
    severity: Severity = Field(description="How bad; critical only from a model with enough history.")
    title: str = Field(description="The strongest contribution in words.")
    opened_at: datetime = Field(description="First anomalous evaluation.")
    updated_at: datetime = Field(description="Latest change.")
    resolved_at: datetime | None = Field(description="First calm evaluation; null while the incident is open.")
    peak_score: float = Field(description="Highest anomaly score so far, 0 to 1.")
    rarity: str = Field(default="", description="How rare that score is, in words.")
    contributions: tuple[ContributionPart, ...] = Field(description="What stood out, strongest first, at most five.")
    model_version: str = Field(description="The model that judged.")


class FailurePart(_Part):
    """A run, or a tenant's part of a run, that failed."""

    run_id: str = Field(description="Dagster's run.")
    what: str = Field(description="What failed: job, asset or step.")
    error: str = Field(description="First lines of the error, without secrets.")
    url: str | None = Field(description="Where to look, if the web UI's address is known.")


class ConsentPart(_Part):
    """An account whose user has to consent again."""

    account: str = Field(description="Whose account, at which service.")
    reason: str = Field(description="What happened or will happen, and what to do.")


class OutlookPart(_Part):
    """What a forecast says."""

    host: str = Field(description="The host.")
    reason: str = Field(description="What is expected when, and how sure that is.")


class AlertMessage(_Part):
    """The whole body."""

    format: Literal["collectors.alert/1"] = Field(
        default="collectors.alert/1", description="This format; a change that breaks readers gets another number."
    )
    id: str = Field(description="Identifies the event, equal to the header `Idempotency-Key`; opaque.")
    kind: AlertKind = Field(description="What happened.")
    at: datetime = Field(description="When, in UTC.")
    text: str = Field(description="One line for people.")
    tenant: TenantPart = Field(description="Whose alert it is.")
    incident: IncidentPart | None = Field(default=None, description="Of `incident.*`: the incident.")
    failure: FailurePart | None = Field(default=None, description="Of `run.failed`: the failure.")
    consent: ConsentPart | None = Field(default=None, description="Of `consent.*`: the account.")
    outlook: OutlookPart | None = Field(default=None, description="Of `peak.expected`: what is expected.")
