"""What each source says of a recorded host, in exact numbers."""

import math
import shutil
from pathlib import Path

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.cpu import Cpu
from collectors_dagster.collectors.disk import Disk
from collectors_dagster.collectors.limits import LIMIT_REFRESH_SECONDS, Limits
from collectors_dagster.collectors.load import Load
from collectors_dagster.collectors.memory import Memory
from collectors_dagster.collectors.network import Network
from collectors_dagster.collectors.pressure import Pressure
from collectors_dagster.collectors.protocols import Protocols
from collectors_dagster.collectors.sockets import Sockets
from collectors_dagster.errors import SourceUnavailableError
from tests.support.trees import DATA, by_name, host_at, recorded_host

CONTAINER = "linux-5.15-container"


def copied(tree: str, to: Path, *without: str) -> Path:
    """Return a copy of a recorded tree that a test may change."""
    root = to / tree
    shutil.copytree(DATA / tree, root)
    for name in without:
        (root / name).unlink()
    return root


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


def test_cpu_tells_interrupts_and_what_they_left_to_do() -> None:
    values = by_name(Cpu(recorded_host("linux-3.10")).read())
    assert values["interrupts_total"] == 1000
    assert values["softirqs_total/net_rx"] == 40
    assert values["softirqs_total/rcu"] == 1
    assert sum(value for name, value in values.items() if name.startswith("softirqs_total/")) == 100


def test_cpu_tells_time_in_guests_over_all_cores() -> None:
    values = by_name(Cpu(recorded_host(CONTAINER)).read())
    assert values["cpu_guest_seconds_total/user"] == 50
    assert values["cpu_guest_seconds_total/nice"] == 0.1


def test_cores_that_are_switched_off_are_left_out() -> None:
    values = by_name(Cpu(recorded_host(CONTAINER)).read())
    assert values["cpu_count"] == 3
    assert {name.split("/")[1] for name in values if name.startswith("cpu_seconds_total/")} == {"0", "1", "3"}


def test_waiting_for_a_core_is_summed_in_seconds() -> None:
    values = by_name(Cpu(recorded_host("linux-3.10")).read())
    assert values["scheduler_running_seconds_total"] == 42
    assert values["scheduler_waiting_seconds_total"] == 2
    assert values["scheduler_timeslices_total"] == 15000


def test_frequency_is_told_over_all_cores_where_there_is_one() -> None:
    values = by_name(Cpu(recorded_host("linux-3.10")).read())
    assert values["cpu_frequency_hertz"] == 2.0e9
    assert values["cpu_frequency_lowest_hertz"] == 1.8e9
    assert values["cpu_frequency_limit_hertz"] == 3.5e9
    assert "cpu_frequency_hertz" not in by_name(Cpu(recorded_host(CONTAINER)).read())


def test_a_broken_part_of_the_cpu_costs_only_itself(tmp_path: Path) -> None:
    root = copied("linux-3.10", tmp_path)
    (root / "proc/schedstat").write_bytes(b"version 99\n")
    reading = Cpu(host_at(root)).read()
    assert by_name(reading)["cpu_count"] == 2
    assert len(reading.errors) == 1


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
    told = {series.metric for tree in ("linux-6.18", CONTAINER) for series in Memory(recorded_host(tree)).read().series}
    assert told == set(Memory.metrics)


def test_huge_pages_are_counted_in_pages() -> None:
    values = by_name(Memory(recorded_host(CONTAINER)).read())
    assert values["huge_pages"] == 512
    assert values["huge_pages_free"] == 500
    assert values["huge_page_size_bytes"] == 2048 * 1024


def test_paging_is_in_bytes_pages_and_events_by_who_asked_for_it() -> None:
    values = by_name(Memory(recorded_host(CONTAINER)).read())
    assert values["paged_out_bytes_total"] == 6000 * 1024
    assert values["memory_scanned_pages_total/direct"] == 900
    assert values["memory_reclaimed_pages_total/kswapd"] == 50000
    assert values["memory_refaults_total/files"] == 3400
    assert (values["swap_out_pages_total"], values["oom_kills_total"]) == (2058, 3)


def test_paging_that_cannot_be_read_does_not_cost_the_sizes(tmp_path: Path) -> None:
    reading = Memory(host_at(copied("linux-6.18", tmp_path, "proc/vmstat"))).read()
    assert by_name(reading)["memory_total_bytes"] > 0
    assert [type(error) for error in reading.errors] == [SourceUnavailableError]


def test_disk_counts_whole_disks_that_stand_on_no_other() -> None:
    values = by_name(Disk(recorded_host("linux-3.10")).read())
    assert values["disk_reads_total/sda"] == 1000
    assert values["disk_read_bytes_total/sda"] == 20000 * 512
    assert values["disk_written_bytes_total/sda"] == 40000 * 512
    assert values["disk_io_seconds_total/sda"] == 6.0
    assert values["disk_weighted_io_seconds_total/sda"] == 8.0
    assert not [name for name in values if name.endswith(("/sda1", "/md0", "/dm-0", "/sr0"))]


def test_disk_tells_times_merges_and_what_is_in_flight() -> None:
    values = by_name(Disk(recorded_host("linux-3.10")).read())
    assert (values["disk_read_seconds_total/sda"], values["disk_write_seconds_total/sda"]) == (3.0, 5.0)
    assert (values["disk_reads_merged_total/sda"], values["disk_writes_merged_total/sda"]) == (10, 20)
    assert values["disk_in_flight/sda"] == 0


def test_disk_tells_discards_and_flushes_as_far_as_its_kernel_counts_them() -> None:
    values = by_name(Disk(recorded_host(CONTAINER)).read())
    assert values["disk_in_flight/nvme0n1"] == 4
    assert values["disk_discarded_bytes_total/nvme0n1"] == 1400000 * 512
    assert (values["disk_flushes_total/nvme0n1"], values["disk_flush_seconds_total/nvme0n1"]) == (4000, 0.8)
    assert values["disk_discards_total/sda"] == 0
    assert "disk_flushes_total/sda" not in values
    assert "disk_discards_total/sda" not in by_name(Disk(recorded_host("linux-3.10")).read())


def test_a_disk_whose_name_has_a_slash_is_found_in_sysfs() -> None:
    assert by_name(Disk(recorded_host(CONTAINER)).read())["disk_reads_total/cciss/c0d0"] == 1


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
        "network_receive_multicast_total/eth0": 0,
        "network_receive_overruns_total/eth0": 0,
        "network_up/eth0": 1,
        "network_speed_bytes_per_second/eth0": 125_000_000,
        "network_mtu_bytes/eth0": 1500,
    }


def test_interfaces_with_odd_names_and_full_counters_are_read() -> None:
    values = by_name(Network(recorded_host(CONTAINER)).read())
    assert values["network_receive_bytes_total/br-3f2a@odd"] == 2**64 - 1
    assert values["network_receive_multicast_total/bond0.100"] == 7
    assert values["network_link_changes_total/bond0.100"] == 3


def test_only_links_that_have_a_speed_tell_one() -> None:
    values = by_name(Network(recorded_host(CONTAINER)).read())
    speeds = {name: value for name, value in values.items() if name.startswith("network_speed")}
    assert speeds == {"network_speed_bytes_per_second/bond0.100": 25_000 * 125_000}
    assert [values[f"network_up/{name}"] for name in ("bond0.100", "wg0", "br-3f2a@odd")] == [1, 1, 0]


def test_links_are_asked_again_after_a_while_or_when_an_interface_comes(tmp_path: Path) -> None:
    root, clock = copied("linux-3.10", tmp_path), ManualClock()
    network = Network(host_at(root, clock))
    before = network.read()
    (root / "sys/class/net/eth0/carrier").write_text("0\n")
    assert by_name(network.read())["network_up/eth0"] == 1
    clock.sleep(10)
    after = network.read()
    assert by_name(after)["network_up/eth0"] == 0
    assert after.series is before.series
    (root / "sys/class/net/wg0").mkdir()
    (root / "sys/class/net/wg0/carrier").write_text("1\n")
    with (root / "proc/net/dev").open("a") as dev:
        dev.write("wg0: 1 1 0 0 0 0 0 0 2 2 0 0 0 0 0 0\n")
    assert by_name(network.read())["network_up/wg0"] == 1
    network.close()


def test_devices_that_vanish_take_only_their_own_series_along(tmp_path: Path) -> None:
    root = copied(CONTAINER, tmp_path)
    network, disk = Network(host_at(root)), Disk(host_at(root))
    before = by_name(network.read()) | by_name(disk.read())
    for name, gone in (("net/dev", "wg0"), ("diskstats", " sda ")):
        file = root / "proc" / name
        kept = [line for line in file.read_text().splitlines(keepends=True) if gone not in line]
        file.write_text("".join(kept))
    shutil.rmtree(root / "sys/class/net/wg0")
    after = by_name(network.read()) | by_name(disk.read())
    assert set(before) - set(after) == {name for name in before if name.endswith(("/wg0", "/sda"))}
    assert all(before[name] == value for name, value in after.items())


def test_a_counter_that_goes_back_is_told_as_it_is(tmp_path: Path) -> None:
    root = copied("linux-3.10", tmp_path)
    network = Network(host_at(root))
    network.read()
    file = root / "proc/net/dev"
    file.write_text(file.read_text().replace("eth0:1234567", "eth0:      7"))
    assert by_name(network.read())["network_receive_bytes_total/eth0"] == 7


def test_protocols_tell_of_connections_and_what_is_lost() -> None:
    values = by_name(Protocols(recorded_host("linux-3.10")).read())
    assert values["tcp_established"] == 42
    assert (values["tcp_retransmits_total"], values["tcp_resets_total"]) == (33, 8)
    assert (values["tcp_listen_overflows_total"], values["tcp_listen_drops_total"]) == (9, 11)
    assert (values["udp_receive_errors_total"], values["udp_receive_buffer_errors_total"]) == (6, 6)
    assert values["ip_receive_bytes_total"] == 1200000
    assert "tcp_syn_retransmits_total" not in values


def test_protocols_of_a_present_kernel_are_complete() -> None:
    told = {series.metric for series in Protocols(recorded_host("linux-6.18")).read().series}
    assert told == set(Protocols.metrics)


def test_a_host_that_does_not_speak_ipv6_is_read_without_an_error() -> None:
    for collector in (Protocols(recorded_host(CONTAINER)), Sockets(recorded_host(CONTAINER))):
        reading = collector.read()
        assert reading.series
        assert not reading.errors
        assert not [series for series in reading.series if "ip6" in series.metric.name]


def test_sockets_are_counted_per_protocol_and_their_memory_in_bytes() -> None:
    values = by_name(Sockets(recorded_host("linux-3.10")).read())
    assert values["sockets"] == 180
    assert (values["sockets_in_use/tcp"], values["sockets_in_use/udp"], values["sockets_in_use/raw"]) == (50, 6, 1)
    assert (values["tcp_orphaned"], values["tcp_time_wait"], values["tcp_allocated"]) == (1, 17, 60)
    assert values["socket_memory_bytes/tcp"] == 8 * 4096
    assert (values["ip_fragments_in_use/ip"], values["ip_fragment_memory_bytes/ip"]) == (2, 3072)
    assert "sockets_in_use/tcp6" in by_name(Sockets(recorded_host("linux-6.18")).read())


def test_limits_stand_beside_what_is_used() -> None:
    values = by_name(Limits(recorded_host("linux-3.10")).read())
    assert values == {
        "open_files": 1984,
        "open_files_limit": 389376,
        "inodes_cached": 60000,
        "inodes_cached_free": 4000,
        "threads": 200,
        "threads_limit": 31453,
        "process_ids_limit": 32768,
        "entropy_available_bits": 871,
    }
    assert by_name(Limits(recorded_host("linux-6.18")).read())["conntrack_limit"] > 0


def test_limits_are_looked_for_once_a_minute_and_what_is_used_at_each_reading(tmp_path: Path) -> None:
    root, clock = copied("linux-3.10", tmp_path), ManualClock()
    limits = Limits(host_at(root, clock))
    before = limits.read()
    (root / "proc/sys/fs/file-nr").write_text("1985\t0\t389376\n")
    (root / "proc/sys/kernel/pid_max").write_text("99999\n")
    after = limits.read()
    assert (by_name(after)["open_files"], by_name(after)["process_ids_limit"]) == (1985, 32768)
    assert after.series is before.series
    clock.sleep(LIMIT_REFRESH_SECONDS)
    assert by_name(limits.read())["process_ids_limit"] == 99999


def test_pressure_is_in_seconds() -> None:
    values = by_name(Pressure(recorded_host("linux-6.18")).read())
    assert all(math.isfinite(value) and value >= 0 for value in values.values())
    assert values["pressure_cpu_waiting_seconds_total"] > 1


def test_a_kernel_without_pressure_information_is_an_unavailable_source() -> None:
    with pytest.raises(SourceUnavailableError, match="pressure"):
        Pressure(recorded_host("linux-3.10")).read()
