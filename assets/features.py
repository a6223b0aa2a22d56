"""Features: one row per minute and host, made causally of the day's samples and the week before."""

from typing import TYPE_CHECKING

import dagster as dg

from assets.shown import Metadata, span, table
from assets.work import TenantDay

if TYPE_CHECKING:
    from collectors_dagster.frames import SignalFrame

HISTORY_DAYS = 8
"""Days looked back for seasonal features: the week, and the margin of its first minutes."""


def feature_rows(day: TenantDay) -> Metadata:
    """Compute and store the features of every host of the day."""
    from collectors_dagster.features.feature_set import COLUMNS, VERSION, compute

    tools, tenant_id = day.tools, day.tenant.id
    measured = _measured(day)
    past = tools.recall.past(tenant_id, day.window, HISTORY_DAYS) if measured else {}
    frames = [compute(past.get(frame.host), frame) for frame in measured]
    rows = tools.store.features.write(tenant_id, day.window, frames, tools.run_id)
    tools.recall.remember(tenant_id, day.window, frames)
    return {
        "dagster/row_count": dg.MetadataValue.int(rows),
        "window": span(day.elapsed),
        "version": dg.MetadataValue.text(VERSION),
        "columns": dg.MetadataValue.int(len(COLUMNS)),
        "history_days": dg.MetadataValue.int(_days(past)),
        "hosts": table(
            ("host", "minutes", "signals measured"),
            [_row(frame) for frame in measured],
            empty="No host was measured on this day: there is nothing to describe.",
        ),
    }


def _measured(day: TenantDay) -> "list[SignalFrame]":
    """Return each host's signals minute by minute, from its first to its last measured one."""
    from collectors_dagster.features.axis import measured_span, minute_axis
    from collectors_dagster.features.signals import METRICS, signals_from_buckets
    from collectors_dagster.integrations.timescale.reading import Edge, Resolution, Selection

    axis = minute_axis(day.elapsed)
    if not len(axis):
        return []
    wanted = Selection(day.tenant.id, day.elapsed, Resolution.MINUTE, METRICS, edge=Edge.END)
    buckets = day.tools.store.reader.read(wanted)
    hosts = sorted({one.series.host for one in buckets})
    frames = [measured_span(signals_from_buckets(host, buckets, axis)) for host in hosts]
    return [frame for frame in frames if len(frame.ts)]


def _days(past: "dict[str, SignalFrame]") -> int:
    longest = max((len(frame.ts) for frame in past.values()), default=0)
    return longest // 1440


def _row(frame: "SignalFrame") -> tuple[object, ...]:
    from collectors_dagster.features.axis import known_signals

    return frame.host, len(frame.ts), ", ".join(known_signals(frame)) or "none"
