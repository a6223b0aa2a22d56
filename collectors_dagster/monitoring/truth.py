"""Detected against planted: what a detector found of a synthetic history's truth."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from collectors_dagster.records import Incident, PlantedIncident

LATE = timedelta(minutes=10)
"""An incident that opens so soon after the end of what was planted still belongs to it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was planted, and the incidents that tell of it, by their beginning."""

    planted: PlantedIncident
    incidents: tuple[Incident, ...]

    @property
    def delay(self) -> timedelta | None:
        """Time from the planted beginning to the first incident; None if it was missed."""
        return self.incidents[0].opened_at - self.planted.started_at if self.incidents else None

    @property
    def named(self) -> bool:
        """Whether the strongest contribution of some incident is one of the planted signals."""
        leads = {part.signal for one in self.incidents for part in one.contributions[:1]}
        return bool(leads & set(self.planted.signals))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything planted, and the incidents that nothing planted explains."""

    findings: tuple[Finding, ...]
    unexplained: tuple[Incident, ...]

    @property
    def found(self) -> int:
        """Number of planted incidents that were found."""
        return sum(bool(finding.incidents) for finding in self.findings)


def compare(planted: Sequence[PlantedIncident], incidents: Iterable[Incident]) -> Comparison:
    """Set incidents against what was planted; both may be of several hosts."""
    ordered = sorted(incidents, key=lambda one: one.opened_at)
    findings = [Finding(one, tuple(each for each in ordered if _tells_of(each, one))) for one in planted]
    explained = {id(each) for finding in findings for each in finding.incidents}
    return Comparison(tuple(findings), tuple(each for each in ordered if id(each) not in explained))


def _tells_of(incident: Incident, planted: PlantedIncident) -> bool:
    if incident.host != planted.host or incident.opened_at > planted.ended_at + LATE:
        return False
    return incident.resolved_at is None or incident.resolved_at >= planted.started_at
