"""With an NVIDIA GPU the collector agrees with nvidia-smi: `python -m pytest tests/integration/gpu -m gpu`.

The only test that says something about NVIDIA's own library; skipped, and said so, where there is no GPU.
"""

import csv
import math
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors.gpu import Gpu
from collectors_dagster.collectors.protocol import Host, Reading
from tests.support.gpus import next_answer, settled

pytestmark = pytest.mark.gpu

STEADY = {
    # asked of nvidia-smi: (our metric, labels, factor from our unit to its)
    "memory.total": ("gpu_memory_total_bytes", {}, 2**-20),
    "enforced.power.limit": ("gpu_power_limit_watts", {}, 1.0),
    "clocks.max.sm": ("gpu_clock_limit_hertz", {"clock": "sm"}, 1e-6),
    "clocks.max.memory": ("gpu_clock_limit_hertz", {"clock": "memory"}, 1e-6),
    "pcie.link.gen.max": ("gpu_pcie_link_generation_limit", {}, 1.0),
    "pcie.link.width.max": ("gpu_pcie_link_width_limit", {}, 1.0),
    "ecc.errors.corrected.aggregate.total": ("gpu_ecc_aggregate_errors", {"type": "corrected"}, 1.0),
    "ecc.errors.uncorrected.aggregate.total": ("gpu_ecc_aggregate_errors", {"type": "uncorrected"}, 1.0),
}
MOVING = {
    "memory.used": ("gpu_memory_used_bytes", {}, 2**-20, 512.0),
    "power.draw": ("gpu_power_watts", {}, 1.0, 100.0),
    "temperature.gpu": ("gpu_temperature_celsius", {}, 1.0, 5.0),
    "temperature.memory": ("gpu_memory_temperature_celsius", {}, 1.0, 5.0),
    "fan.speed": ("gpu_fan_speed_ratio", {"fan": "0"}, 100.0, 10.0),
}
"""With the difference that a moment may make."""
ERRATIC = {
    "utilization.gpu": ("gpu_utilization_ratio", {}, 0.01, 1.0),
    "utilization.memory": ("gpu_memory_busy_ratio", {}, 0.01, 1.0),
    "clocks.sm": ("gpu_clock_hertz", {"clock": "sm"}, 1e6, 4e9),
    "clocks.mem": ("gpu_clock_hertz", {"clock": "memory"}, 1e6, 2e10),
    "pcie.link.gen.current": ("gpu_pcie_link_generation", {}, 1.0, 8.0),
}
"""Idle at one moment and full at the next: told by both or by neither, in our unit, and no larger than it can be."""


def nvidia_smi(*fields: str) -> list[dict[str, str]]:
    """Return what nvidia-smi says of each GPU."""
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    printed = subprocess.run(query, check=True, capture_output=True, text=True, timeout=60).stdout
    return [dict(zip(fields, map(str.strip, row), strict=True)) for row in csv.reader(printed.splitlines())]


def number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None  # [N/A], [Not Supported]


def value_of(reading: Reading, uuid: str, metric: str, labels: dict[str, str]) -> float | None:
    for series, value in zip(reading.series, reading.values, strict=True):
        own = dict(series.labels)
        if series.metric.name == metric and own["uuid"] == uuid and labels.items() <= own.items():
            return value
    return None


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    if (
        shutil.which("nvidia-smi") is None
        or subprocess.run(["nvidia-smi"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no NVIDIA GPU here (nvidia-smi finds none)")
    collector = Gpu(Host(SystemClock()))
    yield collector
    collector.close()


def test_every_gpu_is_there_with_its_model_and_driver(gpu: Gpu) -> None:
    reading = settled(gpu)
    ours = {dict(one.labels)["uuid"]: dict(one.labels) for one in reading.series if one.metric.name == "gpu_info"}
    theirs = nvidia_smi("uuid", "name", "driver_version", "index")
    assert set(ours) == {one["uuid"] for one in theirs}
    for one in theirs:
        labels = ours[one["uuid"]]
        assert (labels["model"], labels["driver"], labels["gpu"]) == (one["name"], one["driver_version"], one["index"])


def test_what_does_not_move_is_equal(gpu: Gpu) -> None:
    reading = settled(gpu)
    for one in nvidia_smi("uuid", *STEADY):
        for field, (metric, labels, factor) in STEADY.items():
            theirs, ours = number(one[field]), value_of(reading, one["uuid"], metric, labels)
            assert (theirs is None) == (ours is None), field
            if theirs is not None and ours is not None:
                assert ours * factor == pytest.approx(theirs, abs=1.0), field


def test_what_moves_is_near(gpu: Gpu) -> None:
    settled(gpu)
    theirs_of_all = nvidia_smi("uuid", *MOVING)
    reading = next_answer(gpu)
    for one in theirs_of_all:
        for field, (metric, labels, factor, slack) in MOVING.items():
            theirs, ours = number(one[field]), value_of(reading, one["uuid"], metric, labels)
            if theirs is not None:
                assert ours is not None, field
                assert ours * factor == pytest.approx(theirs, abs=slack), field


def test_what_is_erratic_is_told_by_both_or_by_neither(gpu: Gpu) -> None:
    reading = settled(gpu)
    for one in nvidia_smi("uuid", *ERRATIC):
        for field, (metric, labels, unit, largest) in ERRATIC.items():
            theirs, ours = number(one[field]), value_of(reading, one["uuid"], metric, labels)
            assert (theirs is None) == (ours is None), field
            if theirs and ours:
                assert unit <= ours <= largest, field


def test_energy_grows_with_the_power_drawn(gpu: Gpu) -> None:
    settled(gpu)
    first, before = next_answer(gpu), SystemClock().monotonic()
    SystemClock().sleep(2.0)
    second, seconds = next_answer(gpu), SystemClock().monotonic() - before
    for series, value in zip(second.series, second.values, strict=True):
        if series.metric.name == "gpu_energy_joules_total":
            uuid = dict(series.labels)["uuid"]
            start = value_of(first, uuid, series.metric.name, {})
            power = value_of(second, uuid, "gpu_power_watts", {})
            assert start is not None
            assert power is not None
            assert (value - start) / seconds == pytest.approx(power, rel=0.5)


def test_all_values_are_finite_and_none_is_negative(gpu: Gpu) -> None:
    reading = next_answer(gpu)
    assert not reading.errors
    assert all(math.isfinite(value) and value >= 0 for value in reading.values)
