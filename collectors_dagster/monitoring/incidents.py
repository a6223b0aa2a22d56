"""When scores become an incident, when it changes, and when it is over.

Pure rules: :func:`step` takes what is known of one host and one more evaluation, and returns what is known
then, with the changes to write down. :class:`IncidentTracker` keeps all hosts of a tenant and moves on only when
its changes are stored (:meth:`~IncidentTracker.commit`), so a database that is away loses and repeats nothing.

An *evaluation* is a :class:`ScoredMinute`: the score of the 60 seconds that end at ``ts``. The resident scorer
evaluates whenever new samples have arrived, history has one evaluation a minute.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby

from collectors_dagster.monitoring.wording import contribution_text
from collectors_dagster.records import (
    Contribution,
    Incident,
    IncidentEventKind,
    ModelState,
    ScoredMinute,
    Severity,
)

Change = tuple[IncidentEventKind, Incident]

_RANK = {Severity.NOTICE: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
_WARNING_SCORE = 1 - 10**-1.5  # tail probability 1e-3
_CRITICAL_SCORE = 0.99  # tail probability 1e-4
_KEPT_CONTRIBUTIONS = 5


@dataclass(frozen=True, slots=True)
class IncidentPolicy:
    """How patient the tracker is.

    Attributes
    ----------
    needed, of : int
        An incident opens when `needed` of the last `of` evaluations reach the threshold.
    memory_seconds : float
        Evaluations older than this no longer count towards `needed`.
    blatant : tuple of (str, float)
        Physical limits, averaged over the minute: an anomalous evaluation that reaches one opens at once, whatever
        the refractory time says, and up to the larger `blatant_budget`. It is at least a warning.
    resolve_after_seconds : float
        Time below the threshold after which an incident is over.
    refractory_seconds : float
        After an incident only a more severe one, or one led by another signal, opens within this time.
    update_spacing_seconds : float
        No update is said sooner than this after the last word on the same incident.
    max_updates : int
        Updates said about one incident.
    budget, blatant_budget : int or None
        Incidents opened per host within `budget_seconds`; more open only above the severity already reported.
    silent_seconds : float
        An open incident of a host that delivers nothing for this time is closed, and says why.
    """

    needed: int = 2
    of: int = 3
    memory_seconds: float = 600.0
    blatant: tuple[tuple[str, float], ...] = (
        ("cpu_utilization_ratio", 0.85),
        ("memory_used_ratio", 0.97),
        ("filesystem_used_ratio", 0.98),
    )
    resolve_after_seconds: float = 90.0
    refractory_seconds: float = 600.0
    update_spacing_seconds: float = 60.0
    max_updates: int = 3
    budget: int | None = 2
    blatant_budget: int | None = 4
    budget_seconds: float = 3600.0
    silent_seconds: float = 900.0


HISTORY = IncidentPolicy(resolve_after_seconds=300.0, refractory_seconds=0.0, budget=None, blatant_budget=None)
"""For history scored afterwards: nobody is woken, so nothing is held back; short dips do not split an episode."""


@dataclass(frozen=True, slots=True)
class HostState:
    """What is remembered of one host.

    Attributes
    ----------
    seen : datetime or None
        Time of the newest evaluation.
    recent : tuple of ScoredMinute
        The last evaluations, oldest first.
    calm_since : datetime or None
        While an incident is open: the first evaluation below the threshold since the last one above.
    previous : Incident or None
        The last one resolved: for the refractory time.
    opened : tuple of (datetime, Severity)
        Incidents that spent the budget.
    held_back : int
        Incidents that did not open because of budget or refractory time.
    """

    seen: datetime | None = None
    recent: tuple[ScoredMinute, ...] = ()
    incident: Incident | None = None
    calm_since: datetime | None = None
    updates: int = 0
    previous: Incident | None = None
    opened: tuple[tuple[datetime, Severity], ...] = ()
    held_back: int = 0
    holding_back: bool = False  # the present anomaly is counted in `held_back`


def severity_of(score: float, state: ModelState) -> Severity:
    """Return how loud a score is; only a model that has seen enough may say critical.

    Examples
    --------
    >>> severity_of(0.995, ModelState.READY).value, severity_of(0.995, ModelState.PROVISIONAL).value
    ('critical', 'warning')
    """
    if score >= _CRITICAL_SCORE and state is ModelState.READY:
        return Severity.CRITICAL
    return Severity.WARNING if score >= _WARNING_SCORE else Severity.NOTICE


def step(
    policy: IncidentPolicy, known: HostState, minute: ScoredMinute, *, tenant_id: str, threshold: float, source: str
) -> tuple[HostState, Change | None]:
    """Take in one evaluation; an evaluation that is not newer than the last changes nothing."""
    if known.seen is not None and minute.ts <= known.seen:
        return known, None
    oldest = minute.ts - timedelta(seconds=policy.memory_seconds)
    recent = tuple(old for old in known.recent if old.ts >= oldest)
    known = replace(known, seen=minute.ts, recent=(*recent, minute)[-policy.of :])
    if known.incident is None:
        return _maybe_open(policy, known, minute, _Case(tenant_id, threshold, source))
    if minute.score >= threshold:
        return _go_on(policy, known, known.incident, minute)
    return _calm_down(policy, known, known.incident, minute)


@dataclass(frozen=True, slots=True)
class _Case:
    tenant_id: str
    threshold: float
    source: str


def _maybe_open(
    policy: IncidentPolicy, known: HostState, minute: ScoredMinute, case: _Case
) -> tuple[HostState, Change | None]:
    hits = [one for one in known.recent if one.score >= case.threshold]
    blatant = _is_blatant(policy, minute)
    if minute.score < case.threshold or (len(hits) < policy.needed and not blatant):
        calm = minute.score < case.threshold and not hits
        return (replace(known, holding_back=False) if calm else known), None
    known = replace(known, opened=_within_budget_time(policy, known.opened, minute.ts))
    incident = _opened(policy, hits, case)
    if _held_back(policy, known, incident, blatant=blatant):
        counted = known.held_back + (not known.holding_back)
        return replace(known, held_back=counted, holding_back=True), None
    opened = (*known.opened, (minute.ts, incident.severity))
    incident = _with_budget_note(policy, incident, opened)
    known = replace(known, incident=incident, updates=0, opened=opened, holding_back=False)
    return known, (IncidentEventKind.OPENED, incident)


def _opened(policy: IncidentPolicy, hits: Sequence[ScoredMinute], case: _Case) -> Incident:
    first, last = hits[0], hits[-1]
    peak = max(hits, key=lambda one: one.score)
    parts = _merged((), [part for one in hits for part in one.contributions])
    return Incident(
        id=None,
        tenant_id=case.tenant_id,
        host=last.host,
        opened_at=first.ts,
        updated_at=last.ts,
        resolved_at=None,
        severity=max((_severity(policy, one) for one in hits), key=_RANK.__getitem__),
        peak_score=peak.score,
        title=_title(parts, peak.score),
        contributions=parts,
        model_version=last.model_version,
        source=case.source,
    )


def _is_blatant(policy: IncidentPolicy, minute: ScoredMinute) -> bool:
    seen = {part.signal: part.value for part in minute.contributions}
    return any(seen.get(signal, 0.0) >= level for signal, level in policy.blatant)


def _severity(policy: IncidentPolicy, minute: ScoredMinute) -> Severity:
    said = severity_of(minute.score, minute.state)
    return Severity.WARNING if said is Severity.NOTICE and _is_blatant(policy, minute) else said


def _held_back(policy: IncidentPolicy, known: HostState, incident: Incident, *, blatant: bool) -> bool:
    if blatant:
        return _over_budget(policy.blatant_budget, known, incident)
    refractory = _in_refractory_time(policy, known.previous, incident)
    return refractory or _over_budget(policy.budget, known, incident)


def _in_refractory_time(policy: IncidentPolicy, previous: Incident | None, incident: Incident) -> bool:
    if previous is None or previous.resolved_at is None:
        return False
    if (incident.updated_at - previous.updated_at).total_seconds() >= policy.refractory_seconds:
        return False
    lead = incident.contributions[0].signal if incident.contributions else None
    other = lead is not None and lead not in {part.signal for part in previous.contributions}
    return not other and _RANK[incident.severity] <= _RANK[previous.severity]


def _over_budget(budget: int | None, known: HostState, incident: Incident) -> bool:
    if budget is None or len(known.opened) < budget:
        return False
    return _RANK[incident.severity] <= max(_RANK[severity] for _, severity in known.opened)


def _within_budget_time(
    policy: IncidentPolicy, opened: tuple[tuple[datetime, Severity], ...], now: datetime
) -> tuple[tuple[datetime, Severity], ...]:
    horizon = now - timedelta(seconds=policy.budget_seconds)
    return tuple(one for one in opened if one[0] > horizon)


def _with_budget_note(
    policy: IncidentPolicy, incident: Incident, opened: tuple[tuple[datetime, Severity], ...]
) -> Incident:
    if policy.budget is None or len(opened) < policy.budget:
        return incident
    until = opened[-policy.budget][0] + timedelta(seconds=policy.budget_seconds)
    note = f"alert budget of {policy.budget} used up: until {until:%H:%M} UTC only worse incidents open"
    return replace(incident, title=f"{incident.title}; {note}")


def _go_on(
    policy: IncidentPolicy, known: HostState, incident: Incident, minute: ScoredMinute
) -> tuple[HostState, Change | None]:
    severity = max(incident.severity, _severity(policy, minute), key=_RANK.__getitem__)
    rises = severity is not incident.severity
    announced = {part.signal for part in incident.contributions}
    new_lead = bool(minute.contributions) and minute.contributions[0].signal not in announced
    known = replace(known, calm_since=None)
    incident = replace(incident, peak_score=max(incident.peak_score, minute.score))
    silence = (minute.ts - incident.updated_at).total_seconds()
    due = silence >= policy.update_spacing_seconds and known.updates < policy.max_updates
    if not (due and (rises or new_lead)):
        return replace(known, incident=incident), None
    parts = _merged(incident.contributions, minute.contributions)
    incident = replace(
        incident,
        updated_at=minute.ts,
        severity=severity,
        contributions=parts,
        title=_title(parts, incident.peak_score),
    )
    return replace(known, incident=incident, updates=known.updates + 1), (IncidentEventKind.UPDATED, incident)


def _calm_down(
    policy: IncidentPolicy, known: HostState, incident: Incident, minute: ScoredMinute
) -> tuple[HostState, Change | None]:
    calm_since = known.calm_since or minute.ts
    if (minute.ts - calm_since).total_seconds() < policy.resolve_after_seconds:
        return replace(known, calm_since=calm_since), None
    return _resolved(known, replace(incident, updated_at=minute.ts, resolved_at=calm_since))


def _resolved(known: HostState, incident: Incident) -> tuple[HostState, Change]:
    known = replace(known, incident=None, calm_since=None, recent=(), previous=incident)
    return known, (IncidentEventKind.RESOLVED, incident)


def _merged(kept: Iterable[Contribution], new: Iterable[Contribution]) -> tuple[Contribution, ...]:
    """Keep each signal's strongest contribution, strongest first."""
    strongest: dict[str, Contribution] = {}
    for part in (*kept, *new):
        best = strongest.get(part.signal)
        if best is None or abs(part.deviation) > abs(best.deviation):
            strongest[part.signal] = part
    ordered = sorted(strongest.values(), key=lambda part: -abs(part.deviation))
    return tuple(ordered[:_KEPT_CONTRIBUTIONS])


def _title(parts: Sequence[Contribution], score: float) -> str:
    if not parts:
        return f"unusual combination of signals (score {score:.3f})"
    more = len(parts) - 1
    others = f" and {more} more signal{'s' if more > 1 else ''}" if more else ""
    return contribution_text(parts[0]) + others


@dataclass(frozen=True, slots=True)
class Plan:
    """What one round of evaluations means: changes to store, and the states to take on once they are."""

    changes: tuple[Change, ...]
    states: Mapping[str, HostState] = field(repr=False)


class IncidentTracker:
    """All hosts of one tenant.

    Parameters
    ----------
    open_incidents : sequence of Incident
        What the store holds open: the tracker goes on with them after a restart.
    past_incidents : sequence of Incident
        Incidents of the last hour, open or not: they have spent the budget.

    Examples
    --------
    ::

        plan = tracker.plan(evaluations, threshold=0.9)
        saved = store.incidents.apply(tenant_id, plan.changes)
        tracker.commit(plan, saved)
    """

    def __init__(
        self,
        tenant_id: str,
        policy: IncidentPolicy | None = None,
        *,
        open_incidents: Sequence[Incident] = (),
        past_incidents: Sequence[Incident] = (),
        source: str = "stream",
    ) -> None:
        self.tenant_id = tenant_id
        self.policy = policy or IncidentPolicy()
        self._source = source
        self._states: dict[str, HostState] = {}
        for incident in sorted(past_incidents, key=lambda one: one.opened_at):
            self._states[incident.host] = _remembered(self._state(incident.host), incident)
        for incident in open_incidents:
            self._states[incident.host] = _resumed(self._state(incident.host), incident)

    def plan(self, minutes: Iterable[ScoredMinute], *, threshold: float) -> Plan:
        """Work out the changes that these evaluations mean, at most one per host; nothing is changed yet."""
        states: dict[str, HostState] = {}
        changes: list[Change] = []
        for minute in minutes:
            if minute.host in states:  # the second change would need the id that the first one gets when stored
                raise ValueError(f"more than one evaluation of {minute.host!r} in one plan")
            states[minute.host], change = step(
                self.policy,
                self._state(minute.host),
                minute,
                tenant_id=self.tenant_id,
                threshold=threshold,
                source=self._source,
            )
            changes.extend([change] if change else [])
        return Plan(tuple(changes), states)

    def plan_silent(self, now: datetime) -> Plan:
        """Close the incidents of hosts that have delivered nothing for too long."""
        states: dict[str, HostState] = {}
        changes: list[Change] = []
        for host, known in self._states.items():
            if known.incident is not None and self._is_silent(known, known.incident, now):
                states[host], change = self._abandoned(known, known.incident, now)
                changes.append(change)
        return Plan(tuple(changes), states)

    def commit(self, plan: Plan, saved: Sequence[Incident]) -> None:
        """Take on the states of `plan`, whose changes the store returned as `saved`, in the same order."""
        self._states.update(plan.states)
        for (_, planned), stored in zip(plan.changes, saved, strict=True):
            known = self._state(planned.host)
            if known.incident is not None and known.incident.opened_at == planned.opened_at:
                self._states[planned.host] = replace(known, incident=replace(known.incident, id=stored.id))

    @property
    def open(self) -> tuple[Incident, ...]:
        """Incidents open now."""
        return tuple(known.incident for known in self._states.values() if known.incident is not None)

    @property
    def held_back(self) -> int:
        """Incidents that budget or refractory time kept from opening since this tracker began."""
        return sum(known.held_back for known in self._states.values())

    def _state(self, host: str) -> HostState:
        return self._states.get(host, HostState())

    def _is_silent(self, known: HostState, incident: Incident, now: datetime) -> bool:
        last = max(filter(None, (known.seen, incident.updated_at)))
        return (now - last).total_seconds() >= self.policy.silent_seconds

    def _abandoned(self, known: HostState, incident: Incident, now: datetime) -> tuple[HostState, Change]:
        title = f"{incident.title}; closed because the host has delivered nothing since"
        last = known.seen or incident.updated_at
        title = f"{title} {last:%Y-%m-%d %H:%M} UTC"
        return _resolved(known, replace(incident, updated_at=now, resolved_at=now, title=title))


def _remembered(known: HostState, incident: Incident) -> HostState:
    known = replace(known, opened=(*known.opened, (incident.opened_at, incident.severity)))
    return known if incident.resolved_at is None else replace(known, previous=incident)


def _resumed(known: HostState, incident: Incident) -> HostState:
    return replace(known, incident=incident)


def group_incidents(
    minutes: Iterable[ScoredMinute], threshold: float, *, tenant_id: str, policy: IncidentPolicy = HISTORY
) -> list[Incident]:
    """Turn scored history into incidents, by the rules of the stream without their restraint.

    An episode that lasts to the end of the history is closed there.
    """
    found: list[Incident] = []
    by_host = sorted(minutes, key=lambda one: (one.host, one.ts))
    for _, of_host in groupby(by_host, key=lambda one: one.host):
        found.extend(_episodes(list(of_host), threshold, tenant_id, policy))
    return found


def _episodes(
    minutes: Sequence[ScoredMinute], threshold: float, tenant_id: str, policy: IncidentPolicy
) -> list[Incident]:
    known, closed = HostState(), list[Incident]()
    for minute in minutes:
        known, change = step(policy, known, minute, tenant_id=tenant_id, threshold=threshold, source="batch")
        if change and change[0] is IncidentEventKind.RESOLVED:
            closed.append(change[1])
    if known.incident is not None:
        end = known.calm_since or minutes[-1].ts
        closed.append(replace(known.incident, updated_at=minutes[-1].ts, resolved_at=end))
    return closed
