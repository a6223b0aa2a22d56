"""How forecasts did once what they spoke of had come. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from collectors_dagster.features.axis import value_at
from collectors_dagster.frames import SignalFrame
from collectors_dagster.records import ForecastPoint

MEAN_OF = 10
"""A forecast speaks of the mean of the ten minutes that end at its instant."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One signal's forecasts that have come due.

    Attributes
    ----------
    due : int
        How many.
    accuracy : float
        1 minus the sum of absolute errors over the sum of what came, 0 at least; 1 if all was zero, as said.
    held80, held95 : float
        Share of the intervals that held.
    """

    signal: str
    due: int
    accuracy: float
    held80: float
    held95: float


def judge_forecasts(points: Sequence[ForecastPoint], measured: Sequence[SignalFrame]) -> list[Accuracy]:
    """Judge forecasts by what was measured, by signal over all hosts; those not due yet are left out.

    Parameters
    ----------
    points : sequence of ForecastPoint
        Each instant once: what was said last.
    measured : sequence of SignalFrame
        One per host.
    """
    frames = {frame.host: frame for frame in measured}
    came: dict[str, list[tuple[ForecastPoint, float]]] = {}
    for point in points:
        if point.host in frames and (actual := _mean_before(frames[point.host], point)) is not None:
            came.setdefault(point.signal, []).append((point, actual))
    return [_judged(signal, pairs) for signal, pairs in sorted(came.items())]


def _mean_before(frame: SignalFrame, point: ForecastPoint) -> float | None:
    minutes = (point.ts - timedelta(minutes=back) for back in range(MEAN_OF))
    known = [value for at in minutes if (value := value_at(frame, point.signal, at)) is not None]
    return float(np.mean(known)) if known else None


def _judged(signal: str, pairs: Sequence[tuple[ForecastPoint, float]]) -> Accuracy:
    error = sum(abs(actual - point.mean) for point, actual in pairs)
    size = sum(abs(actual) for _, actual in pairs)
    accuracy = max(1.0 - error / size, 0.0) if size > 0 else float(error == 0)
    return Accuracy(
        signal=signal,
        due=len(pairs),
        accuracy=accuracy,
        held80=float(np.mean([point.low80 <= actual <= point.high80 for point, actual in pairs])),
        held95=float(np.mean([point.low95 <= actual <= point.high95 for point, actual in pairs])),
    )
