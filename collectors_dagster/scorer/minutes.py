"""What the scorer knows of a tenant's hosts: the newest sixty seconds, the last minutes, the last days."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from collectors_dagster.features.axis import minute_axis
from collectors_dagster.features.feature_set import VERSION, levels
from collectors_dagster.features.signals import METRICS, signals_from_buckets
from collectors_dagster.features.timeline import joined
from collectors_dagster.frames import SeriesRows, SignalFrame, Times
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.reading import Edge, Resolution, Selection
from collectors_dagster.records import Window

MINUTE = timedelta(minutes=1)
RECENT = timedelta(minutes=90)
LATE = timedelta(minutes=3)
"""Minutes read again, for hosts that deliver a little late."""
PAST = timedelta(days=2)
PAST_REFRESH = timedelta(minutes=10)
_PAST_OVERLAP = timedelta(hours=2)
"""Features younger than this may have been computed again since they were read."""
_HOSTS_AT_ONCE = 50


class HostMinutes:
    """Signals of one tenant's hosts, read bit by bit and kept."""

    def __init__(self, store: Store, tenant_id: str) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._recent: dict[str, SignalFrame] = {}
        self._recent_until: datetime | None = None
        self._past: dict[str, SignalFrame] = {}
        self._past_until: datetime | None = None

    def newest(self, since: datetime) -> dict[str, datetime]:
        """Return the hosts that delivered after `since`, with the whole second of their newest sample."""
        found = self._store.samples.newest(self._tenant_id, METRICS, since)
        return {host: ts.replace(microsecond=0) for host, ts in found.items()}

    def follow(self, until: datetime) -> None:
        """Read the whole minutes up to `until` that are not known yet."""
        if self._recent_until is not None and until <= self._recent_until:
            return
        start = until - RECENT
        if self._recent_until is not None:
            start = max(start, self._recent_until - LATE)
        window = Window(start, until)
        for host, frame in self._read(window, minute_axis(window)).items():
            known = self._recent.get(host)
            self._recent[host] = _ending(joined([known, frame] if known else [frame], days=1).frame(host), until)
        self._recent_until = until

    def follow_past(self, now: datetime, hosts: Sequence[str]) -> None:
        """Read the levels of the features of the last days, every ten minutes, in parts."""
        if self._past_until is not None and now - self._past_until < PAST_REFRESH:
            return
        start = now - PAST
        if self._past_until is not None and set(hosts) <= set(self._past):
            start = max(start, self._past_until - _PAST_OVERLAP)
        for first in range(0, len(hosts), _HOSTS_AT_ONCE):
            part = hosts[first : first + _HOSTS_AT_ONCE]
            for frame in self._store.features.read(self._tenant_id, Window(start, now), part, version=VERSION):
                new = levels(frame)
                known = self._past.get(frame.host)
                merged = joined([known, new] if known else [new], days=PAST.days)
                self._past[frame.host] = merged.frame(frame.host)
        self._past_until = now

    def minutes(self, host: str, after: datetime, until: datetime) -> SignalFrame | None:
        """Return the whole minutes of a host in a span (start excluded, end included); None if it has none yet."""
        known = self._recent.get(host)
        return _between(known, after, until) if known is not None else None

    def history(self, host: str, before: datetime) -> SignalFrame | None:
        """Return what is known of a host before an instant."""
        frames = [frame for frame in (self._past.get(host), self._recent.get(host)) if frame is not None]
        if not frames:
            return None
        return _between(joined(frames, days=PAST.days).frame(host), before - PAST, before - timedelta(seconds=1))

    def trailing(self, newest: Mapping[str, datetime], resolution_seconds: float) -> list[SignalFrame]:
        """Return, per host, the one row of the sixty seconds that end with its newest sample.

        A host that has not delivered for a whole minute yet is left out: its first seconds are no minute.
        """
        lookback = max(2, 2 + int(resolution_seconds // 60) * 2)
        rows: list[SignalFrame] = []
        for end in sorted(set(newest.values())):
            hosts = [host for host, ts in newest.items() if ts == end]
            window = Window(end - lookback * MINUTE, end)
            frames = self._read(window, _axis_back_from(end, lookback), hosts)
            rows += [_last_row(frame) for frame in frames.values() if _is_whole(frame)]
        return rows

    def forget(self, hosts: set[str]) -> None:
        """Drop all hosts but these."""
        self._recent = {host: frame for host, frame in self._recent.items() if host in hosts}
        self._past = {host: frame for host, frame in self._past.items() if host in hosts}

    def _read(self, window: Window, axis: Times, hosts: Sequence[str] | None = None) -> dict[str, SignalFrame]:
        wanted = Selection(self._tenant_id, window, Resolution.MINUTE, METRICS, hosts, Edge.END)
        by_host: dict[str, list[SeriesRows]] = {}
        for one in self._store.reader.read(wanted):
            by_host.setdefault(one.series.host, []).append(one)
        return {host: signals_from_buckets(host, own, axis) for host, own in by_host.items()}


def whole_minute(ts: datetime) -> datetime:
    """Return the last whole minute up to `ts`."""
    return ts.replace(second=0, microsecond=0)


def _seconds(ts: datetime) -> np.datetime64:
    return np.datetime64(ts.astimezone(UTC).replace(tzinfo=None), "s")


def _axis_back_from(end: datetime, minutes: int) -> Times:
    return _seconds(end) - np.arange(minutes - 1, -1, -1) * np.timedelta64(60, "s")


def _between(frame: SignalFrame, after: datetime, until: datetime) -> SignalFrame:
    inside = (frame.ts > _seconds(after)) & (frame.ts <= _seconds(until)) & np.isfinite(frame.values).any(axis=1)
    return replace(frame, ts=frame.ts[inside], values=frame.values[inside])


def _ending(frame: SignalFrame, until: datetime) -> SignalFrame:
    keep = frame.ts > _seconds(until - RECENT)
    return replace(frame, ts=frame.ts[keep], values=frame.values[keep])


def _last_row(frame: SignalFrame) -> SignalFrame:
    return replace(frame, ts=frame.ts[-1:], values=frame.values[-1:])


def _is_whole(frame: SignalFrame) -> bool:
    known = np.flatnonzero(np.isfinite(frame.values).any(axis=1))
    return len(known) > 1 and int(known[-1]) == len(frame.ts) - 1
