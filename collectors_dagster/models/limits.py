"""Physical limits: what is anomalous even for a host nobody knows yet."""

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import Floats
from collectors_dagster.models.signal_rules import RULES, Limit

COMMON_SHARE = 0.01
"""A limit reached in more than this share of a known host's minutes is that host's normal life."""

_LIMITED: tuple[tuple[int, Limit], ...] = tuple(
    (column, limit) for column, name in enumerate(SIGNALS) if (limit := RULES[name].limit) is not None
)


def reached(values: Floats, baseline: Floats) -> Floats:
    """Return s = -log10(p) granted by the limits: 0, or 2 to 3.

    Parameters
    ----------
    values : shape (n, 14)
    baseline : shape (n, 14)
        What is normal for the row; NaN where nothing is known.

    Returns
    -------
    shape (n, 14)
        2 where the limit is just reached (shown score 0.90), 3 at the physical maximum (0.97).
    """
    strength = np.zeros(values.shape)
    for column, limit in _LIMITED:
        value, known = values[:, column], np.isfinite(baseline[:, column])
        rise = np.where(known, value - baseline[:, column], np.inf)
        jump = known & (value >= limit.jump_level) & (rise >= limit.jump_rise)
        hit = jump | ((value >= limit.level) & (rise >= limit.rise))
        excess = np.clip((value - limit.jump_level) / (1.0 - limit.jump_level), 0.0, 1.0)
        strength[:, column] = np.where(hit, 2.0 + excess, 0.0)
    return strength


def waived(values: Floats, baseline: Floats) -> NDArray[np.bool_]:
    """Return which signals' limits mean nothing on a host with this history, shape (14,)."""
    result = np.zeros(len(SIGNALS), dtype=np.bool_)
    hits = reached(values, baseline) > 0
    for column, limit in _LIMITED:
        seen = int(np.isfinite(values[:, column]).sum())
        share = hits[:, column].sum() / seen if seen else 0.0
        result[column] = share > (0.5 if limit.standing else COMMON_SHARE)
    return result
