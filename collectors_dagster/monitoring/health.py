"""A host's health, 0 to 100, with its worst reasons. Pure.

``100 x product over groups of (1 - penalty)``; a group's penalty is the largest of what its signals show now, what the
forecast says about the next hours, what the anomaly scores say, and how stale the data are. Without data it is unknown:
100 would be a lie.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from collectors_dagster.frames import SignalFrame
from collectors_dagster.monitoring.recommendations import Advising, column, recommendations
from collectors_dagster.records import ForecastPoint, HealthReason, HealthReport, ModelState, ScoredMinute

ANOMALY_SPAN = timedelta(minutes=15)
OUTLOOK_SPAN = timedelta(hours=3)
STALE_AFTER_SECONDS = 120.0
UNKNOWN_AFTER_SECONDS = 1800.0
RECENT_ROWS = 15
MOST_REASONS = 3
LEAST_PENALTY = 0.01
_ALERT = 0.9


@dataclass(frozen=True, slots=True)
class Saturation:
    """When a signal starts to hurt and when it has taken everything.

    Attributes
    ----------
    begins, full : float
        Penalty 0 below the first, `most` from the second on.
    words : str
        How the signal is called in a sentence.
    """

    group: str
    begins: float
    full: float
    most: float
    words: str


SATURATION: dict[str, Saturation] = {
    "cpu_utilization_ratio": Saturation("cpu", 0.80, 1.00, 0.5, "processors in use"),
    "load_per_cpu": Saturation("cpu", 1.5, 4.0, 0.4, "load per processor"),
    "pressure_cpu_ratio": Saturation("cpu", 0.4, 0.9, 0.4, "tasks waiting for a processor"),
    "memory_used_ratio": Saturation("memory", 0.85, 0.98, 0.6, "memory in use"),
    "swap_used_ratio": Saturation("memory", 0.5, 1.0, 0.3, "swap in use"),
    "pressure_memory_ratio": Saturation("memory", 0.1, 0.5, 0.6, "tasks waiting for memory"),
    "filesystem_used_ratio": Saturation("disk", 0.85, 0.99, 0.7, "fullest file system"),
    "disk_busy_ratio": Saturation("disk", 0.8, 1.0, 0.3, "busiest disk"),
    "cpu_iowait_ratio": Saturation("disk", 0.2, 0.6, 0.3, "processors waiting for disks"),
    "pressure_io_ratio": Saturation("disk", 0.3, 0.8, 0.4, "tasks waiting for disks"),
}
"""Signals whose height alone costs health. Traffic has no limit of its own; it counts through anomalies."""

_GROUP_OF_OTHERS = {
    "disk_read_bytes_per_second": "disk",
    "disk_written_bytes_per_second": "disk",
    "network_receive_bytes_per_second": "network",
    "network_transmit_bytes_per_second": "network",
}


def group_of(signal: str) -> str:
    """Return the group a signal belongs to."""
    rule = SATURATION.get(signal)
    return rule.group if rule else _GROUP_OF_OTHERS.get(signal, "host")


def judge(
    host: str,
    now: datetime,
    recent: SignalFrame,
    scores: Sequence[ScoredMinute],
    forecast: Sequence[ForecastPoint],
    *,
    last_sample_age_seconds: float | None,
    advising: Advising | None = None,
) -> HealthReport:
    """Judge one host.

    Parameters
    ----------
    recent : SignalFrame
        Minutes up to `now`; health looks at the last quarter of an hour, advice at all of them.
    scores : sequence of ScoredMinute
        Of this host; those of the last quarter of an hour count.
    forecast : sequence of ForecastPoint
        Of this host; the newest issue counts.
    last_sample_age_seconds : float or None
        How old the newest sample is; None if there is none.
    advising : Advising, optional
        What advice is reckoned with: prices, and the host's size.

    Returns
    -------
    HealthReport
        Score None, with the reason, if nothing was measured or the data are older than half an hour.
    """
    unknown = _unknown(recent, last_sample_age_seconds)
    if unknown is not None or last_sample_age_seconds is None:
        return HealthReport(host, now, None, (unknown,) if unknown else (), ())
    newest = _newest_issue(forecast)
    found = [
        *_saturation_reasons(recent),
        *_outlook_reasons(newest, now),
        *_anomaly_reasons(scores, now),
        *_stale_reasons(last_sample_age_seconds),
    ]
    worst = _worst_by_group(found)
    health = 100.0 * float(np.prod([1.0 - reason.penalty for reason in worst]))
    advice = recommendations(recent, newest, now, advising or Advising())
    return HealthReport(host, now, round(health), tuple(worst[:MOST_REASONS]), tuple(advice))


def _unknown(recent: SignalFrame, age: float | None) -> HealthReason | None:
    if age is None or not np.isfinite(recent.values).any():
        return HealthReason("collectors", 1.0, "nothing was measured: health is unknown")
    if age > UNKNOWN_AFTER_SECONDS:
        return HealthReason("collectors", 1.0, f"the newest sample is {_duration(age)} old: health is unknown")
    return None


def _worst_by_group(found: Sequence[HealthReason]) -> list[HealthReason]:
    """Return each group's largest penalty, largest first."""
    worst: dict[str, HealthReason] = {}
    for reason in found:
        if reason.penalty >= LEAST_PENALTY and reason.penalty > _penalty(worst.get(reason.group)):
            worst[reason.group] = reason
    return sorted(worst.values(), key=lambda reason: (-reason.penalty, reason.group))


def _penalty(reason: HealthReason | None) -> float:
    return reason.penalty if reason else 0.0


def _ramp(value: float, rule: Saturation) -> float:
    """Return the penalty of a value: 0, rising linearly to the rule's most."""
    return float(np.clip((value - rule.begins) / (rule.full - rule.begins), 0.0, 1.0)) * rule.most


def _saturation_reasons(recent: SignalFrame) -> list[HealthReason]:
    reasons = []
    for signal, rule in SATURATION.items():
        values = column(recent, signal)[-RECENT_ROWS:]
        if len(values):
            level = float(np.mean(values))
            text = f"{rule.words}: {_amount(signal, level)} over the last {len(values)} minutes"
            reasons.append(HealthReason(rule.group, _ramp(level, rule), text))
    return reasons


def _newest_issue(forecast: Sequence[ForecastPoint]) -> list[ForecastPoint]:
    newest = max((point.issued_at for point in forecast), default=None)
    return [point for point in forecast if point.issued_at == newest]


def _outlook_reasons(forecast: Sequence[ForecastPoint], now: datetime) -> list[HealthReason]:
    """Penalise what is expected within three hours, half as much as if it were there already."""
    reasons = []
    for point in forecast:
        rule = SATURATION.get(point.signal)
        if rule and now < point.ts <= now + OUTLOOK_SPAN:
            ahead = (point.ts - now).total_seconds()
            text = f"{rule.words}: {_amount(point.signal, point.mean)} expected in {_duration(ahead)}"
            reasons.append(HealthReason(rule.group, 0.5 * _ramp(point.mean, rule), text))
    return reasons


def _anomaly_reasons(scores: Sequence[ScoredMinute], now: datetime) -> list[HealthReason]:
    """Penalise alerting minutes of the last quarter of an hour, the newest most, in the group that caused them."""
    recent = [one for one in scores if now - ANOMALY_SPAN < one.ts <= now and one.score >= _ALERT]
    reasons = []
    for group in sorted({_cause(one) for one in recent}):
        own = [one for one in recent if _cause(one) == group]
        ages = [(now - one.ts) / ANOMALY_SPAN for one in own]
        penalty = min(0.5, 0.1 * sum(1.0 - age for age in ages) + 0.05)
        peak = max(one.score for one in own)
        text = f"{len(own)} anomalous minutes in the last 15, score up to {peak:.2f}"
        reasons.append(HealthReason(group, penalty, text + _honesty(own[-1].state)))
    return reasons


def _cause(minute: ScoredMinute) -> str:
    return group_of(minute.contributions[0].signal) if minute.contributions else "host"


def _honesty(state: ModelState) -> str:
    return "" if state is ModelState.READY else f" (model still {state.value})"


def _stale_reasons(age: float) -> list[HealthReason]:
    if age <= STALE_AFTER_SECONDS:
        return []
    share = (age - STALE_AFTER_SECONDS) / (UNKNOWN_AFTER_SECONDS - STALE_AFTER_SECONDS)
    return [HealthReason("collectors", 0.2 + 0.6 * share, f"the newest sample is {_duration(age)} old")]


def _amount(signal: str, value: float) -> str:
    return f"{value:.0%}" if signal.endswith("_ratio") else f"{value:.2f}"


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:.0f} days"
