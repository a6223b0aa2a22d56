"""Which incidents are not learned, and which have become normal.

A model that learns its alerted minutes goes blind; one that never does alerts on a daily job for ever. So an incident's
minutes are left out, until the same time of day has alerted on three days, or most of the newest day has: then
that is how the host is now.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.timeline import DAY_MINUTES, Timeline
from collectors_dagster.frames import Floats
from collectors_dagster.records import Window

RECURRING_DAYS = 3
PHASE_SECONDS = 15 * 60.0
NEW_NORMAL_SHARE = 0.5
EPISODE_GAP_MINUTES = 5
EXCEPTION_SHARE = 0.05
"""More alarming minutes than this are how the host is, not exceptions."""
_DAY_SECONDS = 86_400.0


def unlearned(timeline: Timeline, incidents: Sequence[Window]) -> list[Window]:
    """Return the incidents whose minutes must not be learned.

    Parameters
    ----------
    timeline : Timeline
        The history; its newest day decides about level shifts.
    incidents : sequence of Window
        Of the same host, alerted ones.
    """
    newest = timeline.covered(incidents)[-DAY_MINUTES:]
    shifted = len(newest) == DAY_MINUTES and newest.mean() > NEW_NORMAL_SHARE
    return [one for one in incidents if not _recurs(one, incidents) and not (shifted and _reaches_end(one, timeline))]


def alerted(timeline: Timeline, surprise: Floats, *, from_surprise: float) -> list[Window]:
    """Return the windows of a history's own exceptional minutes, in order of time.

    Exceptions are rare, or they are how the host is: the strongest episodes count, one for each day of history, and
    none if their minutes are a notable share.

    Parameters
    ----------
    surprise : shape (n,)
        s = -log10 p per row; NaN where nothing was measured.
    """
    strength = np.nan_to_num(surprise, nan=0.0)
    rows = np.flatnonzero(strength >= from_surprise)
    if not len(rows) or len(rows) > EXCEPTION_SHARE * timeline.measured.sum():
        return []
    episodes = np.split(rows, np.flatnonzero(np.diff(rows) > EPISODE_GAP_MINUTES) + 1)
    strongest = sorted(episodes, key=lambda rows: -float(strength[rows].max()))[: 1 + len(timeline) // DAY_MINUTES]
    return sorted((_window(timeline, rows) for rows in strongest), key=lambda window: window.start)


def _window(timeline: Timeline, rows: NDArray[np.int64]) -> Window:
    """Return the time from the first to the last of `rows`; a row is the minute that ends at its instant."""
    start, end = (datetime.fromtimestamp((timeline.first + int(row)) * 60, tz=UTC) for row in (rows[0] - 1, rows[-1]))
    return Window(start, end)


def _recurs(incident: Window, incidents: Sequence[Window]) -> bool:
    """Say whether incidents began at this time of day on at least three days."""
    days = {one.start.date() for one in incidents if _same_phase(one, incident)}
    return len(days) >= RECURRING_DAYS


def _same_phase(one: Window, other: Window) -> bool:
    apart = abs((one.start - other.start) / timedelta(seconds=1)) % _DAY_SECONDS
    return min(apart, _DAY_SECONDS - apart) <= PHASE_SECONDS


def _reaches_end(incident: Window, timeline: Timeline) -> bool:
    last_day = (timeline.first + len(timeline) - DAY_MINUTES) * 60.0
    return incident.end.timestamp() > last_day
