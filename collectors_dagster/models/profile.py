"""What a host's history says about each signal: its normal, its spread, and what has been seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.seasonal import seasonal_normal
from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import DAY_MINUTES, Timeline
from collectors_dagster.frames import Floats
from collectors_dagster.models.novelty import held_out_novelty, novelty
from collectors_dagster.models.signal_rules import RESOLUTION
from collectors_dagster.models.tail import TailModel
from collectors_dagster.records import ModelState

LEARNING_MINUTES = 60
READY_MINUTES = 2 * DAY_MINUTES
_BLOCKS = 8


def state_of(memory: Timeline) -> ModelState:
    """Say how far one may trust a model of this history."""
    measured = memory.measured
    seen = int(measured.sum())
    if seen < LEARNING_MINUTES:
        return ModelState.LEARNING
    span = int(np.flatnonzero(measured)[-1] - np.flatnonzero(measured)[0])
    if span < READY_MINUTES or seen < READY_MINUTES // 2:
        return ModelState.PROVISIONAL
    return ModelState.READY


@dataclass(frozen=True, slots=True)
class Profile:
    """The fitted habits of one host.

    Attributes
    ----------
    typical : shape (14,)
        Median level; the normal where no season is known.
    scale : shape (14,)
        Robust standard deviation of the residuals, never below the signal's resolution.
    low, high : shape (14,)
        2.5 % and 97.5 % quantiles of the residuals: the expected range around the normal.
    seen : one sorted array of residuals per signal
    tails : one per signal
    seasonal : bool
        Whether the normal is that of the time of day.
    """

    typical: Floats
    scale: Floats
    low: Floats
    high: Floats
    seen: tuple[Floats, ...]
    tails: tuple[TailModel, ...]
    seasonal: bool

    @classmethod
    def fit(cls, memory: Timeline, state: ModelState) -> tuple["Profile", Floats]:
        """Learn the habits; also return the held-out surprise of every minute of the history, shape (n, 14)."""
        seasonal = state is ModelState.READY
        typical = _column_quantile(memory.values, 0.5)
        normal = seasonal_normal(memory.values, np.arange(len(memory))) if seasonal else typical[None, :]
        residuals = (memory.values - normal).astype(np.float32).astype(np.float64)
        block = memory.minutes // DAY_MINUTES if seasonal else np.arange(len(memory)) * _BLOCKS // len(memory)
        decades = 1.0 if seasonal else 0.0
        strange = np.column_stack([held_out_novelty(residuals[:, i], block) for i in range(len(SIGNALS))])
        tails = tuple(
            TailModel.fit(strange[:, i], resolution=RESOLUTION[i], decades=decades) for i in range(len(SIGNALS))
        )
        profile = cls(
            typical=typical,
            scale=_robust_scale(residuals),
            low=_column_quantile(residuals, 0.025),
            high=_column_quantile(residuals, 0.975),
            seen=tuple(np.sort(one[np.isfinite(one)]) for one in residuals.T),
            tails=tails,
            seasonal=seasonal,
        )
        return profile, profile._surprise_of(strange)

    def normal(self, context: Floats, rows: NDArray[np.int64]) -> Floats:
        """Return what is normal for `rows` of `context`: the season, or the median level where none is known."""
        if not self.seasonal:
            return np.broadcast_to(self.typical, (len(rows), len(SIGNALS)))
        season = seasonal_normal(context, rows)
        return np.where(np.isfinite(season), season, self.typical)

    def surprise(self, residuals: Floats) -> Floats:
        """Return s = -log10 p of each residual, shape (n, 14); 0 where unknown."""
        strange = np.column_stack([novelty(residuals[:, i], self.seen[i]) for i in range(len(SIGNALS))])
        return self._surprise_of(strange)

    def deviation(self, residuals: Floats) -> Floats:
        """Return robust z values, NaN where unknown."""
        return np.asarray(residuals / self.scale)

    def _surprise_of(self, strange: Floats) -> Floats:
        return np.column_stack([tail.surprise(strange[:, i]) for i, tail in enumerate(self.tails)])


def _column_quantile(values: Floats, q: float) -> Floats:
    """Return each column's quantile over what is known; NaN for columns without any (and without a warning)."""
    result = np.full(values.shape[1], np.nan)
    for column in range(values.shape[1]):
        known = values[np.isfinite(values[:, column]), column]
        if len(known):
            result[column] = np.quantile(known, q)
    return result


def _robust_scale(residuals: Floats) -> Floats:
    """Return 1.4826 times the median absolute residual, at least the signal's resolution."""
    spread = 1.4826 * _column_quantile(np.abs(residuals), 0.5)
    return np.asarray(np.fmax(spread, RESOLUTION))
