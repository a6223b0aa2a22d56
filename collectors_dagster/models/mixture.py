"""Online mixture of experts, and intervals that adapt until they hold.

Weights follow each expert's own recent errors, so a bad expert fades within hours. Intervals are quantiles of the
mixture's recent misses (rolling conformal) whose level is moved by the observed coverage (adaptive conformal
inference, Gibbs and Candes 2021).
"""

from dataclasses import dataclass

import numpy as np

from collectors_dagster.frames import Floats
from collectors_dagster.models.cells import DAY_CELLS

_ERROR_MEMORY = 0.02
_POWER = 3.0
WINDOW = 7 * DAY_CELLS
_BLOCK = 12
_GAIN = 0.1
MIN_MISSES = 12
"""Fewer observed misses of a horizon say nothing about its interval."""
LEVELS: tuple[float, ...] = (0.2, 0.05)
"""Allowed misses: of the 80 % and of the 95 % interval."""


def weights(error: Floats, answers: Floats) -> Floats:
    """Return the experts' shares, last axis; experts without an answer get none.

    Parameters
    ----------
    error : recent mean absolute error, NaN where an expert was never judged
    answers : what they say now, NaN where they say nothing
    """
    judged = np.isfinite(error)
    best = np.min(np.where(judged, error, np.inf), axis=-1, keepdims=True)
    worst = np.max(np.where(judged, error, -np.inf), axis=-1, keepdims=True)
    assumed = np.where(judged, error, np.where(np.isfinite(worst), worst, 1.0))
    floor = np.where(np.isfinite(best), np.abs(best) * 0.01, 1.0) + 1e-12
    raw = (assumed + floor) ** -_POWER
    raw = np.where(np.isfinite(answers), raw / raw.max(axis=-1, keepdims=True), 0.0)
    total = raw.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(raw, total, out=np.zeros(raw.shape), where=total > 0))


def mixed(answers: Floats, share: Floats) -> Floats:
    """Return the weighted answer; NaN where nobody answers."""
    result = (np.nan_to_num(answers, nan=0.0) * share).sum(axis=-1)
    return np.where(share.sum(axis=-1) > 0, result, np.nan)


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the mixture would have said at every past origin.

    Attributes
    ----------
    error : shape (signals, steps, experts)
        Recent error of each expert, as known at the last origin.
    said : shape (n, signals, steps)
        By origin.
    miss : shape (n, signals, steps)
        Actual minus said, by TARGET; NaN where either is unknown.
    """

    error: Floats
    said: Floats
    miss: Floats

    @classmethod
    def run(cls, values: Floats, answers: Floats, steps: tuple[int, ...]) -> "Backtest":
        """Walk through the past.

        Parameters
        ----------
        values : shape (n, signals)
        answers : shape (n, signals, steps, experts)
        """
        n, signals, horizons, experts = answers.shape
        error = np.full((signals, horizons, experts), np.nan)
        said = np.full((n, signals, horizons), np.nan)
        arrived = _by_target(answers, steps)
        off = np.abs(values[:, :, None, None] - arrived)
        for row in range(n):
            known = np.isfinite(off[row])
            step = np.where(np.isnan(error), off[row], error + _ERROR_MEMORY * (off[row] - error))
            error = np.where(known, step, error)
            said[row] = mixed(answers[row], weights(error, answers[row]))
        miss = values[:, :, None] - _by_target(said[..., None], steps)[..., 0]
        return cls(error, said, miss)


def _by_target(by_origin: Floats, steps: tuple[int, ...]) -> Floats:
    """Shift forecasts from the row that said them to the row they speak of."""
    result = np.full(by_origin.shape, np.nan)
    for column, step in enumerate(steps):
        if step < len(by_origin):
            result[step:, :, column] = by_origin[:-step, :, column]
    return result


@dataclass(frozen=True, slots=True)
class Interval:
    """How far to each side of the mean; shapes (levels, signals, steps), NaN where nothing was observed.

    Attributes
    ----------
    low, high : signed distances
    coverage : observed share of hits of the intervals said in the last week, NaN if none
    """

    low: Floats
    high: Floats
    coverage: Floats


def intervals(miss: Floats) -> Interval:
    """Return the intervals to say now, and how those said before did.

    Parameters
    ----------
    miss : shape (n, signals, steps)
        By target; the row's own misses are known at that row.
    """
    shape = (len(LEVELS), *miss.shape[1:])
    low, high, coverage = np.full((3, *shape), np.nan)
    for signal in range(miss.shape[1]):
        for step in range(miss.shape[2]):
            for level, allowed in enumerate(LEVELS):
                at = (level, signal, step)
                low[at], high[at], coverage[at] = _adaptive(miss[:, signal, step], allowed)
    return Interval(low, high, coverage)


def _adaptive(miss: Floats, allowed: float) -> tuple[float, float, float]:
    """Walk through the last week in blocks of two hours, moving the level by the misses seen."""
    level, hits, total = allowed, 0, 0
    start = max(len(miss) - WINDOW, 0)
    for row in range(start, len(miss), _BLOCK):
        past, now = _known(miss[max(row - WINDOW, 0) : row]), _known(miss[row : row + _BLOCK])
        if len(past) < MIN_MISSES or not len(now):
            continue
        low, high = _quantiles(past, level)
        inside = int(((now >= low) & (now <= high)).sum())
        hits, total = hits + inside, total + len(now)
        missed = 1.0 - inside / len(now)
        level = float(np.clip(level + _GAIN * (allowed - missed), 0.002, 0.5))
    past = _known(miss[-WINDOW:])
    if len(past) < MIN_MISSES:
        return np.nan, np.nan, np.nan
    low, high = _quantiles(past, level)
    return low, high, hits / total if total else np.nan


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _quantiles(past: Floats, level: float) -> tuple[float, float]:
    """Return the conformal quantiles: a little outside the empirical ones, more so for few values."""
    tail = max((level / 2) - 1.0 / (len(past) + 1.0), 0.0)
    ordered = np.sort(past)
    return _at(ordered, tail), _at(ordered, 1.0 - tail)


def _at(ordered: Floats, share: float) -> float:
    """Return a quantile of sorted values; ``numpy.quantile`` costs six times as much for a few hundred of them."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))
