"""``Retry-After``: the pause that another system asks for (RFC 9110, 10.2.3)."""

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:s|sec|seconds?)?\s*(?:,.*)?$", re.ASCII)
"""Seconds, also as some write them: with a fraction, a unit, or twice. A pause that was meant is better kept."""


def retry_after_seconds(header: str | None, now: datetime, *, at_most: float) -> float | None:
    """Read the header, in seconds or as a date; ``None`` where it is missing or means nothing.

    Parameters
    ----------
    now : datetime
        Only used to read a date.
    at_most : float
        Seconds; a longer pause is taken for so long.

    Examples
    --------
    >>> retry_after_seconds("120", datetime(2026, 1, 1, tzinfo=UTC), at_most=3600)
    120.0
    >>> retry_after_seconds("45.5 s", datetime(2026, 1, 1, tzinfo=UTC), at_most=3600)
    45.5
    >>> retry_after_seconds("soon", datetime(2026, 1, 1, tzinfo=UTC), at_most=3600) is None
    True
    """
    if header is None:
        return None
    try:
        number = _NUMBER.match(header)
        seconds = float(number[1]) if number else _seconds_until(header, now)
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), at_most) if math.isfinite(seconds) else at_most


def _seconds_until(date: str, now: datetime) -> float:
    moment = parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
