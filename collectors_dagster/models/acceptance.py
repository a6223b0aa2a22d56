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
from collectors_dagster.models.host_model import QUIET_CAP, HeldOut
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


def alerted(timeline: Timeline, found: HeldOut, *, from_surprise: float) -> list[Window]:
    """Return the windows of a history's own exceptional minutes, in order of time.

    Exceptions are rare, or they are how the host is: the strongest episodes count, one for each day of history, and
    none if their minutes are a notable share. An episode is the exceptional minutes and those around them that stand
    out as well, unless these together are a notable share: a disk fills for hours before the last minutes are the
    rarest of their history, and to learn those hours hides every other fault of the host.

    Parameters
    ----------
    found : HeldOut
        What a first fit finds in each row of the history.
    from_surprise : float
        s = -log10 p of the host from which a minute is exceptional.
    """
    most = EXCEPTION_SHARE * timeline.measured.sum()
    exceptional = found.host >= from_surprise  # never where it is not known
    if exceptional.sum() > most:
        return []
    whole = _strongest(timeline, found, exceptional | (found.finding > QUIET_CAP), from_surprise)
    within = sum(map(len, whole)) <= most
    chosen = whole if within else _strongest(timeline, found, exceptional, from_surprise)
    return sorted((_window(timeline, rows) for rows in chosen), key=lambda window: window.start)


def _strongest(
    timeline: Timeline, found: HeldOut, told: NDArray[np.bool_], from_surprise: float
) -> list[NDArray[np.int64]]:
    """Return the rows of the strongest episodes of the rows that are `told`, one for each day of history."""
    rows = np.flatnonzero(told)
    if not len(rows):
        return []
    episodes = np.split(rows, np.flatnonzero(np.diff(rows) > EPISODE_GAP_MINUTES) + 1)
    peaks = [(float(np.nanmax(found.host[rows], initial=0.0)), rows) for rows in episodes]
    peaks = sorted((one for one in peaks if one[0] >= from_surprise), key=lambda one: -one[0])
    return [rows for _, rows in peaks[: 1 + len(timeline) // DAY_MINUTES]]


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
