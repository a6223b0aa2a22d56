"""The minutes of a window, and the stretch of them in which anything was measured."""

from dataclasses import replace

import numpy as np

from collectors_dagster.frames import SignalFrame, Times
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


def measured_span(frame: SignalFrame) -> SignalFrame:
    """Return the rows from the first to the last in which any signal is known; none if there is no such row."""
    rows = np.flatnonzero(np.isfinite(frame.values).any(axis=1))
    inside = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
    return replace(frame, ts=frame.ts[inside], values=frame.values[inside])


def known_signals(frame: SignalFrame) -> tuple[str, ...]:
    """Return the names of the signals that are known at any of the frame's minutes."""
    known = np.isfinite(frame.values).any(axis=0)
    return tuple(name for name, is_known in zip(frame.signals, known, strict=True) if is_known)
