"""A host's signals: a fixed set of numbers per minute, made of the delivered series.

A signal whose source a tenant does not collect is NaN everywhere; everything after this file lives with that.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from collectors_dagster.frames import Floats, SeriesRows, SignalFrame, Times
from collectors_dagster.samples import Labels

SIGNALS: tuple[str, ...] = (
    "cpu_utilization_ratio",
    "cpu_iowait_ratio",
    "load_per_cpu",
    "memory_used_ratio",
    "swap_used_ratio",
    "disk_read_bytes_per_second",
    "disk_written_bytes_per_second",
    "disk_busy_ratio",
    "filesystem_used_ratio",
    "network_receive_bytes_per_second",
    "network_transmit_bytes_per_second",
    "pressure_cpu_ratio",
    "pressure_memory_ratio",
    "pressure_io_ratio",
)
"""The columns of every signal frame, in this order."""

METRICS: tuple[str, ...] = (
    "cpu_busy_seconds_per_second",
    "cpu_iowait_seconds_per_second",
    "cpu_count",
    "load1",
    "memory_total_bytes",
    "memory_available_bytes",
    "swap_total_bytes",
    "swap_free_bytes",
    "disk_read_bytes_per_second",
    "disk_written_bytes_per_second",
    "disk_io_seconds_per_second",
    "filesystem_size_bytes",
    "filesystem_available_bytes",
    "network_receive_bytes_per_second",
    "network_transmit_bytes_per_second",
    "pressure_cpu_waiting_seconds_per_second",
    "pressure_memory_waiting_seconds_per_second",
    "pressure_io_waiting_seconds_per_second",
)
"""Delivered metrics needed to make the signals."""


class _Source:
    """The delivered series of one host, laid on one time axis."""

    def __init__(self, buckets: Iterable[SeriesRows], axis: Times) -> None:
        self._axis = axis
        self._columns: dict[str, dict[Labels, Floats]] = {}
        for one in buckets:
            columns = self._columns.setdefault(one.series.metric, {})
            columns[one.series.labels] = _aligned(one, axis)

    def by_labels(self, metric: str) -> dict[Labels, Floats]:
        return self._columns.get(metric, {})

    def one(self, metric: str) -> Floats:
        columns = list(self.by_labels(metric).values())
        return columns[0] if columns else np.full(len(self._axis), np.nan)

    def over_labels(self, metric: str, reduce: Callable[[Floats], Floats]) -> Floats:
        return self._reduced(list(self.by_labels(metric).values()), reduce)

    def used_shares(self, size: str, free: str) -> Floats:
        sizes, frees = self.by_labels(size), self.by_labels(free)
        return self._reduced(
            [_used_ratio(sizes[key], frees[key]) for key in sizes if key in frees],
            lambda stacked: np.fmax.reduce(stacked, axis=0),
        )

    def _reduced(self, columns: list[Floats], reduce: Callable[[Floats], Floats]) -> Floats:
        if not columns:
            return np.full(len(self._axis), np.nan)
        return np.asarray(reduce(np.vstack(columns)))


def _aligned(one: SeriesRows, axis: Times) -> Floats:
    """Return the means of `one` at the instants of `axis`; NaN where it has none."""
    values = np.full(len(axis), np.nan)
    if not len(axis):
        return values
    ts = one.ts.astype("datetime64[s]")
    position = np.minimum(np.searchsorted(axis, ts), len(axis) - 1)
    hit = axis[position] == ts
    values[position[hit]] = one.numbers["avg"][hit]
    return values


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN where the whole is unknown or not positive."""
    known = np.isfinite(part) & np.isfinite(whole) & (whole > 0)
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=known)
    return result


def _used_ratio(size: Floats, free: Floats) -> Floats:
    return 1.0 - _ratio(free, size)


def _bounded(ratio: Floats) -> Floats:
    """Keep a share within 0..1: two clocks read a moment apart may exceed it by a trifle."""
    return np.clip(ratio, 0.0, 1.0)


def _total(stacked: Floats) -> Floats:
    """Sum over devices; NaN only where no device was measured."""
    sums: Floats = np.nansum(stacked, axis=0)
    sums[np.isnan(stacked).all(axis=0)] = np.nan
    return sums


def _largest(stacked: Floats) -> Floats:
    return np.asarray(np.fmax.reduce(stacked, axis=0))


def signals_from_buckets(host: str, buckets: Sequence[SeriesRows], ts_axis: Times) -> SignalFrame:
    """Make a host's signals of its delivered series.

    Parameters
    ----------
    host : str
        Series of other hosts in `buckets` are ignored.
    buckets : sequence of SeriesRows
        Equal buckets whose ends lie on `ts_axis`; others are ignored.
    ts_axis : datetime64, shape (n,)
        Regular, increasing; each instant is the END of a bucket.

    Returns
    -------
    SignalFrame
        Shape (n, 14), NaN where nothing was measured. Shares lie within 0..1.
    """
    axis = ts_axis.astype("datetime64[s]")
    source = _Source((one for one in buckets if one.series.host == host), axis)
    cpus = source.one("cpu_count")
    columns: dict[str, Floats] = {
        "cpu_utilization_ratio": _bounded(_ratio(source.one("cpu_busy_seconds_per_second"), cpus)),
        "cpu_iowait_ratio": _bounded(_ratio(source.one("cpu_iowait_seconds_per_second"), cpus)),
        "load_per_cpu": _ratio(source.one("load1"), cpus),
        "memory_used_ratio": _bounded(
            _used_ratio(source.one("memory_total_bytes"), source.one("memory_available_bytes"))
        ),
        "swap_used_ratio": _bounded(_used_ratio(source.one("swap_total_bytes"), source.one("swap_free_bytes"))),
        "disk_read_bytes_per_second": source.over_labels("disk_read_bytes_per_second", _total),
        "disk_written_bytes_per_second": source.over_labels("disk_written_bytes_per_second", _total),
        "disk_busy_ratio": _bounded(source.over_labels("disk_io_seconds_per_second", _largest)),
        "filesystem_used_ratio": _bounded(source.used_shares("filesystem_size_bytes", "filesystem_available_bytes")),
        "network_receive_bytes_per_second": source.over_labels("network_receive_bytes_per_second", _total),
        "network_transmit_bytes_per_second": source.over_labels("network_transmit_bytes_per_second", _total),
        "pressure_cpu_ratio": _bounded(source.one("pressure_cpu_waiting_seconds_per_second")),
        "pressure_memory_ratio": _bounded(source.one("pressure_memory_waiting_seconds_per_second")),
        "pressure_io_ratio": _bounded(source.one("pressure_io_waiting_seconds_per_second")),
    }
    return SignalFrame(host, axis, SIGNALS, np.column_stack([columns[name] for name in SIGNALS]))
