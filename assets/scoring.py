"""Scoring: the scores of record with their incidents, the forecast, and the health of every host."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from assets.advice import act_ahead, advice_text, checked_advice
from assets.pictures import forecast_picture, health_picture, score_picture
from assets.shown import Metadata, minute, span, table
from assets.work import TenantDay
from collectors_dagster.patterns.metrics import process_metrics
from collectors_dagster.records import ForecastPoint, HealthReport, Incident, ModelState, ScoredMinute, Window

if TYPE_CHECKING:
    from collectors_dagster.frames import SignalFrame
    from collectors_dagster.models.host_outlook import Trust
    from collectors_dagster.records import Feedback

HISTORY_DAYS = 7
LIKENESS_DAYS = 30
"""How far back earlier episodes are looked for."""
SHOWN_HORIZONS = (timedelta(hours=1), timedelta(hours=24))
RECENT = timedelta(hours=1)


def score_day(day: TenantDay) -> Metadata:
    """Score every minute with the champion and group the anomalous ones to incidents."""
    from collectors_dagster.monitoring.feedback import LearntNormal, said_of
    from collectors_dagster.monitoring.incidents import group_incidents

    store, recall, tenant = day.tools.store, day.tools.recall, day.tenant
    detector, past = day.tools.champions.detector(tenant.id), recall.past(tenant.id, day.window, HISTORY_DAYS)
    scored = [
        scored_minute
        for frame in recall.day(tenant.id, day.window)
        for scored_minute in detector.detector(frame.host).score(frame, past.get(frame.host))
    ]
    verdicts = store.feedback.list(tenant.id)
    heeded = LearntNormal(verdicts).heeded(scored)
    incidents = group_incidents(heeded, tenant.system.anomaly_threshold, tenant_id=tenant.id)
    month = Window(day.window.start - timedelta(days=LIKENESS_DAYS), day.window.end)
    earlier = [*store.incidents.list(tenant.id, month, "batch"), *incidents]
    store.scores.replace(tenant.id, "batch", day.window, scored)
    store.incidents.replace_batch(tenant.id, day.window, incidents)
    return {
        "dagster/row_count": dg.MetadataValue.int(len(scored)),
        "window": span(day.elapsed),
        "incidents": dg.MetadataValue.int(len(incidents)),
        "not_raised": dg.MetadataValue.int(_silenced(scored, heeded, tenant.system.anomaly_threshold)),
        "model": dg.MetadataValue.text(detector.version),
        "model_state": dg.MetadataValue.text(_states(detector.states())),
        "episodes": table(
            ("host", "from", "to", "severity", "what", "how rare", "like", "people say"),
            [(*_episode(one), _like(one, earlier, verdicts), said_of(one, verdicts)) for one in incidents],
            empty="No incident.",
        ),
        **score_picture(scored, incidents, day.elapsed, tenant.system.anomaly_threshold),
    }


def forecast_day(day: TenantDay) -> Metadata:
    """Forecast the next 24 hours of every host.

    A day that is over keeps what was said while it lasted; if nothing was said then, it is forecast once from what
    was known at its start.
    """
    store, recall, tenant = day.tools.store, day.tools.recall, day.tenant
    today = recall.day(tenant.id, day.window)
    if day.is_over and (said := _said_on(day, today)):
        kept = dg.MetadataValue.text("Said while the day lasted; not changed.")
        return {"note": kept, **_shown(said, today), **_accuracy(said, today)}
    forecaster, version = day.tools.champions.forecaster(tenant.id)
    issued_at = day.window.start if day.is_over else day.elapsed.end
    known = _known_hosts(recall.past(tenant.id, day.window, HISTORY_DAYS), today)
    points, trusted = [], []
    for frame in known:
        points += forecaster.forecast(frame, issued_at)
        trusted += [(frame.host, signal, one) for signal, one in forecaster.trust(frame, issued_at).items()]
    said = [] if day.is_over else _forecasts(day, [frame.host for frame in today], day.elapsed)
    _report_accuracy([point for point in said if point.ts > issued_at - RECENT], today)
    store.forecasts.write(tenant.id, points, version)
    return {
        "model": dg.MetadataValue.text(version),
        "model_state": dg.MetadataValue.text(_states(forecaster.states())),
        **_shown(points, today),
        "confidence": _confidence(trusted),
        **_accuracy(said or points, today),
    }


def _confidence(trusted: "Sequence[tuple[str, str, Trust]]") -> dg.MarkdownMetadataValue:
    """Show each signal's confidence beside how last week's intervals held."""
    rows = [
        (host, signal, _known(one.confidence, ".2f"), _known(one.held80, ".0%"), _known(one.held95, ".0%"))
        for host, signal, one in trusted
    ]
    columns = ("host", "signal", "confidence", "80 % held", "95 % held")
    return table(columns, rows, empty="Nothing can be said yet: no minute of these hosts is known.")


def _known(value: float, form: str) -> str:
    return "not known yet" if math.isnan(value) else format(value, form)


def _report_accuracy(due: Sequence[ForecastPoint], today: "Sequence[SignalFrame]") -> None:
    """Count for Prometheus how the forecasts did that came due within the last hour."""
    from collectors_dagster.monitoring.forecast_accuracy import judge_forecasts

    for one in judge_forecasts(due, today):
        process_metrics().observe("ml_prediction_accuracy", one.signal, value=one.accuracy)


def _accuracy(said: Sequence[ForecastPoint], today: "Sequence[SignalFrame]") -> Metadata:
    """Show how the day's forecasts did whose instants have come, beside what their intervals promise."""
    from collectors_dagster.monitoring.forecast_accuracy import judge_forecasts

    judged = judge_forecasts(said, today)
    rows = [(one.signal, one.due, f"{one.accuracy:.2f}", f"{one.held80:.0%}", f"{one.held95:.0%}") for one in judged]
    columns = ("signal", "came due", "accuracy", "80 % held", "95 % held")
    shown = table(columns, rows, empty="No forecast for this day has come due yet.")
    if not judged:
        return {"accuracy": shown}
    mean = sum(one.accuracy * one.due for one in judged) / sum(one.due for one in judged)
    return {"accuracy": shown, "ml_prediction_accuracy": dg.MetadataValue.float(round(mean, 4))}


def _said_on(day: TenantDay, today: "Sequence[SignalFrame]") -> list[ForecastPoint]:
    """Return what was forecast for the day's instants on the day itself."""
    points = _forecasts(day, [frame.host for frame in today], day.window)
    return [point for point in points if point.issued_at > day.window.start]


def _forecasts(day: TenantDay, hosts: Sequence[str], window: Window) -> list[ForecastPoint]:
    from collectors_dagster.models.cells import FORECAST_SIGNALS

    read = day.tools.store.forecasts.read
    return [
        point for host in hosts for signal in FORECAST_SIGNALS for point in read(day.tenant.id, window, host, signal)
    ]


def _shown(points: Sequence[ForecastPoint], today: "Sequence[SignalFrame]") -> Metadata:
    issues = sorted({point.issued_at for point in points})
    issued = f"{minute(issues[-1])} UTC" if issues else "nothing"
    return {
        "dagster/row_count": dg.MetadataValue.int(len(points)),
        "issues": dg.MetadataValue.int(len(issues)),
        "issued": dg.MetadataValue.text(issued),
        "latest": _latest(points),
        **forecast_picture(points, today),
    }


def judge_health(day: TenantDay) -> Metadata:
    """Judge every host at the end of the day, or now."""
    recall, tenant_id = day.tools.recall, day.tenant.id
    known = _known_hosts(recall.past(tenant_id, day.window, HISTORY_DAYS), recall.day(tenant_id, day.window))
    sizes = _cpus(day)
    reports = [_judged(day, frame, sizes.get(frame.host)) for frame in known]
    day.tools.store.health.write(day.tenant.id, reports)
    due = {**checked_advice(day, known), **act_ahead(day, reports)}
    return {
        "dagster/row_count": dg.MetadataValue.int(len(reports)),
        "lowest": dg.MetadataValue.text(_lowest(reports)),
        "hosts": table(
            ("host", "health", "because", "advice"),
            [_health_row(one) for one in reports],
            empty="No host is known on this day.",
        ),
        **due,
        **health_picture(reports),
    }


def _cpus(day: TenantDay) -> dict[str, float]:
    """Return the processors of each host, as they were delivered last on this day."""
    from collectors_dagster.integrations.timescale.reading import Resolution, Selection

    wanted = Selection(day.tenant.id, day.window, Resolution.HOUR, ("cpu_count",))
    return {one.series.host: float(one.numbers["max"][-1].item()) for one in day.tools.store.reader.read(wanted)}


def _judged(day: TenantDay, frame: "SignalFrame", cpus: float | None) -> HealthReport:
    from collectors_dagster.monitoring.health import judge
    from collectors_dagster.monitoring.recommendations import Advising

    prices = day.tools.deployment.settings.prices

    now, store, tenant_id = day.elapsed.end, day.tools.store, day.tenant.id
    ahead = Window(now, now + timedelta(hours=24))
    return judge(
        frame.host,
        now,
        recent=frame,
        scores=store.scores.read(tenant_id, "batch", Window(now - RECENT, now), frame.host),
        forecast=[point for point in _forecasts(day, [frame.host], ahead) if point.issued_at <= now],
        last_sample_age_seconds=_age_seconds(frame, now),
        advising=Advising(prices.cpu_month, prices.currency, cpus),
    )


def _age_seconds(frame: "SignalFrame", now: datetime) -> float | None:
    """Return how old the newest minute was at `now`."""
    if not len(frame.ts):
        return None
    return now.timestamp() - float(frame.ts[-1].astype("datetime64[s]").astype(int))


def _known_hosts(past: "dict[str, SignalFrame]", today: "Sequence[SignalFrame]") -> "list[SignalFrame]":
    """Return what is known of each host: the week before and the day, joined."""
    from collectors_dagster.features.timeline import joined

    hosts = {frame.host: frame for frame in today}
    names = sorted(past.keys() | hosts.keys())
    known = {name: [one[name] for one in (past, hosts) if name in one] for name in names}
    return [joined(frames, days=HISTORY_DAYS + 1).frame(name) for name, frames in known.items()]


def _latest(points: Sequence[ForecastPoint]) -> dg.MarkdownMetadataValue:
    from collectors_dagster.monitoring.wording import quantity, signal_name

    newest = max((point.issued_at for point in points), default=None)
    rows = [
        (
            *(p.host, signal_name(p.signal), f"{(p.ts - p.issued_at) // timedelta(hours=1)} h"),
            quantity(p.signal, p.mean),
            *(
                f"{quantity(p.signal, a)} to {quantity(p.signal, b)}"
                for a, b in ((p.low80, p.high80), (p.low95, p.high95))
            ),
        )
        for p in points
        if p.issued_at == newest and (p.ts - p.issued_at) in SHOWN_HORIZONS
    ]
    columns = ("host", "signal", "in", "mean", "80 %", "95 %")
    return table(columns, rows, empty="Nothing can be said yet: no minute of these hosts is known.")


def _states(states: Mapping[str, ModelState]) -> str:
    """Say how much history is behind each host's model."""
    said = ", ".join(f"{host}: {state}" for host, state in states.items())
    return said or "no model yet: train the models first; until then only what is certain is said"


def _episode(incident: Incident) -> tuple[object, ...]:
    from collectors_dagster.monitoring.wording import rarity_text

    end = minute(incident.resolved_at) if incident.resolved_at else "open"
    rarity = rarity_text(incident.peak_score)
    return incident.host, minute(incident.opened_at), end, incident.severity, incident.title, rarity


def _like(incident: Incident, earlier: Sequence[Incident], verdicts: "Sequence[Feedback]") -> str:
    """Return the nearest earlier episode, and what people said of it."""
    from collectors_dagster.monitoring.feedback import said_of
    from collectors_dagster.monitoring.likeness import nearest_earlier

    found = nearest_earlier(incident, earlier)
    if found is None:
        return "nothing earlier"
    said = said_of(found, verdicts)
    return minute(found.opened_at) + (f", {said}" if said else "")


def _silenced(scored: Sequence[ScoredMinute], heeded: Sequence[ScoredMinute], threshold: float) -> int:
    """Count the minutes that reach the threshold and that a person called normal."""
    return sum(one.score >= threshold > other.score for one, other in zip(scored, heeded, strict=True))


def _lowest(reports: Sequence[HealthReport]) -> str:
    known = [(one.score, one.host) for one in reports if one.score is not None]
    return "unknown: no data" if not known else f"{min(known)[0]} of 100 on {min(known)[1]}"


def _health_row(report: HealthReport) -> tuple[object, ...]:
    because = "; ".join(reason.text for reason in report.reasons) or "nothing is missing"
    advice = "; ".join(map(advice_text, report.recommendations)) or "none"
    return report.host, "unknown" if report.score is None else report.score, because, advice
