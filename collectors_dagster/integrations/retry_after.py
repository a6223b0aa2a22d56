"""``Retry-After``: the pause that another system asks for (RFC 9110, 10.2.3)."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


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
    >>> retry_after_seconds("soon", datetime(2026, 1, 1, tzinfo=UTC), at_most=3600) is None
    True
    """
    if header is None:
        return None
    try:
        seconds = float(header) if header.isascii() and header.isdigit() else _seconds_until(header, now)
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), at_most) if math.isfinite(seconds) else at_most


def _seconds_until(date: str, now: datetime) -> float:
    moment = parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
