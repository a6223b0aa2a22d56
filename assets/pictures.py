"""The pictures in the metadata of scores, forecasts and health."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from assets.shown import Metadata
from collectors_dagster.monitoring.plots import Line, Picture, as_markdown
from collectors_dagster.records import ForecastPoint, HealthReport, Incident, ScoredMinute, Window

if TYPE_CHECKING:
    from collectors_dagster.frames import SignalFrame

MOST_HOSTS = 3
"""Pictures per asset and tenant; hosts beyond these are in the tables only."""


def score_picture(
    scored: Sequence[ScoredMinute], incidents: Sequence[Incident], window: Window, threshold: float
) -> Metadata:
    """Draw each host's score over the day, incidents shaded, the alert threshold dashed."""
    hosts = sorted({one.host for one in scored})[:MOST_HOSTS]
    return {
        f"scores {host}": _shown(
            Picture(
                caption=f"0 to 1; dashed: alerts from {threshold:g}; shaded: incidents",
                window=window,
                low=0.0,
                high=1.0,
                lines=[Line([(one.ts, one.score) for one in scored if one.host == host])],
                marks=[threshold],
                shaded=[_episode(one, window) for one in incidents if one.host == host],
            )
        )
        for host in hosts
    }


def forecast_picture(points: Sequence[ForecastPoint], today: "Sequence[SignalFrame]") -> Metadata:
    """Draw the newest forecast of each host's processor use with its 95 % interval, after what was measured."""
    signal = "cpu_utilization_ratio"
    newest = max((one.issued_at for one in points), default=None)
    shown: dict[str, dg.MarkdownMetadataValue] = {}
    for host in sorted({one.host for one in points})[:MOST_HOSTS]:
        ahead = [p for p in points if (p.host, p.signal, p.issued_at) == (host, signal, newest)]
        if ahead:
            shown[f"forecast {host}"] = _shown(_forecast_of(_measured(today, host, signal), ahead))
    return shown


def health_picture(reports: Sequence[HealthReport]) -> Metadata:
    """Draw each host's health as a bar."""
    known = [one for one in reports if one.score is not None]
    if not known:
        return {}
    bars = "\n".join(
        f"{one.host}: {'█' * ((one.score or 0) // 5)}{'░' * (20 - (one.score or 0) // 5)} {one.score}" for one in known
    )
    return {"health": dg.MetadataValue.md(f"```\n{bars}\n```")}


def _forecast_of(before: list[tuple[datetime, float]], ahead: Sequence[ForecastPoint]) -> Picture:
    start = before[0][0] if before else ahead[0].issued_at
    highest = max([value for _, value in before if math.isfinite(value)] + [p.high95 for p in ahead], default=1.0)
    top = min(max(highest, 0.1), 1.0)
    return Picture(
        caption=f"processor use, 0 to {top:.0%}: measured, then forecast; band: 95 %".replace("%:", " %:"),
        window=Window(start, ahead[-1].ts),
        low=0.0,
        high=top,
        lines=[
            Line(before),
            Line(
                [(p.ts, p.mean) for p in ahead],
                color="#d60",
                band=[(p.ts, p.low95, p.high95) for p in ahead],
            ),
        ],
    )


def _measured(frames: "Sequence[SignalFrame]", host: str, signal: str) -> list[tuple[datetime, float]]:
    for frame in frames:
        if frame.host == host and signal in frame.signals:
            column = frame.values[:, frame.signals.index(signal)]
            times = frame.ts.astype("datetime64[s]").astype(int)
            return [(datetime.fromtimestamp(int(t), tz=UTC), float(v)) for t, v in zip(times, column, strict=True)]
    return []


def _episode(incident: Incident, window: Window) -> Window:
    return Window(incident.opened_at, incident.resolved_at or window.end)


def _shown(picture: Picture) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(as_markdown(picture))
