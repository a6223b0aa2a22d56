"""What the collector makes of NVML's answers. Every value here comes from a stand-in library, not from a GPU."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors_dagster.collectors.gpu import Gpu
from collectors_dagster.collectors.protocol import Reading
from collectors_dagster.errors import SourceUnavailableError
from tests.support.gpus import StubNvml, child_of, next_answer, settled
from tests.support.trees import by_name, host_at

GIB = 2.0**30
UNSUPPORTED, UNKNOWN, LOST, TIMEOUT = 3, 999, 15, 10
SLOW_TURNS, RENEW_TURNS = 5, 30


@pytest.fixture
def gpu(nvml: StubNvml, tmp_path: Path) -> Iterator[Gpu]:
    collector = Gpu(host_at(tmp_path))
    yield collector
    collector.close()


def of(reading: Reading, uuid: str) -> dict[str, float]:
    """Return the values of one GPU or instance, by metric and remaining labels."""
    shown = {}
    for series, value in zip(reading.series, reading.values, strict=True):
        labels = dict(series.labels)
        if labels.pop("uuid") == uuid:
            for common in ("gpu", "mig", "driver"):
                labels.pop(common, None)
            shown["/".join((series.metric.name.removeprefix("gpu_"), *labels.values()))] = value
    return shown


def after(gpu: Gpu, answers: int) -> Reading:
    """Return the reading after so many further answers."""
    for _ in range(answers):
        settled(gpu)
    return settled(gpu)


def add_process(root: Path, pid: int, executable: str | None, comm: str) -> None:
    folder = root / "proc" / str(pid)
    folder.mkdir(parents=True)
    (folder / "comm").write_text(f"{comm}\n")
    if executable is not None:
        (folder / "exe").symlink_to(executable)


def test_every_metric_is_told_in_its_base_unit(gpu: Gpu) -> None:
    values = of(settled(gpu), "GPU-stub-0")
    throttled = {"sw_power_cap", "sw_thermal_slowdown"}
    assert {name: value for name, value in values.items() if "throttle" not in name} == {
        "info/Stub 100": 1,
        "utilization_ratio": 0.4,
        "memory_busy_ratio": 0.2,
        "encoder_utilization_ratio": 0.05,
        "decoder_utilization_ratio": 0.06,
        "memory_total_bytes": 80 * GIB,
        "memory_used_bytes": 10 * GIB,
        "memory_reserved_bytes": GIB,
        "power_watts": 123.456,
        "power_limit_watts": 350,
        "energy_joules_total": 5000000.123,
        "temperature_celsius": 55,
        "memory_temperature_celsius": 70,
        "clock_hertz/graphics": 1.00e9,
        "clock_hertz/sm": 1.01e9,
        "clock_hertz/memory": 1.02e9,
        "clock_hertz/video": 1.03e9,
        "clock_limit_hertz/graphics": 2.00e9,
        "clock_limit_hertz/sm": 2.01e9,
        "clock_limit_hertz/memory": 2.02e9,
        "clock_limit_hertz/video": 2.03e9,
        "performance_state": 2,
        "fan_speed_ratio/0": 0.30,
        "fan_speed_ratio/1": 0.31,
        "ecc_errors_total/corrected": 1,
        "ecc_errors_total/uncorrected": 2,
        "ecc_aggregate_errors/corrected": 11,
        "ecc_aggregate_errors/uncorrected": 12,
        "retired_pages/single_bit": 29,
        "retired_pages/double_bit": 30,
        "retired_pages_pending": 31,
        "remapped_rows/corrected": 3,
        "remapped_rows/uncorrected": 4,
        "remapped_rows_pending": 1,
        "remapped_rows_failed": 0,
        "pcie_transmit_bytes_per_second": 1.5e6,
        "pcie_receive_bytes_per_second": 2.5e6,
        "pcie_replays_total": 17,
        "pcie_link_generation": 4,
        "pcie_link_generation_limit": 5,
        "pcie_link_width": 8,
        "pcie_link_width_limit": 16,
        "xid_errors_total": 0,
        "xid_last": 0,
        "processes": 0,
    }
    reasons = {name.partition("/")[2]: value for name, value in values.items() if "throttle" in name}
    assert len(reasons) == 9
    assert reasons == {name: float(name in throttled) for name in reasons}


def test_every_metric_that_is_promised_is_told(gpu: Gpu, nvml: StubNvml) -> None:
    nvml.tell("mig 1 1", "process 77 1000 0")
    told = {series.metric for series in settled(gpu).series}
    not_of_this_library = {"gpu_mig_utilization_ratio"}  # present drivers refuse it; see below
    assert {metric.name for metric in set(Gpu.metrics) - told} == not_of_this_library


def test_gpus_are_told_apart_by_index_and_uuid(gpu: Gpu) -> None:
    reading = settled(gpu)
    assert of(reading, "GPU-stub-1")["temperature_celsius"] == 56
    assert {dict(one.labels)["gpu"] for one in reading.series if dict(one.labels)["uuid"] == "GPU-stub-1"} == {"1"}
    info = [dict(one.labels) for one in reading.series if one.metric.name == "gpu_info"]
    assert info[1] == {"driver": "999.99.stub", "gpu": "1", "model": "Stub 200", "uuid": "GPU-stub-1"}


def test_memory_is_told_by_executable_and_added_up_over_its_processes(gpu: Gpu, nvml: StubNvml, tmp_path: Path) -> None:
    add_process(tmp_path, 11, "/usr/bin/trainer", "python3")
    add_process(tmp_path, 12, "/opt/trainer (deleted)", "python3")
    add_process(tmp_path, 13, None, "kernel-ish")
    nvml.tell(*(f"process {pid} {10 * pid} 0" for pid in (11, 12, 13, 14)))
    values = of(settled(gpu), "GPU-stub-0")
    assert {name: value for name, value in values.items() if name.startswith("process")} == {
        "processes": 4,
        "process_memory_bytes/trainer": 110 + 120,
        "process_memory_bytes/kernel-ish": 130,
        "process_memory_bytes/(unknown)": 140,
    }


def test_only_the_largest_executables_are_told_by_name(gpu: Gpu, nvml: StubNvml, tmp_path: Path) -> None:
    for pid in range(100, 125):
        add_process(tmp_path, pid, None, f"p{pid}")
    nvml.tell(*(f"process {pid} {pid} 0" for pid in range(100, 125)))
    values = of(settled(gpu), "GPU-stub-0")
    told = {name for name in values if name.startswith("process_memory_bytes/")}
    assert told == {f"process_memory_bytes/p{pid}" for pid in range(105, 125)} | {"process_memory_bytes/(other)"}
    assert values["process_memory_bytes/(other)"] == sum(range(100, 105))
    assert values["processes"] == 25


def test_names_of_any_bytes_are_text_that_can_be_stored(gpu: Gpu, nvml: StubNvml, tmp_path: Path) -> None:
    add_process(tmp_path, 11, os.fsdecode(b"/bin/\xff\xfe"), "x")
    nvml.tell("process 11 5 0")
    assert of(settled(gpu), "GPU-stub-0")["process_memory_bytes/\\xff\\xfe"] == 5


def test_processes_that_end_take_their_series_along(gpu: Gpu, nvml: StubNvml) -> None:
    nvml.tell("process 11 5 0")
    assert "gpu_process_memory_bytes/(unknown)/0/GPU-stub-0" in by_name(settled(gpu))
    nvml.tell()
    assert "gpu_process_memory_bytes/(unknown)/0/GPU-stub-0" not in by_name(after(gpu, SLOW_TURNS + 1))


def test_processes_are_told_where_only_some_are_listed(gpu: Gpu, nvml: StubNvml) -> None:
    lists = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3")
    nvml.tell("process 11 5 0", f"error {lists[1]} {UNSUPPORTED} -1", f"error {lists[0]} {UNSUPPORTED} 1")
    reading = settled(gpu)
    assert of(reading, "GPU-stub-0")["process_memory_bytes/(unknown)"] == 5
    assert "processes" not in of(reading, "GPU-stub-1")
    assert nvml.calls(lists[1]) == 2
    after(gpu, SLOW_TURNS + 1)
    assert nvml.calls(lists[1]) == 2


def test_processes_that_are_not_listed_this_time_are_nan(gpu: Gpu, nvml: StubNvml) -> None:
    nvml.tell("process 11 5 0")
    series = settled(gpu).series
    nvml.tell(f"error nvmlDeviceGetComputeRunningProcesses_v3 {UNKNOWN} 0")
    reading = after(gpu, SLOW_TURNS + 1)
    assert reading.series is series
    assert math.isnan(of(reading, "GPU-stub-0")["process_memory_bytes/(unknown)"])


def test_instances_are_told_beside_their_gpu(gpu: Gpu, nvml: StubNvml) -> None:
    nvml.tell("mig 0 2", "process 11 5 0")
    reading = settled(gpu)
    assert of(reading, "MIG-stub-0-1") == {
        "mig_memory_total_bytes": 10 * GIB,
        "mig_memory_used_bytes": 2 * GIB,
        "processes": 1,
        "process_memory_bytes/(unknown)": 5,
    }
    assert {dict(one.labels)["mig"] for one in reading.series if "mig" in dict(one.labels)} == {"7/0", "8/0"}
    whole = of(reading, "GPU-stub-0")
    assert whole["power_watts"] == 123.456
    assert "processes" not in whole, "a process was counted for the GPU and for its instance"


def test_instances_come_and_go(gpu: Gpu, nvml: StubNvml) -> None:
    assert not of(settled(gpu), "MIG-stub-1-0")
    nvml.tell("mig 1 1")
    assert of(after(gpu, SLOW_TURNS + 1), "MIG-stub-1-0")
    nvml.tell()
    gone = after(gpu, SLOW_TURNS + 1)
    assert not of(gone, "MIG-stub-1-0")
    assert of(gone, "GPU-stub-1")["processes"] == 0


def test_what_a_gpu_cannot_tell_is_left_out_and_never_asked_again(gpu: Gpu, nvml: StubNvml) -> None:
    refused = ("nvmlDeviceGetFanSpeed_v2", "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetEncoderUtilization")
    nvml.tell(*(f"error {function} {UNSUPPORTED} -1" for function in refused), f"field 82 {UNSUPPORTED}")
    names = {series.metric.name for series in settled(gpu).series}
    assert not names & {"gpu_fan_speed_ratio", "gpu_ecc_errors_total", "gpu_memory_temperature_celsius"}
    assert "gpu_retired_pages" in names
    asked = {function: nvml.calls(function) for function in refused}
    assert min(asked.values()) > 0
    after(gpu, 2 * SLOW_TURNS)
    assert {function: nvml.calls(function) for function in refused} == asked
    assert nvml.calls("nvmlDeviceGetPowerUsage") > 2 * SLOW_TURNS


def test_one_gpu_that_cannot_does_not_speak_for_the_other(gpu: Gpu, nvml: StubNvml) -> None:
    nvml.tell(f"error nvmlDeviceGetPowerUsage {UNSUPPORTED} 0")
    reading = settled(gpu)
    assert "power_watts" not in of(reading, "GPU-stub-0")
    assert of(reading, "GPU-stub-1")["power_watts"] == 123.456


def test_an_old_driver_is_asked_in_its_own_words(gpu: Gpu, nvml: StubNvml) -> None:
    missing = 13
    nvml.tell(
        f"error nvmlDeviceGetMemoryInfo_v2 {missing} -1",
        f"error nvmlDeviceGetCurrentClocksEventReasons {missing} -1",
        f"error nvmlEventSetCreate {missing} -1",
    )
    values = of(settled(gpu), "GPU-stub-0")
    assert values["memory_used_bytes"] == 11 * GIB
    assert values["throttle_ratio/hw_slowdown"] == 1
    assert not {"memory_reserved_bytes", "xid_last"} & set(values)


def test_a_value_that_fails_once_is_nan_and_comes_back(gpu: Gpu, nvml: StubNvml) -> None:
    series = settled(gpu).series
    nvml.tell(f"error nvmlDeviceGetPowerUsage {TIMEOUT} -1", f"error nvmlDeviceGetPcieReplayCounter {UNKNOWN} -1")
    reading = after(gpu, SLOW_TURNS + 1)
    failed = {one.metric.name for one, value in zip(reading.series, reading.values, strict=True) if math.isnan(value)}
    assert failed == {"gpu_power_watts", "gpu_pcie_replays_total"}
    assert reading.series is series
    assert not reading.errors
    nvml.tell()
    assert of(after(gpu, SLOW_TURNS + 1), "GPU-stub-0")["pcie_replays_total"] == 17


def test_slow_questions_are_put_every_fifth_turn_and_their_answers_kept(gpu: Gpu, nvml: StubNvml) -> None:
    settled(gpu)
    before = nvml.calls("nvmlDeviceGetPcieThroughput"), nvml.calls("nvmlDeviceGetPowerUsage")
    reading = after(gpu, 4 * SLOW_TURNS - 1)
    slow = (nvml.calls("nvmlDeviceGetPcieThroughput") - before[0]) / 2
    quick = nvml.calls("nvmlDeviceGetPowerUsage") - before[1]
    assert quick / SLOW_TURNS - 2 <= slow <= quick / SLOW_TURNS + 2
    assert of(reading, "GPU-stub-0")["pcie_transmit_bytes_per_second"] == 1.5e6


def test_a_lost_gpu_disappears_by_name_and_the_other_goes_on(gpu: Gpu, nvml: StubNvml) -> None:
    settled(gpu)
    pid = child_of(gpu)
    nvml.tell(f"error nvmlDeviceGetPowerUsage {LOST} 1", f"error nvmlDeviceGetHandleByIndex_v2 {LOST} 1")
    reading = next_answer(gpu)
    assert [str(error) for error in reading.errors] == ["gpu: GPU 1 does not answer: GPU is lost"]
    assert isinstance(reading.errors[0], SourceUnavailableError)
    assert set(of(reading, "GPU-stub-1")) == {"xid_errors_total", "xid_last"}, "why it fell off the bus stays readable"
    assert of(reading, "GPU-stub-0")["power_watts"] == 123.456
    still = after(gpu, RENEW_TURNS + 1)
    assert not of(still, "GPU-stub-1")
    assert still.errors
    nvml.tell()
    back = after(gpu, RENEW_TURNS + 1)
    assert of(back, "GPU-stub-1")["power_watts"] == 123.456
    assert not back.errors
    assert child_of(gpu) == pid


def test_a_gpu_that_answers_nothing_any_more_is_lost(gpu: Gpu, nvml: StubNvml) -> None:
    settled(gpu)
    functions = {line for line in nvml.log.read_text().splitlines() if line.startswith("nvmlDeviceGet")}
    kept = {"nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetMigMode", "nvmlDeviceGetUUID"}
    nvml.tell(*(f"error {function} {UNKNOWN} 0" for function in functions - kept))
    reading = next_answer(gpu)
    assert [str(error) for error in reading.errors] == ["gpu: GPU 0 does not answer: Unknown Error"]
    assert of(reading, "GPU-stub-1")["power_watts"] == 123.456


def test_gpus_that_come_and_go_are_followed(gpu: Gpu, nvml: StubNvml) -> None:
    assert not of(settled(gpu), "GPU-stub-2")
    nvml.tell("count 3")
    assert of(next_answer(gpu), "GPU-stub-2")["power_watts"] == 123.456
    nvml.tell("count 1")
    assert {dict(series.labels)["uuid"] for series in next_answer(gpu).series} == {"GPU-stub-0"}


def test_a_gpu_that_a_container_may_not_see_is_no_error(gpu: Gpu, nvml: StubNvml) -> None:
    nvml.tell("error nvmlDeviceGetHandleByIndex_v2 4 0")
    reading = settled(gpu)
    assert {dict(series.labels)["gpu"] for series in reading.series} == {"1"}
    assert not reading.errors


def test_errors_that_the_driver_reports_are_counted_and_the_latest_named(gpu: Gpu, nvml: StubNvml) -> None:
    settled(gpu)
    nvml.tell("xid 1 31 0", "xid 2 79 0", "xid 3 43 1")
    reading = next_answer(gpu)
    assert of(reading, "GPU-stub-0")["xid_errors_total"] == 2
    assert of(reading, "GPU-stub-0")["xid_last"] == 79
    assert of(reading, "GPU-stub-1")["xid_last"] == 43
    nvml.tell("xid 4 48 0", "count 3")  # the other GPU makes NVML begin anew
    assert of(next_answer(gpu), "GPU-stub-0")["xid_errors_total"] >= 2
    assert of(next_answer(gpu), "GPU-stub-0")["xid_errors_total"] == 3


def test_sixteen_gpus_in_seven_parts_fit_into_a_message(gpu: Gpu, nvml: StubNvml) -> None:
    nvml.tell("count 16", *(f"mig {number} 7" for number in range(16)))
    reading = settled(gpu)
    assert len({dict(series.labels)["uuid"] for series in reading.series}) == 16 * 8
    assert len(reading.series) > 1000
    assert settled(gpu).series is reading.series
