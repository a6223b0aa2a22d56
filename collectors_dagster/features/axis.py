"""The minutes of a window, and what a frame knows on them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from collectors_dagster.frames import FeatureFrame, SignalFrame, Times
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
    columns = np.flatnonzero(np.isfinite(frame.values).any(axis=0))
    return tuple(frame.signals[column] for column in columns)


def value_at(frame: SignalFrame, signal: str, instant: datetime) -> float | None:
    """Return a signal's value of the minute that ends at `instant`; None where it is not known."""
    at = np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "s")
    row = int(np.searchsorted(frame.ts, at))
    if row == len(frame.ts) or frame.ts[row] != at or signal not in frame.signals:
        return None
    value = float(frame.values[row, frame.signals.index(signal)])
    return value if np.isfinite(value) else None


def malformed(frame: FeatureFrame, columns: Sequence[str]) -> list[str]:
    """Return what is wrong with stored features; nothing if all is well."""
    problems = []
    if frame.columns != tuple(columns):
        problems.append(f"{frame.host}: {len(frame.columns)} columns, or in another order")
    if (frame.ts.astype("datetime64[s]").astype(np.int64) % 60).any():
        problems.append(f"{frame.host}: rows between full minutes")
    if np.isinf(frame.values).any():
        problems.append(f"{frame.host}: infinite values")
    return problems
