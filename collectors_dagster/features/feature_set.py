"""The versioned feature set: what is computed per signal and minute, causally, from a bounded past.

The version is a hash of the columns and of :data:`DEFINITION`; change what a feature means and the
definition's text with it, and every stored row knows that it is of the old kind.
"""

import hashlib
from itertools import product

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.rolling import trailing, trailing_mean, trailing_std, weighted_mean
from collectors_dagster.features.seasonal import DAYS, HALF_WIDTH, seasonal_normal
from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.features.timeline import DAY_MINUTES, Timeline, in_order, minutes_of
from collectors_dagster.frames import FeatureFrame, Floats, SignalFrame

DEFINITION: dict[str, str] = {
    "level": "mean of the minute",
    "normal": "median of the same minute of day, 2 minutes to each side, over the past 7 days; at least 2 days",
    "residual": "level - normal",
    "ema": "exponential mean of the last 60 minutes, weight 0.9 per minute back, over known minutes",
    "mean30": "mean of the known of the last 30 minutes",
    "std30": "standard deviation of the known of the last 30 minutes",
    "rate": "level - level one minute before",
    "missing60": "share of the last 60 minutes without a value",
}
FEATURES: tuple[str, ...] = tuple(DEFINITION)
COLUMNS: tuple[str, ...] = tuple(f"{signal}__{feature}" for signal, feature in product(SIGNALS, FEATURES))
"""``<signal>__<feature>``, signals first."""

LOOKBACK_MINUTES = DAYS * DAY_MINUTES + HALF_WIDTH
"""History needed before the first row; more changes nothing."""

_EMA_WEIGHTS = 0.9 ** np.arange(59, -1, -1, dtype=np.float64)


def _version() -> str:
    text = repr((COLUMNS, sorted(DEFINITION.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


VERSION: str = _version()
"""Hash of the feature set; stored with every row and every model."""


def compute(history: SignalFrame | None, current: SignalFrame) -> FeatureFrame:
    """Compute the features of `current`, minute by minute.

    Parameters
    ----------
    history : SignalFrame or None
        The minutes before; :data:`LOOKBACK_MINUTES` of them give the same answer as any longer past.
    current : SignalFrame
        Regular minutes, increasing.

    Returns
    -------
    FeatureFrame
        One row per row of `current`; row t depends on nothing after t.
    """
    if not len(current.ts):
        return FeatureFrame(current.host, VERSION, current.ts, COLUMNS, np.empty((0, len(COLUMNS))))
    timeline = _with_past(history, current)
    rows = minutes_of(current.ts) - timeline.first
    by_feature = _features(timeline.values, rows)
    stacked = np.stack([by_feature[name] for name in FEATURES], axis=2)
    return FeatureFrame(current.host, VERSION, current.ts, COLUMNS, stacked.reshape(len(rows), -1))


def _with_past(history: SignalFrame | None, current: SignalFrame) -> Timeline:
    """Lay both on one axis that starts one look-back before `current`; history never overwrites it."""
    at = minutes_of(current.ts)
    first, last = int(at[0]) - LOOKBACK_MINUTES, int(at[-1])
    values = np.full((last + 1 - first, len(SIGNALS)), np.nan)
    if history is not None and len(history.ts):
        past = minutes_of(history.ts)
        inside = (past >= first) & (past < at[0])
        values[past[inside] - first] = in_order(history)[inside]
    values[at - first] = in_order(current)
    return Timeline(first, values)


def _features(values: Floats, rows: NDArray[np.int64]) -> dict[str, Floats]:
    normal = seasonal_normal(values, rows)
    start = max(int(rows[0]) - 60, 0)
    recent, at = values[start:], rows - start
    level = recent[at]
    return {
        "level": level,
        "normal": normal,
        "residual": level - normal,
        "ema": weighted_mean(recent, _EMA_WEIGHTS)[at],
        "mean30": trailing_mean(recent, 30)[at],
        "std30": trailing_std(recent, 30)[at],
        "rate": level - recent[at - 1],
        "missing60": np.isnan(trailing(recent, 60)).mean(axis=2)[at],
    }


def levels(frame: FeatureFrame) -> SignalFrame:
    """Return the signals that `frame` was computed from: its level columns."""
    names = [name for name in frame.columns if name.endswith("__level")]
    at = [frame.columns.index(name) for name in names]
    signals = tuple(name.removesuffix("__level") for name in names)
    return SignalFrame(frame.host, frame.ts, signals, frame.values[:, at])
