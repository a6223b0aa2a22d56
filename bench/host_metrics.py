"""Samples as hosts deliver them, for the benchmarks of the store: a day of quantised gauges, rates and constants.

What moves is the busy host of the tests, with the steps in which a kernel counts: processor time in ticks, memory in
pages, disks in blocks, load in hundredths. And as on a real host most series stand nearly still: sizes, limits, errors.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import Floats, Times
from collectors_dagster.records import Window
from collectors_dagster.samples import SeriesKey
from tests.support.histories import bursty_host

DAY = Window.of_day("2026-01-05")
STEP = 10
"""Seconds between two samples of a series."""
PER_SERIES = 86_400 // STEP
_START = np.datetime64("2026-01-05T00:00:00", "s")
_STEPS = {
    "ratio": 1 / (100 * STEP * 4),  # ticks of 10 ms of four processors in the interval
    "bytes_per_second": 4096 / STEP,
    "load_per_cpu": 0.01 / 4,
    "memory_used_ratio": 4096 / 2**34,
    "filesystem_used_ratio": 4096 / 2**38,
}
CONSTANTS = (4.0, 2.0**34, 2.0**31, 2.0**38, 1e9, 65_536.0, 0.0, 0.0, 0.0, 0.0)
PER_HOST = len(SIGNALS) + len(CONSTANTS)


@dataclass(frozen=True, slots=True)
class Data:
    """A day's samples of some hosts, series after series."""

    series: list[SeriesKey]
    index: NDArray[np.int64]
    ts: Times
    measured: Floats


def a_day(rows: int, seed: int = 0) -> Data:
    """Return about so many samples: whole hosts, at least one."""
    hosts = max(1, round(rows / (PER_HOST * PER_SERIES)))
    columns = [column for number in range(hosts) for column in _host(number, seed)]
    series = [_series(place // PER_HOST, place % PER_HOST) for place in range(len(columns))]
    ts = _START + STEP * np.arange(1, PER_SERIES + 1).astype("timedelta64[s]")
    index = np.repeat(np.arange(len(series)), PER_SERIES)
    return Data(series, index, np.tile(ts, len(series)), np.concatenate(columns))


def _host(number: int, seed: int) -> Iterator[Floats]:
    signals = bursty_host(PER_SERIES, seed=seed + number).values
    for place, name in enumerate(SIGNALS):
        unit = next(step for part, step in sorted(_STEPS.items(), key=lambda item: -len(item[0])) if part in name)
        yield np.round(np.nan_to_num(signals[:, place]) / unit) * unit
    for constant in CONSTANTS:
        yield np.full(PER_SERIES, constant)


def _series(host: int, place: int) -> SeriesKey:
    name = SIGNALS[place] if place < len(SIGNALS) else f"constant_{place - len(SIGNALS)}"
    return SeriesKey(f"host-{host:03d}", "bench", name)
