"""Whether a candidate may replace the champion: pure rules over the metrics of both, with reasons."""

from collections.abc import Mapping

from collectors_dagster.models.evaluation import HORIZON_NAMES
from collectors_dagster.records import ModelState

Metrics = Mapping[str, float]

LEAST_STATE = "least_state"
"""Metric: place of the least known host's state in :class:`ModelState`."""

_ALERTS = "alert_episodes_per_host_day"
_RECALL = "injected_recall"
_TOLERATED_ALERTS = 3.0


def anomaly_gate(candidate: Metrics, champion: Metrics) -> list[str]:
    """Return the reasons why a detector must not replace the champion; none means that it may.

    A candidate that knows its hosts better is always let through: a champion that has learned nothing raises no false
    alarms either.

    Examples
    --------
    >>> anomaly_gate({"injected_recall": 0.5}, {"injected_recall": 0.9})
    ['it finds 50 % of planted faults, the champion 90 %']
    """
    step = _step(candidate, champion)
    if step > 0:
        return []
    return [*_knows_less(candidate, champion), *_finds_less(candidate, champion), *_cries_more(candidate, champion)]


def waits_for(promotion: str, candidate: Metrics, champion: Metrics) -> str:
    """Return what a candidate that passed its gate must still wait for; nothing means that it serves at once.

    Parameters
    ----------
    promotion : str
        The setting: ``gate``, ``shadow`` or ``review``.

    Notes
    -----
    A trial by the day compares with a champion that is worth it: a candidate that knows its hosts better does not wait
    for one. A person is asked whatever the candidate knows.

    Examples
    --------
    >>> waits_for("shadow", {"least_state": 2.0}, {"least_state": 2.0})
    'shadow'
    >>> waits_for("shadow", {"least_state": 2.0}, {"least_state": 1.0}), waits_for("gate", {}, {})
    ('', '')
    """
    if promotion == "gate" or (promotion == "shadow" and _step(candidate, champion) > 0):
        return ""
    return promotion


def forecast_gate(candidate: Metrics, champion: Metrics) -> list[str]:
    """Return the reasons why a forecaster must not replace the champion; none means that it may.

    Examples
    --------
    >>> forecast_gate({"mae_vs_yesterday_1h": 0.9}, {"mae_vs_yesterday_1h": 0.5})
    ['its error at 1h is 0.90 of "as yesterday", the champion 0.50']
    """
    if _step(candidate, champion) > 0:
        return []
    return [*_knows_less(candidate, champion), *_errs_more(candidate, champion), *_holds_less(candidate, champion)]


def _step(candidate: Metrics, champion: Metrics) -> float:
    """Return by how many states the candidate knows its hosts better."""
    return candidate.get(LEAST_STATE, 0.0) - champion.get(LEAST_STATE, 0.0)


def _knows_less(candidate: Metrics, champion: Metrics) -> list[str]:
    if _step(candidate, champion) >= 0:
        return []
    states = list(ModelState)
    mine, its = (states[int(one.get(LEAST_STATE, 0.0))].value for one in (candidate, champion))
    return [f"it is only {mine}, the champion is {its}"]


def _finds_less(candidate: Metrics, champion: Metrics) -> list[str]:
    recall, before = candidate.get(_RECALL), champion.get(_RECALL)
    if recall is None or before is None or recall >= before - 0.1:
        return []
    return [f"it finds {100 * recall:.0f} % of planted faults, the champion {100 * before:.0f} %"]


def _cries_more(candidate: Metrics, champion: Metrics) -> list[str]:
    alerts = candidate.get(_ALERTS, 0.0)
    allowed = max(2.0 * champion.get(_ALERTS, 0.0), _TOLERATED_ALERTS)
    return [f"it alerts {alerts:.1f} times per host and day, {allowed:.1f} allowed"] if alerts > allowed else []


def _errs_more(candidate: Metrics, champion: Metrics) -> list[str]:
    reasons = []
    for name in HORIZON_NAMES.values():
        key = f"mae_vs_yesterday_{name}"
        if key in candidate and key in champion and candidate[key] > champion[key] * 1.25 + 0.05:
            reasons.append(
                f'its error at {name} is {candidate[key]:.2f} of "as yesterday", the champion {champion[key]:.2f}'
            )
    return reasons


def _holds_less(candidate: Metrics, champion: Metrics) -> list[str]:
    reasons = []
    for key, promised in (("coverage80", 0.8), ("coverage95", 0.95)):
        if key in candidate and key in champion:
            off, before = abs(candidate[key] - promised), abs(champion[key] - promised)
            if off > before + 0.1:
                reasons.append(f"its {100 * promised:.0f} % interval is off by {off:.2f}, the champion by {before:.2f}")
    return reasons
