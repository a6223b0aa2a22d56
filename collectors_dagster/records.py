"""What the platform says about a tenant: scores, incidents, forecasts, health. Plain records, already valid.

Times are aware and in UTC. Ratios and scores are 0..1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of time ``[start, end)``."""

    start: datetime
    end: datetime

    @classmethod
    def of_day(cls, day: str) -> "Window":
        """Return the UTC day named ``YYYY-MM-DD``.

        Examples
        --------
        >>> Window.of_day("2026-11-22").end.isoformat()
        '2026-11-23T00:00:00+00:00'
        """
        start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
        return cls(start, start + timedelta(days=1))

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end - self.start).total_seconds()

    def without(self, spans: "Iterable[Window]") -> "list[Window]":
        """Return what is left, in order of time, when some spans are cut out.

        Examples
        --------
        >>> day = Window.of_day("2026-11-22")
        >>> morning = Window(day.start.replace(hour=6), day.start.replace(hour=8))
        >>> [part.seconds / 3600 for part in day.without([morning])]
        [6.0, 16.0]
        """
        left, at = [], self.start
        for span in sorted(spans, key=lambda one: one.start):
            if span.start > at:
                left.append(Window(at, min(span.start, self.end)))
            at = max(at, span.end)
            if at >= self.end:
                return left
        return [*left, Window(at, self.end)]


class ClockEventKind(StrEnum):
    """What can happen to a host's clock."""

    STEP = "clock_step"
    """The wall clock was set: by a person, by NTP, after a virtual machine was paused."""
    SUSPEND = "suspend"
    """The host slept."""


@dataclass(frozen=True, slots=True)
class ClockEvent:
    """A moment at which a host's wall clock did not go on as its steady clock did.

    Attributes
    ----------
    ts : datetime
        The first look at the host afterwards, by the wall clock as it is then.
    seconds : float
        How far the clock was set (negative: back), or how long the host slept.
    """

    host: str
    ts: datetime
    kind: ClockEventKind
    seconds: float


class ModelState(StrEnum):
    """How much a detector has seen: the honest answer to "can I trust this?"."""

    LEARNING = "learning"
    """Under one hour of history: only physical limits alert."""
    PROVISIONAL = "provisional"
    """Under two days: novelty without seasonality; never critical."""
    READY = "ready"


class Severity(StrEnum):
    """How loud an incident is."""

    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Contribution:
    """One signal's part in an anomaly.

    Attributes
    ----------
    signal : str
        E.g. ``cpu_utilization_ratio``.
    value, expected_low, expected_high : float
        What was seen, and the range that history expects, in the signal's unit.
    deviation : float
        Capped robust deviation from normal; orders the contributions.
    """

    signal: str
    value: float
    expected_low: float
    expected_high: float
    deviation: float


@dataclass(frozen=True, slots=True)
class ScoredMinute:
    """One host's score over the minute that ends at `ts`.

    Attributes
    ----------
    score : float
        0..1, comparable over hosts and tenants: ``1 - 10**(-s/2)`` of the tail probability ``10**-s``.
    contributions : tuple of Contribution
        Largest first; empty for unremarkable minutes.
    """

    host: str
    ts: datetime
    score: float
    state: ModelState
    model_version: str
    contributions: tuple[Contribution, ...] = ()


class Verdict(StrEnum):
    """What a person says about an incident."""

    NORMAL = "normal"
    """The host is like that: its minutes are learned, and the like of it is not raised again."""
    REAL = "real"
    """It was right to tell: its minutes are never learned, however often the like comes back."""


class IncidentEventKind(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    UPDATED = "updated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Incident:
    """An episode of anomalous minutes on one host.

    Attributes
    ----------
    id : int or None
        Set by the store.
    source : str
        ``stream`` (the resident scorer; alerts) or ``batch`` (history scored afterwards; never alerts).
    """

    id: int | None
    tenant_id: str
    host: str
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    severity: Severity
    peak_score: float
    title: str
    contributions: tuple[Contribution, ...]
    model_version: str
    source: str = "stream"


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person's verdict on an incident.

    Attributes
    ----------
    ended_at : datetime
        End of what was judged; of an incident that was open then, its last word.
    said_by : str
        Who says so.
    title, contributions, model_version
        Of the incident, as it was then.
    """

    host: str
    opened_at: datetime
    ended_at: datetime
    verdict: Verdict
    reason: str
    said_by: str
    said_at: datetime
    title: str
    contributions: tuple[Contribution, ...]
    model_version: str


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """One step of an incident's life; ``id`` grows, so a cursor over it misses nothing."""

    id: int
    kind: IncidentEventKind
    at: datetime
    incident: Incident


@dataclass(frozen=True, slots=True)
class ForecastPoint:
    """A signal's expected value at `ts`, said at `issued_at`."""

    host: str
    signal: str
    issued_at: datetime
    ts: datetime
    mean: float
    low80: float
    high80: float
    low95: float
    high95: float


@dataclass(frozen=True, slots=True)
class HealthReason:
    """Why points are missing from 100.

    Attributes
    ----------
    penalty : float
        0..1, the share of health this reason takes.
    """

    group: str
    penalty: float
    text: str


class Statistic(StrEnum):
    """Which figure of a signal a claim is about."""

    P95 = "p95"
    MAX = "max"
    LAST = "last"
    """The mean of the last hour."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What advice says of the time to come: a signal's figure over a span lies in a range, both ends included."""

    signal: str
    statistic: Statistic
    low: float
    high: float
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Advice with its evidence.

    Attributes
    ----------
    confidence : float
        0..1.
    saving_per_month : float or None
        In `currency`; None where it is not known.
    claim : Claim or None
        What can be checked afterwards.
    outcome : bool or None
        Whether the claim came true; None: not known, or not yet.
    """

    kind: str
    text: str
    evidence: str
    confidence: float
    saving_per_month: float | None = None
    currency: str = ""
    claim: Claim | None = None
    outcome: bool | None = None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Health of one host.

    Attributes
    ----------
    score : int or None
        0..100; ``None`` means unknown, because there is no data.
    """

    host: str
    ts: datetime
    score: int | None
    reasons: tuple[HealthReason, ...]
    recommendations: tuple[Recommendation, ...]


class NoticeKind(StrEnum):
    """What a tenant is told of beside incidents."""

    RUN_FAILED = "run.failed"
    CONSENT_NEEDED = "consent.needed"
    """An account cannot be read any more until its user consents again."""
    CONSENT_ENDS = "consent.ends"
    """A user's consent ends within weeks."""
    PEAK_EXPECTED = "peak.expected"
    """A host is going to be busy, says its forecast."""


@dataclass(frozen=True, slots=True)
class RunFailure:
    """A run, or one tenant's part of it, that failed; or, by its kind, something else that a person has to see to.

    Attributes
    ----------
    key : str
        Names the failure for good: it is told once per target, whoever reports it again.
    what : str
        What failed: a job, an asset, a step or an account. The same thing failing again soon is not told again.
    error : str
        Without secrets.
    url : str or None
        Where to look.
    """

    tenant_id: str
    key: str
    run_id: str
    what: str
    error: str
    at: datetime
    url: str | None = None
    kind: NoticeKind = NoticeKind.RUN_FAILED


@dataclass(frozen=True, slots=True)
class PlantedIncident:
    """The truth behind a synthetic history: what was wrong on which host, and in which signals it shows."""

    host: str
    started_at: datetime
    ended_at: datetime
    kind: str
    signals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a model was trained on, so that it can be told apart from anything else.

    Attributes
    ----------
    digest : str
        SHA-256, shortened, of every host's minutes: the same history gives the same digest.
    source : mapping
        Where the minutes lie: tenant, table, feature set, first and last instant.
    profile : mapping
        Hosts, minutes and series.
    """

    name: str
    digest: str
    source: Mapping[str, str]
    profile: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """What a registry stores beside a trained model's files.

    Attributes
    ----------
    kind : str
        ``anomaly`` or ``forecast``.
    loader : str
        Module that rebuilds a servable model from the files; named instead of pickled.
    plots : mapping
        File name to PNG bytes.
    card : str
        What the model is, was trained on, can and cannot do: Markdown, in plain words.
    example, answer : mapping
        Three to five rows of input by column, and what the model says to them.
    data : TrainingData
        To which the metrics belong.
    """

    kind: str
    loader: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    plots: Mapping[str, bytes]
    card: str
    tags: Mapping[str, str]
    example: Mapping[str, Sequence[object]]
    answer: Mapping[str, Sequence[object]]
    data: TrainingData
