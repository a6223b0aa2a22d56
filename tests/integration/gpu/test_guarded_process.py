"""A driver that hangs, crashes, reloads or is absent costs its own values, never a sweep.

The driver is a stand-in library, not NVIDIA's; processes, pipes and signals are real.
"""

import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from traceback import walk_tb

import pytest

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.collectors.gpu import Gpu
from collectors_dagster.collectors.gpu.guard import Patience
from collectors_dagster.collectors.protocol import Host, Reading
from collectors_dagster.errors import SourceUnavailableError
from tests.support.gpus import StubNvml, alive, child_of, next_answer, settled, wait_for_end
from tests.support.killed import killed_at_last
from tests.support.patience import patient
from tests.support.trees import host_at
from tests.support.waiting import wait_until

PATIENCE = Patience()
PROMPT_SECONDS = 2.0
"""A reading takes a quarter of a second at most, and longer on a busy machine; one that waited for a hung driver would
never return."""
LEAN_KIB = 25_000
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def gpu(nvml: StubNvml, tmp_path: Path, manual_clock: ManualClock) -> Iterator[Gpu]:
    collector = Gpu(host_at(tmp_path, manual_clock))
    yield collector
    collector.close()


@pytest.fixture
def without_driver(tmp_path: Path, manual_clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    collector = Gpu(host_at(tmp_path, manual_clock))
    yield collector
    collector.close()


def quick_read(gpu: Gpu) -> Reading:
    started = monotonic()
    try:
        return gpu.read()
    finally:
        assert monotonic() - started < patient(PROMPT_SECONDS)


def fails(gpu: Gpu, words: str) -> None:
    with pytest.raises(SourceUnavailableError, match=words):
        quick_read(gpu)


def until_it_fails(gpu: Gpu, words: str) -> None:
    """Read until the process's end is noticed."""

    told: list[str] = []

    def failed() -> bool:
        try:
            quick_read(gpu)
        except SourceUnavailableError as error:
            told.append(str(error))
        return bool(told)

    wait_until(failed, 20, "an error")
    assert words in told[0]


def until_absent(gpu: Gpu) -> None:
    wait_until(lambda: quick_read(gpu) == Reading((), ()) and gpu._child is None, 20, "the absence of a driver")


def hang(gpu: Gpu, nvml: StubNvml) -> None:
    """Let the driver hang in the next question."""
    nvml.tell("hang nvmlDeviceGetPowerUsage")

    def hangs() -> bool:
        quick_read(gpu)
        return nvml.calls("hanging") > 0

    wait_until(hangs, 10, "a question to hang in")


def test_a_hung_driver_is_nan_then_killed_then_tried_again(gpu: Gpu, nvml: StubNvml, manual_clock: ManualClock) -> None:
    series = settled(gpu).series
    hang(gpu, nvml)
    pid = child_of(gpu)
    wait_until(lambda: all(map(math.isnan, quick_read(gpu).values)), 10, "no more answers")
    assert quick_read(gpu).series is series
    assert alive(pid)
    manual_clock.move(PATIENCE.answer + 0.1)
    fails(gpu, "does not answer")
    wait_for_end(pid)
    fails(gpu, "does not answer")
    nvml.tell()
    manual_clock.move(PATIENCE.pause)
    fails(gpu, "does not answer")  # until there is an answer
    assert settled(gpu).series is series
    assert child_of(gpu) != pid


def test_a_process_that_does_not_even_notice_its_closed_pipes_is_killed(gpu: Gpu, manual_clock: ManualClock) -> None:
    settled(gpu)
    pid = child_of(gpu)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(map(math.isnan, quick_read(gpu).values)), 10, "no more answers")
    manual_clock.move(PATIENCE.answer + 0.1)
    fails(gpu, "does not answer")
    wait_for_end(pid)


def test_an_error_that_lasts_does_not_grow(gpu: Gpu, nvml: StubNvml) -> None:
    nvml.tell("error nvmlInitWithFlags 999 -1")
    until_it_fails(gpu, "Unknown Error")
    depths = set()
    for _ in range(5):
        with pytest.raises(SourceUnavailableError) as caught:
            gpu.read()
        depths.add(len(list(walk_tb(caught.tb))))
    assert len(depths) == 1


def test_a_driver_that_keeps_hanging_is_tried_less_and_less_often(
    gpu: Gpu, nvml: StubNvml, manual_clock: ManualClock
) -> None:
    nvml.tell("hang nvmlInitWithFlags")
    pids: set[int] = set()
    for _ in range(120):
        with suppress(SourceUnavailableError):
            quick_read(gpu)
        if gpu._child is not None:
            pids.add(child_of(gpu))
            wait_until(lambda: nvml.calls("hanging") == len(pids), 20, "the next process to hang")
        manual_clock.move(2.5)
    assert len(pids) == 7  # 300 s: thirty of patience each time, then pauses of 1, 2, 4, 8, 16, 32 s


def test_a_crash_is_told_by_its_signal_and_the_process_replaced(
    gpu: Gpu, nvml: StubNvml, manual_clock: ManualClock
) -> None:
    settled(gpu)
    pid = child_of(gpu)
    nvml.tell("abort nvmlDeviceGetTemperature")
    until_it_fails(gpu, f"signal {signal.SIGABRT.value}")
    assert not alive(pid)
    nvml.tell()
    manual_clock.move(PATIENCE.pause)
    assert settled(gpu).values


def test_a_process_killed_by_another_is_replaced(gpu: Gpu, manual_clock: ManualClock) -> None:
    settled(gpu)
    os.kill(child_of(gpu), signal.SIGKILL)
    wait_for_end(child_of(gpu))
    until_it_fails(gpu, "signal 9")
    manual_clock.move(PATIENCE.pause)
    assert settled(gpu).values


def test_a_reloaded_driver_disappears_without_an_error_and_comes_back_soon(
    gpu: Gpu, nvml: StubNvml, manual_clock: ManualClock
) -> None:
    settled(gpu)
    nvml.tell("error nvmlDeviceGetCount_v2 9 -1", "error nvmlInitWithFlags 9 -1")
    until_absent(gpu)
    manual_clock.move(PATIENCE.pause)
    quick_read(gpu)
    until_absent(gpu)
    nvml.tell()
    manual_clock.move(2 * PATIENCE.pause)
    assert settled(gpu).values


def test_a_library_older_than_its_driver_is_an_error_and_loaded_anew(
    gpu: Gpu, nvml: StubNvml, manual_clock: ManualClock
) -> None:
    settled(gpu)
    pid = child_of(gpu)
    nvml.tell("error nvmlDeviceGetPowerUsage 18 -1")
    until_it_fails(gpu, "version mismatch")
    wait_for_end(pid)
    nvml.tell()
    manual_clock.move(PATIENCE.pause)
    settled(gpu)
    assert child_of(gpu) != pid


def test_without_a_driver_there_is_no_series_no_error_and_no_process_but_another_look_every_five_minutes(
    without_driver: Gpu, manual_clock: ManualClock, nvml_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quick_read(without_driver) == Reading((), ())
    pid = child_of(without_driver)
    until_absent(without_driver)
    wait_for_end(pid)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(nvml_library))
    manual_clock.move(PATIENCE.absence - 1)
    assert quick_read(without_driver) == Reading((), ())
    assert without_driver._child is None
    manual_clock.move(2)
    assert settled(without_driver).values


def test_a_driver_without_gpus_is_the_same(gpu: Gpu, nvml: StubNvml) -> None:
    nvml.tell("count 0")
    quick_read(gpu)
    until_absent(gpu)


def test_gpus_that_vanish_all_disappear(gpu: Gpu, nvml: StubNvml) -> None:
    settled(gpu)
    nvml.tell("count 0")
    until_absent(gpu)


def test_after_a_pause_the_values_are_new_not_those_of_before(
    gpu: Gpu, nvml: StubNvml, manual_clock: ManualClock
) -> None:
    settled(gpu)
    asked = nvml.calls("nvmlDeviceGetUtilizationRates")
    wait_until(lambda: nvml.calls("nvmlDeviceGetUtilizationRates") >= asked, 10)
    wait_until(lambda: nvml.calls("nvmlEventSetWait_v2") >= 2, 10, "the answer that will be stale")
    nvml.tell("count 3")
    manual_clock.move(60)
    reading = quick_read(gpu)
    if any(map(math.isnan, reading.values)):  # not within a quarter of a second on a busy machine
        reading = settled(gpu)
    assert "GPU-stub-2" in {dict(series.labels)["uuid"] for series in reading.series}


def test_no_reading_waits_for_the_driver(gpu: Gpu, nvml: StubNvml) -> None:
    nvml.tell("hang nvmlInitWithFlags")
    for _ in range(20):
        assert quick_read(gpu) == Reading((), ())


def test_closing_ends_even_a_hung_process(gpu: Gpu, nvml: StubNvml) -> None:
    settled(gpu)
    hang(gpu, nvml)
    pid = child_of(gpu)
    gpu.close()
    assert not alive(pid)


READER = """
import sys, time
from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors.gpu import Gpu
from collectors_dagster.collectors.protocol import Host
gpu = Gpu(Host(SystemClock()))
while True:
    print(len(gpu.read().series), gpu._child.pid, "pynvml" in sys.modules, flush=True)
    time.sleep(0.05)
"""


@pytest.mark.parametrize("behaviour", ["", "hang nvmlDeviceGetPowerUsage"])
@pytest.mark.usefixtures("nvml")
def test_the_process_dies_with_whoever_asks_even_if_both_cannot_say_goodbye(nvml: StubNvml, behaviour: str) -> None:
    nvml.tell(behaviour)
    with killed_at_last([sys.executable, "-c", READER], cwd=REPOSITORY) as reader:
        assert reader.stdout is not None
        _, pid, imported = reader.stdout.readline().split()
        wait_until(lambda: nvml.calls("nvmlDeviceGetPowerUsage") > 0, 20, "the first question")
        assert alive(int(pid))
        reader.kill()
    wait_for_end(int(pid))
    assert imported == "False", "NVML's bindings belong into the child"


def test_the_process_is_lean_and_inherits_nothing_but_its_pipes(gpu: Gpu) -> None:
    next_answer(gpu)
    status = Path(f"/proc/{child_of(gpu)}/status").read_text()
    (resident,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    assert resident < LEAN_KIB
    opened = {str(entry.readlink()) for entry in Path(f"/proc/{child_of(gpu)}/fd").iterdir()}
    assert {name for name in opened if not name.startswith("pipe:")} <= {"/dev/null"}
    assert "site-packages" not in Path(f"/proc/{child_of(gpu)}/maps").read_text(), "a package with a library"


@pytest.mark.usefixtures("nvml")
def test_real_seconds_work_too() -> None:
    collector = Gpu(Host(SystemClock()))
    assert settled(collector).values
    collector.close()
