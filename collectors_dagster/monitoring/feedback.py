"""What follows from what people said about incidents: what is learned, and what is not raised again. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from collectors_dagster.records import Contribution, Feedback, Incident, ScoredMinute, Verdict, Window

MARGIN = 0.1
"""What was called normal reaches so much further from the expected range than it went itself."""
NOTABLE = 0.5
"""A signal counts if it deviates so much of what the strongest one does."""


class LearntNormal:
    """The verdicts on a tenant's incidents, as the scorers heed them.

    A minute is like one that was judged if each of its notable signals is among those of that incident and no farther
    from its expected range, to the same side. Of several verdicts the newest decides. The minutes of the incident that
    was judged stay as they were: it happened, and the verdict stands beside it.
    """

    def __init__(self, verdicts: Iterable[Feedback] = ()) -> None:
        self._by_host: dict[str, list[Feedback]] = defaultdict(list)
        for one in sorted(verdicts, key=lambda one: one.said_at, reverse=True):
            self._by_host[one.host].append(one)

    def covers(self, minute: ScoredMinute) -> bool:
        """Say whether a person called the like of this minute normal."""
        if minute.host not in self._by_host or not minute.contributions:
            return False
        for verdict in self._by_host[minute.host]:
            if verdict.opened_at <= minute.ts <= verdict.ended_at:
                return False
            if _alike(minute.contributions, verdict.contributions):
                return verdict.verdict is Verdict.NORMAL
        return False

    def heeded(self, minutes: Iterable[ScoredMinute]) -> list[ScoredMinute]:
        """Return the minutes as incidents see them: those that are normal by a person's word alarm nobody."""
        return [replace(one, score=0.0) if self.covers(one) else one for one in minutes]


def _alike(seen: Sequence[Contribution], judged: Sequence[Contribution]) -> bool:
    strongest = max(abs(part.deviation) for part in seen)
    known = {part.signal: part for part in judged}
    notable = [part for part in seen if abs(part.deviation) >= NOTABLE * strongest]
    return all(part.signal in known and _within(part, known[part.signal]) for part in notable)


def _within(part: Contribution, judged: Contribution) -> bool:
    """Say whether a value lies no farther out than the one that was judged, to the same side."""
    if judged.value > judged.expected_high:
        most = judged.value + MARGIN * (judged.value - judged.expected_high)
        return part.expected_low <= part.value <= most
    if judged.value < judged.expected_low:
        least = judged.value - MARGIN * (judged.expected_low - judged.value)
        return least <= part.value <= part.expected_high
    return judged.expected_low <= part.value <= judged.expected_high


@dataclass(frozen=True, slots=True)
class TrainingWindows:
    """By host: what a training leaves out.

    Attributes
    ----------
    masked : mapping
        Incidents nobody called normal: not learned, unless they keep coming back.
    normal : mapping
        Spans that people called normal: learned, whatever they look like.
    real : mapping
        Spans that people called real: never learned.
    """

    masked: Mapping[str, list[Window]]
    normal: Mapping[str, list[Window]]
    real: Mapping[str, list[Window]]


def training_windows(incidents: Iterable[Incident], verdicts: Iterable[Feedback], now: datetime) -> TrainingWindows:
    """Return what to leave out of a training, of a tenant's incidents and what was said of them.

    The same episode may be an incident of the stream and one of history; a verdict on either holds for its minutes.
    """
    normal, real, masked = (defaultdict[str, list[Window]](list) for _ in range(3))
    for one in verdicts:
        chosen = normal if one.verdict is Verdict.NORMAL else real
        chosen[one.host].append(Window(one.opened_at, one.ended_at))
    for incident in incidents:
        whole = Window(incident.opened_at, incident.resolved_at or now)
        masked[incident.host] += whole.without(normal.get(incident.host, ()))
    return TrainingWindows({host: windows for host, windows in masked.items() if windows}, dict(normal), dict(real))


def said_of(incident: Incident, verdicts: Iterable[Feedback]) -> str:
    """Return what people said of an incident, of stream or history, in words; nothing if nobody did."""
    end = incident.resolved_at or incident.updated_at
    found = [
        one
        for one in verdicts
        if one.host == incident.host and one.opened_at <= end and one.ended_at >= incident.opened_at
    ]
    if not found:
        return ""
    last = max(found, key=lambda one: one.said_at)
    return f"{last.verdict} ({last.said_by}{': ' + last.reason if last.reason else ''})"


def precision(verdicts: Sequence[Feedback]) -> dict[str, float]:
    """Return what people said of a model's incidents, by the names under which MLflow has it; nothing if nobody did.

    Examples
    --------
    >>> precision([])
    {}
    """
    if not verdicts:
        return {}
    real = sum(one.verdict is Verdict.REAL for one in verdicts)
    return {
        "feedback_real": float(real),
        "feedback_normal": float(len(verdicts) - real),
        "feedback_precision": real / len(verdicts),
    }
