"""A quiet host's minutes, as arrays: what detectors and forecasters are tested on."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.frames import Floats, SignalFrame

START = np.datetime64("2026-11-01T00:00:00", "s")
CPU = SIGNALS.index("cpu_utilization_ratio")
LOAD = SIGNALS.index("load_per_cpu")
SWAP = SIGNALS.index("swap_used_ratio")
CPU_PRESSURE = SIGNALS.index("pressure_cpu_ratio")
MEMORY = SIGNALS.index("memory_used_ratio")


def quiet_host(
    minutes: int, *, first: int = 0, seed: int = 0, hourly_job: bool = False, host: str = "quiet-1"
) -> SignalFrame:
    """Return `minutes` of a small idle server without swap, from minute `first` after START on.

    With `hourly_job`, fifteen seconds at full processors once an hour: 25 to 45 % over the minute.
    """
    random = np.random.default_rng(seed)
    at = first + np.arange(1, minutes + 1)
    wave = np.sin(2 * np.pi * at / 1440)
    values = np.zeros((minutes, len(SIGNALS)))
    values[:, CPU] = 0.08 + 0.04 * wave + random.gamma(2, 0.015, minutes)
    values[:, SIGNALS.index("cpu_iowait_ratio")] = random.gamma(1, 0.003, minutes)
    values[:, LOAD] = values[:, CPU] * 1.1
    values[:, MEMORY] = 0.35 + 0.02 * wave + random.normal(0, 0.003, minutes)
    values[:, SWAP] = np.nan
    for name, scale in (("disk_read", 1e5), ("disk_written", 3e5), ("network_receive", 5e4), ("network_transmit", 5e4)):
        values[:, SIGNALS.index(f"{name}_bytes_per_second")] = random.gamma(1, scale, minutes)
    values[:, SIGNALS.index("disk_busy_ratio")] = random.gamma(1, 0.01, minutes)
    values[:, SIGNALS.index("filesystem_used_ratio")] = 0.4 + at * 1e-6
    values[:, CPU_PRESSURE] = random.gamma(1, 0.02, minutes)
    values[:, SIGNALS.index("pressure_io_ratio")] = random.gamma(1, 0.005, minutes)
    if hourly_job:
        job = at % 60 == 7
        values[job, CPU] = random.uniform(0.25, 0.45, job.sum())
        values[job, CPU_PRESSURE] = 0.25
        values[job, LOAD] += 0.2
    return SignalFrame(host, START + 60 * at, SIGNALS, values)


def bursty_host(minutes: int, *, first: int = 0, seed: int = 0) -> SignalFrame:
    """Return a host on which somebody works: every half hour a few minutes of load, traffic and writing."""
    frame = quiet_host(minutes, first=first, seed=seed)
    random = np.random.default_rng(seed + 1000)
    start = 0
    while (start := start + int(random.exponential(25)) + 1) < minutes:
        rows = slice(start, start + int(random.integers(1, 5)))
        level = random.uniform(0.2, 0.65)
        frame.values[rows, CPU] = level
        frame.values[rows, LOAD] = level * random.uniform(0.8, 2.5)
        frame.values[rows, CPU_PRESSURE] = level * random.uniform(0.1, 0.8)
        frame.values[rows, SIGNALS.index("disk_written_bytes_per_second")] += random.gamma(0.5, 2e7)
        frame.values[rows, SIGNALS.index("network_receive_bytes_per_second")] += random.gamma(0.3, 3e6)
        start = rows.stop
    return frame


def cut(frame: SignalFrame, start: int, end: int | None = None) -> SignalFrame:
    """Return some rows of a frame."""
    return replace(frame, ts=frame.ts[start:end], values=frame.values[start:end])


def with_values(frame: SignalFrame, values: Floats) -> SignalFrame:
    """Return the frame with other values."""
    return replace(frame, values=values)


def under_stress(frame: SignalFrame, elapsed_seconds: float, *, cpus_idle: float = 0.06) -> SignalFrame:
    """Return one row: the sixty seconds that end `elapsed_seconds` after all processors were fully loaded.

    The row ends 45 seconds past a full minute after the frame's last row, as the resident scorer's rows do.
    """
    share = min(elapsed_seconds, 60.0) / 60.0
    values = np.nan_to_num(frame.values[-60:], nan=0.0).mean(axis=0)[None, :].copy()
    values[0, SWAP] = np.nan
    values[0, CPU] = share + (1 - share) * cpus_idle
    values[0, LOAD] = 1.0 - np.exp(-min(elapsed_seconds, 60.0) / 60.0) + 0.06
    values[0, CPU_PRESSURE] = 0.35 * share
    return SignalFrame(frame.host, frame.ts[-1:] + np.timedelta64(105, "s"), SIGNALS, values)


def instant(frame: SignalFrame, row: int = -1) -> datetime:
    """Return the time of a row."""
    return datetime.fromtimestamp(int(frame.ts[row].astype("datetime64[s]").astype(np.int64)), tz=UTC)
