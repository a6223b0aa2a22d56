"""Which earlier incident a new one is like. Pure."""

import math
from collections.abc import Iterable

from collectors_dagster.records import Incident

ALIKE_FROM = 0.8
"""Cosine of the angle between the signals' deviations: 1 is the same mixture of signals."""


def nearest_earlier(incident: Incident, others: Iterable[Incident]) -> Incident | None:
    """Return the earlier incident of the same host in which the same signals deviated most alike; None if none did.

    Of equally alike ones the newest. The same episode, told by the stream and by history, is not earlier than itself.
    """
    earlier = [
        one
        for one in others
        if one.host == incident.host and one.resolved_at is not None and one.resolved_at <= incident.opened_at
    ]
    ranked = [(round(likeness(incident, one), 6), one.opened_at, one) for one in earlier]
    best = max(ranked, key=lambda one: one[:2], default=None)
    return best[2] if best is not None and best[0] >= ALIKE_FROM else None


def likeness(one: Incident, other: Incident) -> float:
    """Return how alike the signals of two incidents deviate, 0 to 1; incidents without signals are like nothing."""
    mine, its = (_directions(each) for each in (one, other))
    product = sum(value * its.get(signal, 0.0) for signal, value in mine.items())
    size = math.hypot(*mine.values()) * math.hypot(*its.values())
    return max(0.0, product / size) if size > 0 else 0.0


def _directions(incident: Incident) -> dict[str, float]:
    """Return each signal's deviation, negative for a fall below what was expected."""
    return {
        part.signal: -part.deviation if part.value < part.expected_low else part.deviation
        for part in incident.contributions
    }
