"""The minutes of a window."""

import numpy as np

from collectors_dagster.frames import Times
from collectors_dagster.records import Window


def minute_axis(window: Window) -> Times:
    """Return the END of every whole minute inside `window`.

    Examples
    --------
    >>> len(minute_axis(Window.of_day("2026-11-22")))
    1440
    """
    minute = np.timedelta64(1, "m")
    first, last = (np.datetime64(instant.replace(tzinfo=None), "m") for instant in (window.start, window.end))
    return np.arange(first + minute, last + minute, minute).astype("datetime64[s]")
