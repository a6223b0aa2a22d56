"""What a signal must do before anybody is told: physical limits and minimum effects.

Statistics alone calls a quiet machine's every cough an anomaly. A signal alerts only when it is high (or was, and
fell) in its own physical unit; a few limits alert without any history.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import Floats

MEBIBYTE = float(2**20)


@dataclass(frozen=True, slots=True)
class Limit:
    """A physical limit.

    Attributes
    ----------
    level : float
        From here on the value counts by itself ...
    rise : float
        ... if it lies at least so far above what is normal here, as far as that is known.
    jump_level, jump_rise : float
        A lower level counts too when the baseline is known and the jump is that large.
    standing : bool
        The state is dangerous however long it lasts; it is not waived for hosts on which it is common.
    """

    level: float
    rise: float
    jump_level: float
    jump_rise: float
    standing: bool = False


@dataclass(frozen=True, slots=True)
class SignalRule:
    """How one signal is judged.

    Attributes
    ----------
    min_level, min_rise : float
        Minimum effect: high enough, and far enough above normal (both in the signal's unit).
    min_factor : float
        It must also be so many times the normal (1 for shares).
    resolution : float
        Differences below this are noise whatever history says.
    upper : float
        Physical maximum (inf if there is none).
    falls : bool
        Whether a fall from a high normal is worth telling.
    """

    min_level: float
    min_rise: float
    resolution: float
    upper: float = 1.0
    min_factor: float = 1.0
    falls: bool = False
    limit: Limit | None = None


def _bytes_per_second(level: float) -> SignalRule:
    return SignalRule(
        min_level=level,
        min_rise=level / 2,
        resolution=level / 200,
        upper=np.inf,
        min_factor=3.0,
    )


RULES: dict[str, SignalRule] = {
    "cpu_utilization_ratio": SignalRule(
        0.5, 0.2, 0.01, falls=True, limit=Limit(level=0.85, rise=0.2, jump_level=0.70, jump_rise=0.4)
    ),
    "cpu_iowait_ratio": SignalRule(0.3, 0.2, 0.01),
    "load_per_cpu": SignalRule(1.5, 0.75, 0.05, upper=np.inf),
    "memory_used_ratio": SignalRule(
        0.6, 0.15, 0.01, limit=Limit(level=0.97, rise=0.0, jump_level=0.97, jump_rise=0.0, standing=True)
    ),
    "swap_used_ratio": SignalRule(0.2, 0.1, 0.01, limit=Limit(level=0.9, rise=0.1, jump_level=0.6, jump_rise=0.4)),
    "disk_read_bytes_per_second": _bytes_per_second(40 * MEBIBYTE),
    "disk_written_bytes_per_second": _bytes_per_second(40 * MEBIBYTE),
    "disk_busy_ratio": SignalRule(0.6, 0.3, 0.01),
    "filesystem_used_ratio": SignalRule(
        0.8, 0.05, 0.005, limit=Limit(level=0.98, rise=0.0, jump_level=0.98, jump_rise=0.0, standing=True)
    ),
    "network_receive_bytes_per_second": _bytes_per_second(4 * MEBIBYTE),
    "network_transmit_bytes_per_second": _bytes_per_second(4 * MEBIBYTE),
    "pressure_cpu_ratio": SignalRule(0.4, 0.3, 0.01),
    "pressure_memory_ratio": SignalRule(0.1, 0.1, 0.005),
    "pressure_io_ratio": SignalRule(0.3, 0.2, 0.01),
}
"""One rule per signal; a test holds that none is missing."""

MIN_LEVEL = np.array([RULES[name].min_level for name in SIGNALS])
MIN_RISE = np.array([RULES[name].min_rise for name in SIGNALS])
MIN_FACTOR = np.array([RULES[name].min_factor for name in SIGNALS])
RESOLUTION = np.array([RULES[name].resolution for name in SIGNALS])
UPPER = np.array([RULES[name].upper for name in SIGNALS])
FALLS = np.array([RULES[name].falls for name in SIGNALS])


def effect(values: Floats, normal: Floats, *, seasonal: NDArray[np.bool_]) -> Floats:
    """Return how far each value meets its signal's minimum effect: 1 and more means fully.

    Parameters
    ----------
    values, normal : shape (n, 14)
        NaN in either gives 0.
    seasonal : shape (n, 14)
        Where the normal is that of the time of day: only there a fall is news, for the signals that allow it.
    """
    needed = np.maximum(MIN_RISE, (MIN_FACTOR - 1.0) * np.abs(normal))
    high = np.minimum(values / MIN_LEVEL, (values - normal) / needed)
    drop = np.minimum(normal / MIN_LEVEL, (normal - values) / np.maximum(MIN_RISE, normal / 2))
    low = np.where(FALLS & seasonal, drop, 0.0)
    return np.asarray(np.nan_to_num(np.maximum(high, low), nan=0.0).clip(min=0.0))
