"""How long consent lasts: six months from the day it was given; refreshing tokens does not make it longer.

(Spotify, "Refresh token expiration", 2026-06-18.)
"""

import calendar
from datetime import datetime, timedelta
from enum import StrEnum

CONSENT_MONTHS = 6
WARN_AFTER = timedelta(days=150)
"""Age of consent from which its tenant is told to renew it."""


class ConsentPhase(StrEnum):
    """How much of a consent is left."""

    VALID = "valid"
    ENDING = "ending"
    ENDED = "ended"


def consent_ends(consented_at: datetime) -> datetime:
    """Return when consent ends: the same day six months later, or the last of that month.

    Examples
    --------
    >>> from datetime import UTC
    >>> consent_ends(datetime(2026, 8, 31, 12, tzinfo=UTC)).isoformat()
    '2027-02-28T12:00:00+00:00'
    """
    months = consented_at.month - 1 + CONSENT_MONTHS
    year, month = consented_at.year + months // 12, months % 12 + 1
    day = min(consented_at.day, calendar.monthrange(year, month)[1])
    return consented_at.replace(year=year, month=month, day=day)


def consent_phase(consented_at: datetime, now: datetime) -> ConsentPhase:
    """Return how much of a consent is left.

    Examples
    --------
    >>> from datetime import UTC
    >>> consented = datetime(2026, 1, 1, tzinfo=UTC)
    >>> [consent_phase(consented, consented + timedelta(days=days)).value for days in (149, 150, 181)]
    ['valid', 'ending', 'ended']
    """
    if now >= consent_ends(consented_at):
        return ConsentPhase.ENDED
    return ConsentPhase.ENDING if now - consented_at >= WARN_AFTER else ConsentPhase.VALID
