"""Why a minute was called anomalous: signals in order, with what was expected."""

from dataclasses import dataclass

import numpy as np

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import Floats
from collectors_dagster.models.signal_rules import RULES, UPPER
from collectors_dagster.records import Contribution

CAP = 20.0
MOST = 5
LEAST = 1.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about one minute, each of shape (14,).

    Attributes
    ----------
    value, low, high : what was seen, and the range that history expects (NaN: unknown)
    deviation : robust z of the value against its normal (NaN: unknown)
    effect : how far the minimum effect is met; 1 is fully
    strength : s = -log10 p that the signal itself was given
    """

    value: Floats
    low: Floats
    high: Floats
    deviation: Floats
    effect: Floats
    strength: Floats


def contributions(evidence: Evidence) -> tuple[Contribution, ...]:
    """Return the signals that made the minute strange, most important first.

    Signals that alert by themselves come first; then capped deviation times how much of the minimum effect is met, so
    that a trifle on a flat signal never outranks a busy processor.
    """
    weight = _weights(evidence)
    loud = evidence.strength >= 2.0
    order = np.lexsort((-weight, ~loud))
    chosen = [int(column) for column in order if weight[column] >= LEAST][:MOST]
    return tuple(_contribution(evidence, column, float(weight[column])) for column in chosen)


def _weights(evidence: Evidence) -> Floats:
    deviation = np.clip(np.abs(evidence.deviation), 0.0, CAP)
    unknown = np.where(evidence.strength >= 2.0, CAP, 0.0)  # a limit reached with nothing to compare with
    deviation = np.where(np.isfinite(deviation), deviation, unknown)
    material = np.maximum(np.clip(evidence.effect, 0.0, 1.0), np.where(evidence.strength >= 2.0, 1.0, 0.0))
    return np.asarray(np.where(np.isfinite(evidence.value), deviation * material, 0.0))


def _contribution(evidence: Evidence, column: int, weight: float) -> Contribution:
    name = SIGNALS[column]
    low, high = float(evidence.low[column]), float(evidence.high[column])
    if not np.isfinite(low + high):
        limit = RULES[name].limit
        low, high = 0.0, limit.level if limit else RULES[name].min_level
    return Contribution(
        signal=name,
        value=float(evidence.value[column]),
        expected_low=max(low, 0.0),
        expected_high=float(min(high, UPPER[column])),
        deviation=weight,
    )
