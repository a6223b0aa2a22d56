"""Signals are made of delivered series, and are unknown where their source is."""

import numpy as np
import pytest

from collectors_dagster.agent.catalogue import catalogue
from collectors_dagster.features.signals import METRICS, SIGNALS, signals_from_buckets
from collectors_dagster.frames import SeriesRows, SignalFrame
from collectors_dagster.samples import Labels, SeriesKey

AXIS = np.datetime64("2026-11-22T10:01:00", "s") + 60 * np.arange(3)


def series(metric: str, values: list[float], labels: Labels = (), *, host: str = "web1", skip: int = 0) -> SeriesRows:
    mean = np.array(values)
    return SeriesRows(SeriesKey(host, "any", metric, labels), AXIS[skip : skip + len(mean)], {"avg": mean})


def made(*buckets: SeriesRows) -> SignalFrame:
    return signals_from_buckets("web1", buckets, AXIS)


def signal(frame: SignalFrame, name: str) -> list[float]:
    return [float(one) for one in frame.values[:, frame.signals.index(name)]]


def test_a_host_that_collects_nothing_knows_nothing() -> None:
    frame = made()
    assert frame.signals == SIGNALS
    assert frame.values.shape == (3, 14)
    assert np.isnan(frame.values).all()


def test_no_total_is_asked_for_or_taken_for_a_signal() -> None:
    totals = [entry.metric.name for entry in catalogue() if entry.metric.cumulative]
    assert totals
    assert not {*totals} & {*METRICS}
    assert np.isnan(made(*(series(name, [1.0, 2.0, 3.0]) for name in totals)).values).all()


def test_processors_are_shared_by_their_number() -> None:
    frame = made(
        series("cpu_busy_seconds_per_second", [1.0, 0.5, 2.0]),
        series("cpu_count", [2.0, 2.0, 2.0]),
        series("load1", [1.0, 3.0, 5.0]),
    )
    assert signal(frame, "cpu_utilization_ratio") == [0.5, 0.25, 1.0]
    assert signal(frame, "load_per_cpu") == [0.5, 1.5, 2.5]
    assert np.isnan(signal(frame, "memory_used_ratio")).all()


def test_a_share_never_leaves_zero_to_one() -> None:
    frame = made(series("cpu_busy_seconds_per_second", [2.02, -0.01, 1.0]), series("cpu_count", [2.0, 2.0, 2.0]))
    assert signal(frame, "cpu_utilization_ratio") == [1.0, 0.0, 0.5]


def test_a_machine_without_swap_has_no_swap_ratio() -> None:
    frame = made(series("swap_total_bytes", [0.0] * 3), series("swap_free_bytes", [0.0] * 3))
    assert np.isnan(signal(frame, "swap_used_ratio")).all()


def test_rates_are_summed_over_devices_and_the_busiest_disk_counts() -> None:
    first, second = (("device", "a"),), (("device", "b"),)
    frame = made(
        series("disk_read_bytes_per_second", [1.0, 2.0, 3.0], first),
        series("disk_read_bytes_per_second", [10.0, 20.0], second),
        series("disk_io_seconds_per_second", [0.1, 0.9, 0.2], first),
        series("disk_io_seconds_per_second", [0.5, 0.5], second, skip=1),
    )
    assert signal(frame, "disk_read_bytes_per_second") == [11.0, 22.0, 3.0]
    assert signal(frame, "disk_busy_ratio") == [0.1, 0.9, 0.5]


def test_the_fullest_file_system_counts_and_sizes_are_matched_by_their_labels() -> None:
    root, data = (("fstype", "ext4"), ("mountpoint", "/")), (("fstype", "xfs"), ("mountpoint", "/data"))
    frame = made(
        series("filesystem_size_bytes", [100.0] * 3, root),
        series("filesystem_available_bytes", [60.0] * 3, root),
        series("filesystem_available_bytes", [1.0] * 3, data),  # its size was not delivered
    )
    assert signal(frame, "filesystem_used_ratio") == pytest.approx([0.4] * 3)


def test_gaps_stay_gaps_and_other_hosts_stay_out() -> None:
    frame = made(
        series("pressure_cpu_waiting_seconds_per_second", [0.2], skip=1),
        series("pressure_io_waiting_seconds_per_second", [0.9, 0.9, 0.9], host="web2"),
    )
    np.testing.assert_array_equal(signal(frame, "pressure_cpu_ratio"), [np.nan, 0.2, np.nan])
    assert np.isnan(signal(frame, "pressure_io_ratio")).all()


def test_every_needed_metric_moves_a_signal() -> None:
    """A metric in METRICS that no signal reads would be fetched in vain."""
    whole = {metric: series(metric, [0.5, 0.5, 0.5]) for metric in METRICS}
    before = made(*whole.values()).values
    for metric in METRICS:
        after = made(*(one for name, one in whole.items() if name != metric)).values
        assert not np.array_equal(before, after, equal_nan=True), metric
