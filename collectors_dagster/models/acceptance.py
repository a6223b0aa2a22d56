"""Which incidents are not learned, and which have become normal.

A model that learns its alerted minutes goes blind; one that never does alerts on a daily job for ever. So an incident's
minutes are left out, until the same time of day has alerted on three days, or most of the newest day has: then
that is how the host is now.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from collectors_dagster.features.timeline import DAY_MINUTES, Timeline
from collectors_dagster.frames import Floats
from collectors_dagster.records import Window

RECURRING_DAYS = 3
PHASE_SECONDS = 15 * 60.0
NEW_NORMAL_SHARE = 0.5
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
    """Return the windows of a history's own alarming minutes; none if they are too many to be exceptions.

    Parameters
    ----------
    surprise : shape (n,)
        s = -log10 p per row; NaN where nothing was measured.
    """
    hit = np.nan_to_num(surprise, nan=0.0) >= from_surprise
    if hit.sum() > EXCEPTION_SHARE * timeline.measured.sum():
        return []
    edges = np.flatnonzero(np.diff(np.concatenate(([False], hit, [False]))))
    return [_window(timeline, int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _window(timeline: Timeline, start: int, end: int) -> Window:
    """Return the time of rows `start` to `end` (exclusive); a row is the minute that ends at its instant."""
    first = datetime.fromtimestamp((timeline.first + start - 1) * 60, tz=UTC)
    return Window(first, first + timedelta(minutes=end - start))


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
