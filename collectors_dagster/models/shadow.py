"""A challenger beside the champion, on days that neither has seen: the same minutes, the same planted faults.

Each day gives figures; some days together give a verdict. A single day says little about alerts that come once in two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from collectors_dagster.features.timeline import DAY_MINUTES
from collectors_dagster.frames import SignalFrame
from collectors_dagster.models.anomaly import TenantDetector
from collectors_dagster.models.drift import STABLE_BELOW, population_stability_index
from collectors_dagster.models.evaluation import DetectorTrial, episodes, try_detector

LEAST_MINUTES = DAY_MINUTES // 2
"""Host-minutes that a day must have to count."""
LEAST_ALERTS, MOST_ALERTS = 0.2, 2.0
"""The challenger's alerts per host and day may be so many times the champion's."""
NEGLIGIBLE_ALERTS = 1.0
"""A difference of so many alerts per host and day is never a reason: it may be one alert."""
CHANCE_SHARE = 0.02
"""Share of the planted faults (at least one) that a challenger may miss more: the places are drawn."""


@dataclass(frozen=True, slots=True)
class TrialDay:
    """What one day said.

    Attributes
    ----------
    minutes : int
        Minutes of all hosts that both have scored.
    champion_alerts, challenger_alerts : int
        Episodes on the untouched minutes.
    planted, champion_found, challenger_found : int
        Faults written into copies of them.
    psi : float
        Population stability index of the challenger's scores against the champion's.
    """

    minutes: int
    champion_alerts: int
    challenger_alerts: int
    planted: int
    champion_found: int
    challenger_found: int
    psi: float

    def document(self) -> dict[str, Any]:
        """Return the day as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "TrialDay":
        """Return the day of a document.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is none.
        """
        counts = {name: int(document[name]) for name in cls.__slots__ if name != "psi"}
        return cls(**counts, psi=float(document["psi"]))


def unseen(frames: Sequence[SignalFrame], trained_until: datetime) -> list[SignalFrame]:
    """Return the rows that no training has seen; hosts without any are left out."""
    until = np.datetime64(trained_until.astimezone(UTC).replace(tzinfo=None), "s")
    rows = [(frame, frame.ts > until) for frame in frames]
    return [replace(frame, ts=frame.ts[keep], values=frame.values[keep]) for frame, keep in rows if keep.any()]


def try_side(
    detector: TenantDetector,
    frames: Sequence[SignalFrame],
    past: Mapping[str, SignalFrame],
    *,
    threshold: float,
    seed: int,
) -> list[DetectorTrial]:
    """Try one model on every host's rows; `past` are the minutes before them by host."""
    return [
        try_detector(
            detector.detector(frame.host),
            frame,
            threshold=threshold,
            seed=seed,
            held_out=True,
            history=past.get(frame.host),
        )
        for frame in frames
    ]


def tried(champion: Sequence[DetectorTrial], challenger: Sequence[DetectorTrial], threshold: float) -> TrialDay | None:
    """Return what a day says of both; None if it has too few minutes to count.

    Parameters
    ----------
    champion, challenger : sequence of DetectorTrial
        Of the same rows, host by host.
    """
    minutes = sum(len(one.scores) for one in champion)
    if minutes < LEAST_MINUTES:
        return None
    old, new = (np.concatenate([one.scores for one in side]) for side in (champion, challenger))
    return TrialDay(
        minutes=minutes,
        champion_alerts=sum(episodes(one.scores, threshold) for one in champion),
        challenger_alerts=sum(episodes(one.scores, threshold) for one in challenger),
        planted=sum(sum(one.planted.values()) for one in champion),
        champion_found=sum(sum(one.found.values()) for one in champion),
        challenger_found=sum(sum(one.found.values()) for one in challenger),
        psi=round(population_stability_index(old, new), 4),
    )


def figures(days: Sequence[TrialDay]) -> dict[str, float]:
    """Return the figures of some days together, by the names under which MLflow has them; none of no days."""
    host_days = sum(one.minutes for one in days) / DAY_MINUTES
    planted = sum(one.planted for one in days)
    if not host_days:
        return {}
    found = {
        "shadow_alerts_per_host_day": sum(one.challenger_alerts for one in days) / host_days,
        "shadow_champion_alerts_per_host_day": sum(one.champion_alerts for one in days) / host_days,
        "shadow_psi": sum(one.psi * one.minutes for one in days) / (host_days * DAY_MINUTES),
    }
    if planted:
        found["shadow_recall"] = sum(one.challenger_found for one in days) / planted
        found["shadow_champion_recall"] = sum(one.champion_found for one in days) / planted
    return found


def objections(days: Sequence[TrialDay]) -> list[str]:
    """Return what speaks against the challenger after some days; none means that it may serve.

    Examples
    --------
    >>> day = TrialDay(1440, 1, 1, 18, 17, 17, 0.02)
    >>> objections([day])
    []
    >>> objections([TrialDay(1440, 1, 9, 18, 17, 12, 0.31)])[1]
    'it finds 67 % of planted faults, the champion 94 %'
    """
    found = figures(days)
    return [*_alerts(found), *_recall(days, found), *_scores(found)] if found else []


def _alerts(found: Mapping[str, float]) -> list[str]:
    mine, its = found["shadow_alerts_per_host_day"], found["shadow_champion_alerts_per_host_day"]
    if abs(mine - its) <= NEGLIGIBLE_ALERTS or LEAST_ALERTS * its <= mine <= MOST_ALERTS * its:
        return []
    return [f"it alerts {mine:.1f} times per host and day, the champion {its:.1f}"]


def _recall(days: Sequence[TrialDay], found: Mapping[str, float]) -> list[str]:
    missed = sum(one.champion_found - one.challenger_found for one in days)
    if missed <= max(1.0, CHANCE_SHARE * sum(one.planted for one in days)):
        return []
    mine, its = (100 * found[name] for name in ("shadow_recall", "shadow_champion_recall"))
    return [f"it finds {mine:.0f} % of planted faults, the champion {its:.0f} %"]


def _scores(found: Mapping[str, float]) -> list[str]:
    psi = found["shadow_psi"]
    return [f"its scores are others (stability index {psi:.2f}, under {STABLE_BELOW} allowed)"] * (psi >= STABLE_BELOW)
