"""What every collector promises; a new one is tested the moment it is listed."""

import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from collectors_dagster.agent.own import Own
from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.collectors import COLLECTORS, collectors_of
from collectors_dagster.collectors.gpu import Gpu
from collectors_dagster.collectors.portable import PORTABLE
from collectors_dagster.collectors.portable.process import PortableProcesses
from collectors_dagster.collectors.process import OPEN_FILES
from collectors_dagster.collectors.protocol import Collector, CollectorFactory, Host, Reading, Series
from collectors_dagster.collectors.runner import Runner
from collectors_dagster.errors import CollectionError
from collectors_dagster.samples import Kind
from collectors_dagster.tenants import SystemSource
from tests.support.gpus import settled
from tests.support.trees import by_name, host_at, recorded_host

RECORDED = "linux-6.18"
TREES = (RECORDED, "linux-5.15-container")
EVERY = [*COLLECTORS, *PORTABLE]
FROM_FILES = [factory for factory in COLLECTORS if factory is not Gpu]
"""Collectors that fail without their files; a machine without a GPU is no failure (tests/integration/gpu)."""
UNITS = {
    *("seconds", "bytes", "bytes_per_second", "hertz", "ratio", "flag", "bits"),
    *("operations", "packets", "pages", "processes", "threads", "cores", "files", "connections", "sockets"),
    *("celsius", "code", "devices", "errors", "generation", "joules", "lanes", "rows", "state", "watts"),
    *("periods", "groups"),
}


def factory_id(factory: CollectorFactory) -> str:
    return getattr(factory, "__name__", str(factory))


def open_descriptors() -> set[tuple[int, int]]:
    """Return the open files by device and inode; the descriptor of the listing itself is not among them."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            file = entry.stat()
            found.add((file.st_dev, file.st_ino))
    return found


@pytest.fixture(params=TREES)
def tree(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=EVERY, ids=factory_id)
def collector(request: pytest.FixtureRequest, tree: str) -> Iterator[Collector]:
    if request.param is Gpu:
        request.getfixturevalue("nvml")  # GPUs of a stand-in library
    made: Collector = request.param(recorded_host(tree))
    yield made
    made.close()


def first_reading(collector: Collector) -> Reading:
    """Return the first reading that has values: at once, but for GPUs, which answer the next time."""
    return settled(collector) if isinstance(collector, Gpu) else collector.read()


def test_names_are_what_tenants_may_choose() -> None:
    names = [factory(recorded_host(RECORDED)).name for factory in COLLECTORS]
    assert sorted([*names, Own.name]) == sorted(SystemSource().collectors)
    assert {factory(recorded_host(RECORDED)).name for factory in PORTABLE} < set(names)


def test_no_metric_is_promised_twice() -> None:
    names = [metric.name for factory in COLLECTORS for metric in factory(recorded_host(RECORDED)).metrics]
    assert len(names) == len(set(names))


def test_metrics_keep_to_the_naming_rules(collector: Collector) -> None:
    for metric in collector.metrics:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
        assert metric.unit in UNITS
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert not (metric.peak and metric.kind is Kind.COUNTER)
        assert not (metric.cumulative and metric.kind is Kind.GAUGE)
        assert ("bytes" in metric.name) == metric.unit.startswith("bytes")
        assert ("seconds" in metric.name) == (metric.unit == "seconds")


EXPORTERS = r"(node|container|namedprocess)_[A-Za-z0-9_*]+|DCGM_FI_[A-Z0-9_]+( \(GPU_I_ID\))?(, DCGM_FI_[A-Z0-9_]+)*"
CONVENTIONS = r"(system|hw|container|process)(\.[a-z0-9_]+)+(\{.*\})?"


def test_names_of_others_look_like_theirs(collector: Collector) -> None:
    for metric in collector.metrics:
        assert metric.exporter is None or re.fullmatch(EXPORTERS, metric.exporter)
        assert metric.otel is None or re.fullmatch(CONVENTIONS, metric.otel)


def test_portable_collectors_promise_no_metrics_of_their_own() -> None:
    known = {metric for factory in COLLECTORS for metric in factory(recorded_host(RECORDED)).metrics}
    assert {metric for factory in PORTABLE for metric in factory(recorded_host(RECORDED)).metrics} <= known


def test_a_reading_has_a_finite_value_for_each_distinct_series(collector: Collector) -> None:
    reading = first_reading(collector)
    assert len(reading.series) == len(reading.values) == len(set(reading.series)) > 0
    assert all(
        (math.isfinite(value) and value >= 0) or _is_not_ours_to_see(collector, series)
        for series, value in zip(reading.series, reading.values, strict=True)
    )
    assert {series.metric for series in reading.series} <= set(collector.metrics)
    assert not reading.errors


def _is_not_ours_to_see(collector: Collector, series: Series) -> bool:
    """Tell whether a live host keeps something from us: open files of other users' processes, unless we are root."""
    return isinstance(collector, PortableProcesses) and series.metric is OPEN_FILES and os.geteuid() != 0


def test_labels_are_sorted_by_name(collector: Collector) -> None:
    for series in first_reading(collector).series:
        assert list(series.labels) == sorted(series.labels)


def test_the_series_stay_the_same_object_until_they_change(collector: Collector) -> None:
    assert first_reading(collector).series is collector.read().series


def test_a_collector_reads_again_after_it_was_closed(collector: Collector) -> None:
    before = first_reading(collector)
    collector.close()
    assert first_reading(collector).series == before.series


@pytest.mark.parametrize("factory", EVERY, ids=factory_id)
@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in procfs")
def test_no_descriptor_is_left_open(factory: CollectorFactory) -> None:
    def read_and_close() -> None:
        collector = factory(recorded_host(RECORDED))
        collector.read()
        collector.close()

    read_and_close()  # what a library opens once
    before = open_descriptors()
    read_and_close()
    assert open_descriptors() <= before


@pytest.mark.parametrize("factory", FROM_FILES, ids=factory_id)
def test_nothing_is_opened_before_the_first_reading_and_absence_is_an_error_of_ours(
    factory: CollectorFactory, tmp_path: Path
) -> None:
    collector = factory(host_at(tmp_path))
    with pytest.raises(CollectionError):
        collector.read()


@pytest.mark.parametrize("noise", [b"", b"\x00" * 64, b"cpu0 x\n", b": : :\n\n:\n", b"some\n", b"9" * 5000])
@pytest.mark.parametrize("factory", FROM_FILES, ids=factory_id)
def test_nonsense_is_an_error_of_ours_or_no_series(factory: CollectorFactory, noise: bytes, tmp_path: Path) -> None:
    recorded = recorded_host(RECORDED).proc_root
    for file in (path for path in recorded.rglob("*") if path.is_file()):
        target = tmp_path / "proc" / file.relative_to(recorded)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(noise)
    collector = factory(host_at(tmp_path))
    with suppress(CollectionError):
        reading = collector.read()
        assert not [value for value in reading.values if math.isfinite(value)]
    collector.close()


@pytest.mark.skipif(sys.platform != "linux", reason="compares with the kernel")
def test_this_host_is_read_without_an_error() -> None:
    clock = SystemClock()
    runner = Runner(collectors_of(Host(clock)), clock)
    sweep = runner.sweep()
    runner.close()
    assert len(sweep.columns) == len(sweep.values) > 40
    failed = {name: tally.errors for name, tally in runner.tallies.items() if tally.errors and name != "pressure"}
    assert not failed  # pressure may be compiled out or switched off


@pytest.mark.skipif(sys.platform != "linux", reason="psutil is the oracle of what we read ourselves")
@pytest.mark.parametrize("portable", [each for each in PORTABLE if each is not PortableProcesses], ids=factory_id)
def test_the_kernels_files_and_psutil_agree(portable: CollectorFactory) -> None:
    """Read ours between two readings of the oracle: each value lies between them, up to rounding.

    Processes come and go meanwhile: those of the test's own are compared in ``test_portable_processes.py``.
    """
    host = Host(ManualClock())
    oracle = portable(host)
    ours = next(made for made in (factory(host) for factory in COLLECTORS) if made.name == oracle.name)
    before, seen, after = by_name(oracle.read()), by_name(ours.read()), by_name(oracle.read())
    common = set(before) & set(seen) & set(after)
    assert common
    for name in common:
        low, high = sorted((before[name], after[name]))
        slack = 0.02 + 0.02 * high  # ticks, pages and load averages move meanwhile
        assert low - slack <= seen[name] <= high + slack, name
    ours.close()
