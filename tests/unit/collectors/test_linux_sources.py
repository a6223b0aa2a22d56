"""What each source says of a recorded host, in exact numbers."""

import math

import pytest

from collectors_dagster.collectors.cpu import Cpu
from collectors_dagster.collectors.disk import Disk
from collectors_dagster.collectors.load import Load
from collectors_dagster.collectors.memory import Memory
from collectors_dagster.collectors.network import Network
from collectors_dagster.collectors.pressure import Pressure
from collectors_dagster.errors import SourceUnavailableError
from tests.support.trees import by_name, recorded_host


def test_cpu_counts_guests_once_and_idle_never_as_busy() -> None:
    values = by_name(Cpu(recorded_host("linux-3.10")).read())
    assert values["cpu_seconds_total/0/user"] == 12.0
    assert values["cpu_seconds_total/1/steal"] == 0.03
    assert values["cpu_busy_seconds_total"] == pytest.approx((2200 + 20 + 700 + 4 + 16 + 8) / 100)
    assert values["cpu_iowait_seconds_total"] == 3.0
    assert values["cpu_count"] == 2


def test_cpu_tells_the_schedulers_counters() -> None:
    values = by_name(Cpu(recorded_host("linux-3.10")).read())
    assert values["context_switches_total"] == 987654
    assert values["forks_total"] == 4321
    assert (values["processes_running"], values["processes_blocked"]) == (3, 1)


def test_load_is_three_averages() -> None:
    assert by_name(Load(recorded_host("linux-3.10")).read()) == {"load1": 1.5, "load5": 0.75, "load15": 0.25}


def test_memory_is_in_bytes_and_leaves_out_what_the_kernel_does_not_tell() -> None:
    values = by_name(Memory(recorded_host("linux-3.10")).read())
    assert values["memory_total_bytes"] == 4045440 * 1024
    assert values["swap_free_bytes"] == 1572864 * 1024
    assert values["page_faults_major_total"] == 33
    assert "memory_available_bytes" not in values
    assert "oom_kills_total" not in values


def test_memory_of_a_present_kernel_is_complete() -> None:
    values = by_name(Memory(recorded_host("linux-6.18")).read())
    assert len(values) == len(Memory.metrics)


def test_disk_counts_whole_disks_that_stand_on_no_other() -> None:
    values = by_name(Disk(recorded_host("linux-3.10")).read())
    assert values["disk_reads_total/sda"] == 1000
    assert values["disk_read_bytes_total/sda"] == 20000 * 512
    assert values["disk_written_bytes_total/sda"] == 40000 * 512
    assert values["disk_io_seconds_total/sda"] == 6.0
    assert values["disk_weighted_io_seconds_total/sda"] == 8.0
    assert not [name for name in values if name.endswith(("/sda1", "/md0", "/dm-0", "/sr0"))]


def test_disk_ignores_loop_devices_and_compressed_memory() -> None:
    values = by_name(Disk(recorded_host("linux-6.18")).read())
    devices = {name.split("/")[1] for name in values if name.startswith("disk_reads_total")}
    assert devices == {"vda"}


def test_network_leaves_out_the_loopback_and_inner_ends_of_containers() -> None:
    values = by_name(Network(recorded_host("linux-3.10")).read())
    assert values == {
        "network_receive_bytes_total/eth0": 1234567,
        "network_transmit_bytes_total/eth0": 7654321,
        "network_receive_packets_total/eth0": 1000,
        "network_transmit_packets_total/eth0": 900,
        "network_receive_errors_total/eth0": 1,
        "network_transmit_errors_total/eth0": 3,
        "network_receive_drops_total/eth0": 2,
        "network_transmit_drops_total/eth0": 4,
    }


def test_pressure_is_in_seconds() -> None:
    values = by_name(Pressure(recorded_host("linux-6.18")).read())
    assert all(math.isfinite(value) and value >= 0 for value in values.values())
    assert values["pressure_cpu_waiting_seconds_total"] > 1


def test_a_kernel_without_pressure_information_is_an_unavailable_source() -> None:
    with pytest.raises(SourceUnavailableError, match="pressure"):
        Pressure(recorded_host("linux-3.10")).read()
