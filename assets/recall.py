"""The signals of past days, read once per run.

A day's features need the week before it, and a run over many days walks them in order: what one day computed is
the past of the next. The levels inside stored features are the signals they were made of, so looking back needs no
samples.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import Window

if TYPE_CHECKING:
    from collectors_dagster.frames import FeatureFrame, SignalFrame

DAY = timedelta(days=1)


class Recall:
    """Signals of one tenant at a time, day by day."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tenant = ""
        self._days: dict[Window, list[SignalFrame]] = {}

    def remember(self, tenant_id: str, day: Window, frames: "Sequence[FeatureFrame]") -> None:
        """Note the features just computed for `day`."""
        from collectors_dagster.features.feature_set import levels

        self._turn_to(tenant_id)
        self._days[day] = [levels(frame) for frame in frames]

    def day(self, tenant_id: str, day: Window) -> "list[SignalFrame]":
        """Return one frame per host measured on `day`."""
        self._turn_to(tenant_id)
        if day not in self._days:
            version, read = _feature_version(), self._store.features.read
            self.remember(tenant_id, day, read(tenant_id, day, version=version))
        return self._days[day]

    def past(self, tenant_id: str, day: Window, days: int) -> "dict[str, SignalFrame]":
        """Return, per host, the `days` days before `day` joined into one frame; hosts without any are absent."""
        self._forget_before(day.start - days * DAY)
        windows = [Window(day.start - back * DAY, day.end - back * DAY) for back in range(days, 0, -1)]
        return _joined([frame for window in windows for frame in self.day(tenant_id, window)], days)

    def _turn_to(self, tenant_id: str) -> None:
        if tenant_id != self._tenant:
            self._tenant, self._days = tenant_id, {}

    def _forget_before(self, start: datetime) -> None:
        self._days = {day: frames for day, frames in self._days.items() if day.start >= start}


def _joined(frames: "Sequence[SignalFrame]", days: int) -> "dict[str, SignalFrame]":
    from collectors_dagster.features.timeline import joined

    by_host: dict[str, list[SignalFrame]] = {}
    for frame in frames:
        by_host.setdefault(frame.host, []).append(frame)
    return {host: joined(of_host, days=days).frame(host) for host, of_host in by_host.items()}


def _feature_version() -> str:
    from collectors_dagster.features.feature_set import VERSION

    return VERSION
