"""How good a candidate is: planted faults found, alerts on untouched rows, forecast errors and observed coverage."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from collectors_dagster.features.timeline import DAY_MINUTES
from collectors_dagster.frames import Floats, SignalFrame, Times
from collectors_dagster.models.cells import STEPS
from collectors_dagster.models.host_detector import HostDetector
from collectors_dagster.models.host_outlook import HostOutlook
from collectors_dagster.models.injection import FAULTS, Injected, inject
from collectors_dagster.records import ScoredMinute

EPISODE_GAP_MINUTES = 5
TIMES_PER_FAULT = 3
_LATE_ROWS = 2
_LEAST_RATIO = 1e-3


@dataclass(frozen=True, slots=True)
class DetectorTrial:
    """One host's trial.

    Attributes
    ----------
    ts, scores : the untouched rows
    found, planted : by kind of fault
    delays : minutes from the start of each found fault to its first alert
    held_out : bool
        Whether the rows were unknown to the detector on trial.
    causes : mapping
        Signal to the number of planted and untouched minutes that were explained, and that it led.
    """

    host: str
    ts: Times
    scores: Floats
    found: Mapping[str, int]
    planted: Mapping[str, int]
    delays: tuple[float, ...]
    held_out: bool
    causes: Mapping[str, int] = field(default_factory=dict)


def try_detector(
    detector: HostDetector,
    rows: SignalFrame,
    *,
    threshold: float,
    seed: int,
    held_out: bool,
    history: SignalFrame | None = None,
) -> DetectorTrial:
    """Score untouched rows and rows with known faults.

    Parameters
    ----------
    rows : SignalFrame
        Minutes after the detector's training, or (with `held_out` False) the training itself.
    threshold : float
        Shown score from which a minute alerts.
    history : SignalFrame, optional
        Minutes between the training and `rows`.
    """
    clean = detector.score(rows, history)
    scores = np.array([one.score for one in clean])
    ts = np.array([np.datetime64(one.ts.replace(tzinfo=None), "s") for one in clean], dtype="datetime64[s]")
    found, planted, delays = {}, {}, []
    causes = _leads(clean)
    for fault in FAULTS:
        injected = inject(rows, fault, times=TIMES_PER_FAULT, seed=seed)
        if len(injected.starts):
            answers = [_during(detector, injected, int(start), history) for start in injected.starts]
            for answer in answers:
                causes.update(_leads(answer))
            own = [delay for answer in answers if (delay := _delay(answer, threshold)) is not None]
            found[fault.kind], planted[fault.kind] = len(own), len(injected.starts)
            delays += own
    return DetectorTrial(detector.host, ts, scores, found, planted, tuple(delays), held_out, dict(causes))


def _leads(minutes: Sequence[ScoredMinute | None]) -> Counter[str]:
    """Count the explained minutes by their first cause."""
    return Counter(one.contributions[0].signal for one in minutes if one is not None and one.contributions)


def leading_signals(trials: Sequence[DetectorTrial]) -> dict[str, float]:
    """Return each signal's share of the explained minutes that it led, the largest first; none of none."""
    total: Counter[str] = Counter()
    for trial in trials:
        total.update(trial.causes)
    return {signal: count / total.total() for signal, count in total.most_common()}


def _during(
    detector: HostDetector, injected: Injected, start: int, history: SignalFrame | None
) -> list[ScoredMinute | None]:
    """Score the minutes in which a fault may be noticed; None where nothing was measured."""
    frame, end = injected.frame, start + injected.fault.minutes + _LATE_ROWS
    before = [one for one in (history, _part(frame, slice(start))) if one is not None]
    known = replace(
        frame, ts=np.concatenate([one.ts for one in before]), values=np.concatenate([one.values for one in before])
    )
    asked = _part(frame, slice(start, end))
    told = {np.datetime64(one.ts.replace(tzinfo=None), "s"): one for one in detector.score(asked, known)}
    return [told.get(ts) for ts in asked.ts.astype("datetime64[s]")]


def _part(frame: SignalFrame, rows: slice) -> SignalFrame:
    return replace(frame, ts=frame.ts[rows], values=frame.values[rows])


def _delay(answer: Sequence[ScoredMinute | None], threshold: float) -> float | None:
    """Return the minutes until a fault was noticed; None if it was not."""
    rows = (row for row, one in enumerate(answer) if one is not None and one.score >= threshold)
    first = next(rows, None)
    return None if first is None else first + 1.0


def episodes(scores: Floats, threshold: float) -> int:
    """Count runs of alerting rows, joined over gaps of five.

    Examples
    --------
    >>> episodes(np.array([0.0, 0.95, 0.2, 0.95, 0.0]), 0.9)
    1
    """
    rows = np.flatnonzero(scores >= threshold)
    return int((np.diff(rows) > EPISODE_GAP_MINUTES).sum() + 1) if len(rows) else 0


def detector_metrics(trials: Sequence[DetectorTrial], threshold: float) -> dict[str, float]:
    """Return one tenant's metrics over the trials of its hosts.

    Recall is missing where nothing could be planted; it is never assumed.
    """
    planted = sum(sum(trial.planted.values()) for trial in trials)
    days = sum(len(trial.scores) for trial in trials) / DAY_MINUTES
    metrics = {
        "hosts": float(len(trials)),
        "hosts_held_out": float(sum(trial.held_out for trial in trials)),
        "evaluated_days": days,
    }
    if days:
        alerts = sum(episodes(trial.scores, threshold) for trial in trials)
        metrics["alert_episodes"] = float(alerts)
        metrics["alert_episodes_per_host_day"] = alerts / max(days, 1.0)
    if planted:
        metrics["injected_recall"] = sum(sum(trial.found.values()) for trial in trials) / planted
        metrics |= {f"injected_recall_{kind}": share for kind, share in recall_by_kind(trials).items()}
    delays = [delay for trial in trials for delay in trial.delays]
    if delays:
        metrics["detection_delay_minutes"] = float(np.mean(delays))
    return metrics


def recall_by_kind(trials: Sequence[DetectorTrial]) -> dict[str, float]:
    """Return the share of found faults per kind."""
    kinds = [fault.kind for fault in FAULTS]
    planted = {kind: sum(trial.planted.get(kind, 0) for trial in trials) for kind in kinds}
    found = {kind: sum(trial.found.get(kind, 0) for trial in trials) for kind in kinds}
    return {kind: found[kind] / planted[kind] for kind in kinds if planted[kind]}


HORIZON_NAMES: dict[int, str] = {1: "10min", 6: "1h", 36: "6h", 144: "1d"}
"""Cells ahead that are reported."""


def forecaster_metrics(outlooks: Sequence[HostOutlook]) -> dict[str, float]:
    """Return accuracy and observed coverage of what the mixture said in time over the last week.

    ``mae_vs_yesterday_<horizon>`` is a geometric mean over signals of mean absolute errors, relative to "as yesterday".
    Horizons and comparisons that were never observed are missing.
    """
    ratios = {name: [float(one) for two in outlooks for one in _known_ratios(two, step)] for step, name in _named()}
    seen = [one.outlook.coverage() for one in outlooks]
    metrics = {"hosts": float(len(outlooks))}
    metrics |= {f"mae_vs_yesterday_{k}": float(np.exp(np.mean(np.log(v)))) for k, v in ratios.items() if v}
    for level, name in enumerate(("coverage80", "coverage95")):
        shares = np.concatenate([one[level].ravel() for one in seen]) if seen else np.empty(0)
        if np.isfinite(shares).any():
            metrics[name] = float(np.nanmean(shares))
    return metrics


def _named() -> list[tuple[int, str]]:
    return [(STEPS.index(step), name) for step, name in HORIZON_NAMES.items()]


def _known_ratios(one: HostOutlook, step: int) -> Floats:
    """Return each signal's error over that of "as yesterday"; a thousandth where it is less."""
    ratio = one.outlook.error_ratio()[:, step]
    return np.maximum(ratio[np.isfinite(ratio)], _LEAST_RATIO)
