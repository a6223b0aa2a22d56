"""What has been seen of each signal's distance from its normal, and how rare a new distance is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import DAY_MINUTES
from collectors_dagster.frames import Floats
from collectors_dagster.models.bundle import as_stored
from collectors_dagster.models.novelty import held_out_novelty, novelty
from collectors_dagster.models.signal_rules import RESOLUTION
from collectors_dagster.models.tail import TailModel

_EVERY_SIGNAL = range(len(SIGNALS))
LEAST_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Reference:
    """The residuals of one host's history against one kind of normal.

    Attributes
    ----------
    scale : shape (14,)
        Robust standard deviation of the residuals, never below the signal's resolution.
    low, high : shape (14,)
        2.5 % and 97.5 % quantiles of the residuals: the expected range around the normal.
    seen : one sorted array of residuals per signal
    tails : one per signal
    """

    scale: Floats
    low: Floats
    high: Floats
    seen: tuple[Floats, ...]
    tails: tuple[TailModel, ...]

    @classmethod
    def fit(cls, residuals: Floats, *, decades: float) -> tuple["Reference", Floats]:
        """Learn from residuals, shape (n, 14); also return s of each, held out by its day (or eighth)."""
        residuals = as_stored(residuals)
        block = _blocks(residuals)
        strange = np.column_stack([held_out_novelty(residuals[:, i], block) for i in _EVERY_SIGNAL])
        reference = cls(
            scale=as_stored(_robust_scale(residuals)),
            low=as_stored(column_quantile(residuals, 0.025)),
            high=as_stored(column_quantile(residuals, 0.975)),
            seen=tuple(np.sort(one[np.isfinite(one)]) for one in residuals.T),
            tails=tuple(
                TailModel.fit(strange[:, i], resolution=float(RESOLUTION[i]), decades=decades) for i in _EVERY_SIGNAL
            ),
        )
        return reference, reference._surprise_of(strange)

    def surprise(self, residuals: Floats) -> Floats:
        """Return s = -log10 p of each residual, shape (n, 14); 0 where unknown."""
        strange = np.column_stack([novelty(residuals[:, i], self.seen[i]) for i in _EVERY_SIGNAL])
        return self._surprise_of(strange)

    def _surprise_of(self, strange: Floats) -> Floats:
        return np.column_stack([tail.surprise(strange[:, i]) for i, tail in enumerate(self.tails)])

    def words(self) -> list[dict[str, float]]:
        """Return what goes to a JSON file."""
        return [tail.words() for tail in self.tails]

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return what goes to an array file."""
        return {
            f"{prefix}_scale": self.scale,
            f"{prefix}_low": self.low,
            f"{prefix}_high": self.high,
            f"{prefix}_quantiles": np.vstack([tail.quantiles for tail in self.tails]),
            **{f"{prefix}_seen_{column}": seen for column, seen in enumerate(self.seen)},
        }

    @classmethod
    def stored(cls, words: list[dict[str, float]], arrays: Mapping[str, NDArray[Any]], prefix: str) -> "Reference":
        """Return the reference that :meth:`words` and :meth:`arrays` describe."""
        return cls(
            scale=arrays[f"{prefix}_scale"],
            low=arrays[f"{prefix}_low"],
            high=arrays[f"{prefix}_high"],
            seen=tuple(arrays[f"{prefix}_seen_{column}"] for column in _EVERY_SIGNAL),
            tails=tuple(
                TailModel.stored(one, arrays[f"{prefix}_quantiles"][column]) for column, one in enumerate(words)
            ),
        )


def _blocks(residuals: Floats) -> NDArray[np.int64]:
    """Return each row's block: a day of known rows, or an eighth where there are fewer than eight days."""
    order = np.cumsum(np.isfinite(residuals).any(axis=1))
    width = min(DAY_MINUTES, max(int(order[-1]) // LEAST_BLOCKS, 1))
    return np.asarray(order // width)


def column_quantile(values: Floats, q: float) -> Floats:
    """Return each column's quantile over what is known; NaN for columns without any (and without a warning)."""
    result = np.full(values.shape[1], np.nan)
    for column in range(values.shape[1]):
        known = values[np.isfinite(values[:, column]), column]
        if len(known):
            result[column] = np.quantile(known, q)
    return result


def _robust_scale(residuals: Floats) -> Floats:
    """Return 1.4826 times the median absolute residual, at least the signal's resolution."""
    spread = 1.4826 * column_quantile(np.abs(residuals), 0.5)
    return np.asarray(np.fmax(spread, RESOLUTION))
