"""Advice with its evidence, what it would save, and a claim that the following days confirm or refute. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from collectors_dagster.frames import Floats, SignalFrame
from collectors_dagster.records import Claim, ForecastPoint, Recommendation, Statistic

DAY_ROWS = 1440
CLAIM_DAYS = 7
"""Advice about a host's size or disk is checked against the week after it."""
IDLE_BELOW = 0.2
TIGHT_FROM = 0.9
TARGET_USE = 0.6
"""Share of the processors that the busiest 5 % of minutes would use on a machine of the right size."""
PEAK_FROM = 0.8
PEAK_SPAN = timedelta(hours=1)
LEAST_KNOWN = 0.5
"""Share of a claim's minutes that must be measured to judge it."""


@dataclass(frozen=True, slots=True)
class Advising:
    """What advice is reckoned with.

    Attributes
    ----------
    cpu_month : float or None
        Price of a processor for a month; None: not known, so no saving is said.
    currency : str
    cpus : float or None
        Processors of the host.
    """

    cpu_month: float | None = None
    currency: str = ""
    cpus: float | None = None


def column(frame: SignalFrame, signal: str) -> Floats:
    """Return the known values of a signal, oldest first."""
    if signal not in frame.signals:
        return np.empty(0)
    values = frame.values[:, frame.signals.index(signal)]
    return values[np.isfinite(values)]


def recommendations(
    recent: SignalFrame, forecast: Sequence[ForecastPoint], now: datetime, advising: Advising
) -> list[Recommendation]:
    """Return advice, each with its evidence; nothing is advised from less than a day of minutes.

    Parameters
    ----------
    recent : SignalFrame
        The longer, the surer: confidence grows to its full at fourteen days.
    forecast : sequence of ForecastPoint
        One issue.
    """
    advice = [
        _idle(recent, now, advising),
        _tight_memory(recent, now),
        _filling_disk(recent, now),
        _coming_load(recent, forecast),
    ]
    return [one for one in advice if one is not None]


def came_true(claim: Claim, measured: SignalFrame) -> bool | None:
    """Say whether a claim came true; None if too little was measured to tell.

    Parameters
    ----------
    measured : SignalFrame
        Minutes of the claim's host; those of its span count.
    """
    inside = (measured.ts > _stamp(claim.start)) & (measured.ts <= _stamp(claim.end))
    values = column(replace(measured, ts=measured.ts[inside], values=measured.values[inside]), claim.signal)
    if len(values) < LEAST_KNOWN * (claim.end - claim.start) / timedelta(minutes=1):
        return None
    return claim.low <= _figure(claim.statistic, values) <= claim.high


def _figure(statistic: Statistic, values: Floats) -> float:
    if statistic is Statistic.P95:
        return float(np.quantile(values, 0.95))
    return float(values.max()) if statistic is Statistic.MAX else float(values[-60:].mean())


def _stamp(instant: datetime) -> np.datetime64:
    return np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "s")


def _confidence(rows: int) -> float:
    return round(float(np.clip(rows / (14 * DAY_ROWS), 0.0, 1.0)) * 0.9, 2)


def _week(now: datetime, signal: str, statistic: Statistic, low: float, high: float) -> Claim:
    return Claim(signal, statistic, low, high, now, now + timedelta(days=CLAIM_DAYS))


def _idle(recent: SignalFrame, now: datetime, advising: Advising) -> Recommendation | None:
    cpu = column(recent, "cpu_utilization_ratio")
    if len(cpu) < DAY_ROWS or np.quantile(cpu, 0.95) >= IDLE_BELOW:
        return None
    busy = float(np.quantile(cpu, 0.95))
    return Recommendation(
        "downsize",
        "The processors are mostly idle: a smaller machine would do, or more work could move here.",
        f"95 % of {len(cpu)} minutes used at most {busy:.0%} of the processors{_size(busy, advising)}",
        _confidence(len(cpu)),
        saving_per_month=_saving(busy, advising),
        currency=advising.currency,
        claim=_week(now, "cpu_utilization_ratio", Statistic.P95, 0.0, IDLE_BELOW),
    )


def _needed(busy: float, cpus: float) -> int:
    """Return the processors that would do for a share `busy` of `cpus`."""
    return max(1, math.ceil(busy * cpus / TARGET_USE))


def _size(busy: float, advising: Advising) -> str:
    if advising.cpus is None or _needed(busy, advising.cpus) >= advising.cpus:
        return ""
    return f"; {_needed(busy, advising.cpus)} of {advising.cpus:.0f} would do, {TARGET_USE:.0%} used"


def _saving(busy: float, advising: Advising) -> float | None:
    """Return what fewer processors would save; None where price or size is not known, or nothing can be saved."""
    if advising.cpus is None or advising.cpu_month is None:
        return None
    saved = advising.cpus - _needed(busy, advising.cpus)
    return round(saved * advising.cpu_month, 2) if saved > 0 and advising.cpu_month > 0 else None


def _tight_memory(recent: SignalFrame, now: datetime) -> Recommendation | None:
    memory = column(recent, "memory_used_ratio")
    if len(memory) < DAY_ROWS or np.quantile(memory, 0.95) < TIGHT_FROM:
        return None
    return Recommendation(
        "memory",
        "Memory is tight: add some, or move work away.",
        f"5 % of {len(memory)} minutes used more than {np.quantile(memory, 0.95):.0%} of the memory",
        _confidence(len(memory)),
        claim=_week(now, "memory_used_ratio", Statistic.P95, TIGHT_FROM, 1.0),
    )


def _filling_disk(recent: SignalFrame, now: datetime) -> Recommendation | None:
    """Extrapolate the fullest file system by the median of its hourly slopes (after Theil and Sen)."""
    used = column(recent, "filesystem_used_ratio")
    if len(used) < DAY_ROWS:
        return None
    hourly = used[: len(used) // 60 * 60].reshape(-1, 60).mean(axis=1)
    gap = max(len(hourly) // 2, 1)
    slopes = (hourly[gap:] - hourly[:-gap]) / gap * 24.0
    low, slope, high = np.quantile(slopes, [0.1, 0.5, 0.9])
    days = (1.0 - used[-1]) / slope if slope > 0 else np.inf
    if days > 30.0 or low <= 0:
        return None
    week = min(1.0, used[-1] + low * CLAIM_DAYS), min(1.0, used[-1] + high * CLAIM_DAYS)
    return Recommendation(
        "disk-full",
        f"The fullest file system will be full in about {days:.0f} days: clean up or enlarge it.",
        f"{used[-1]:.0%} used, growing by {slope:.1%} a day "
        f"(80 %: full in {(1 - used[-1]) / high:.0f} to {(1 - used[-1]) / low:.0f} days)",
        _confidence(len(used)),
        claim=_week(now, "filesystem_used_ratio", Statistic.LAST, float(week[0]), float(week[1])),
    )


def _coming_load(recent: SignalFrame, forecast: Sequence[ForecastPoint]) -> Recommendation | None:
    """Warn of a peak that even the lower end of the 80 % interval puts above what hurts."""
    cpu = column(recent, "cpu_utilization_ratio")
    peaks = [point for point in forecast if point.signal == "cpu_utilization_ratio" and point.low80 >= PEAK_FROM]
    if len(cpu) < DAY_ROWS or not peaks:
        return None
    first = min(peaks, key=lambda point: point.ts)
    return Recommendation(
        "peak",
        f"A processor peak is expected around {first.ts:%H:%M} UTC: move batch work away from it.",
        f"expected {first.mean:.0%}, 80 % interval {first.low80:.0%} to {first.high80:.0%}",
        0.8,
        claim=Claim(first.signal, Statistic.MAX, PEAK_FROM, math.inf, first.ts - PEAK_SPAN, first.ts + PEAK_SPAN),
    )


def saving_text(one: Recommendation) -> str:
    """Return what a recommendation would save, in words; nothing where that is not known.

    Examples
    --------
    >>> saving_text(Recommendation("downsize", "", "", 0.5, saving_per_month=42.0, currency="EUR"))
    'saves about 42 EUR a month'
    """
    if one.saving_per_month is None:
        return ""
    return f"saves about {one.saving_per_month:.0f} {one.currency}".rstrip() + " a month"
