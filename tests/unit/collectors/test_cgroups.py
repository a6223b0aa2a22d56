"""Cgroups of version 2, version 1 and both; what vanishes, comes anew, or would lead out of the hierarchy."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.collectors.cgroup import INTERVAL_SECONDS, MOST_CGROUPS, Cgroup
from collectors_dagster.collectors.protocol import Host, Reading, Watched
from collectors_dagster.errors import SourceUnavailableError
from collectors_dagster.scopes import Scope
from tests.support.trees import DATA, by_name, host_at

OWN = "/agents.slice/collectors.service"
WEB, DB = "/system.slice/shop-web.service", "/system.slice/shop-db.service"
SHOP = Scope(host=False, cgroups=("/system.slice/shop-*.service",))


class CgroupHost:
    """A copy of a recorded host that a test may change, looked at again and again."""

    def __init__(self, root: Path, tree: str, *scopes: Scope) -> None:
        shutil.copytree(DATA / tree, root, symlinks=True)
        self.root = root
        self.clock = ManualClock()
        self.host = host_at(root, self.clock, *scopes)
        self.collector = Cgroup(self.host)
        self.reading = Reading((), ())

    def group(self, path: str, hierarchy: str = "") -> Path:
        return self.root / "sys/fs/cgroup" / hierarchy / path.removeprefix("/")

    def look(self) -> dict[str, float]:
        self.clock.sleep(INTERVAL_SECONDS)
        self.reading = self.collector.read()
        return by_name(self.reading)

    def paths(self) -> set[str]:
        self.look()
        return {dict(series.labels)["cgroup"] for series in self.reading.series}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[CgroupHost]:
    made = CgroupHost(tmp_path / "host", "cgroups-v2", SHOP)
    yield made
    made.collector.close()


def told(values: dict[str, float], path: str) -> dict[str, float]:
    return {name.replace(f"/{path}", "", 1): value for name, value in values.items() if f"/{path}" in name}


def test_version_2_is_told_in_base_units() -> None:
    values = told(by_name(Cgroup(host_at(DATA / "cgroups-v2", None, SHOP)).read()), WEB)
    assert values == {
        "cgroup_cpu_seconds_total": 12.0,
        "cgroup_cpu_user_seconds_total": 8.0,
        "cgroup_cpu_system_seconds_total": 4.0,
        "cgroup_cpu_periods_total": 100,
        "cgroup_cpu_throttled_periods_total": 7,
        "cgroup_cpu_throttled_seconds_total": 1.5,
        "cgroup_memory_bytes": 200_000_000,
        "cgroup_memory_max_bytes": 536_870_912,
        "cgroup_memory_peak_bytes": 400_000_000,
        "cgroup_swap_bytes": 4096,
        "cgroup_oom_total": 3,
        "cgroup_oom_kills_total": 2,
        "cgroup_pids": 11,
        "cgroup_io_read_bytes_total/sda": 512_000,
        "cgroup_io_written_bytes_total/sda": 1_024_000,
        "cgroup_io_reads_total/sda": 10,
        "cgroup_io_writes_total/sda": 20,
        "cgroup_io_read_bytes_total/254:16": 1,
        "cgroup_io_written_bytes_total/254:16": 2,
        "cgroup_io_reads_total/254:16": 3,
        "cgroup_io_writes_total/254:16": 4,
        "cgroup_pressure_cpu_waiting_seconds_total": 2.5,
        "cgroup_pressure_cpu_stalled_seconds_total": 0.5,
        "cgroup_pressure_memory_waiting_seconds_total": 0,
        "cgroup_pressure_memory_stalled_seconds_total": 0,
        "cgroup_pressure_io_waiting_seconds_total": 7,
        "cgroup_pressure_io_stalled_seconds_total": 6,
    }


def test_version_1_is_told_in_base_units() -> None:
    scope = Scope(host=False, cgroups=("/docker/shop",))
    values = told(by_name(Cgroup(host_at(DATA / "cgroups-v1", None, scope)).read()), "/docker/shop")
    assert values == {
        "cgroup_cpu_seconds_total": 12.5,
        "cgroup_cpu_user_seconds_total": 12.0,
        "cgroup_cpu_system_seconds_total": 0.5,
        "cgroup_cpu_periods_total": 40,
        "cgroup_cpu_throttled_periods_total": 4,
        "cgroup_cpu_throttled_seconds_total": 2.0,
        "cgroup_memory_bytes": 12_000_000,
        "cgroup_memory_max_bytes": 104_857_600,
        "cgroup_memory_peak_bytes": 12_500_000,
        "cgroup_swap_bytes": 8192,
        "cgroup_oom_kills_total": 1,
        "cgroup_io_read_bytes_total/8:0": 4096,
        "cgroup_io_written_bytes_total/8:0": 8192,
        "cgroup_io_reads_total/8:0": 1,
        "cgroup_io_writes_total/8:0": 2,
        "cgroup_pids": 5,
        "cgroup_pids_max": 64,
    }


def test_a_hybrid_host_gives_figures_of_version_1_and_pressure_of_version_2() -> None:
    values = told(by_name(Cgroup(host_at(DATA / "linux-6.18")).read()), "/shop.slice")
    assert values["cgroup_cpu_seconds_total"] == 0.658725849
    assert values["cgroup_cpu_throttled_periods_total"] == 32
    assert values["cgroup_memory_max_bytes"] == 256 * 1024**2
    assert values["cgroup_pids_max"] == 64
    assert values["cgroup_pressure_cpu_waiting_seconds_total"] == 1.597054
    assert len({name for name in values if name.startswith("cgroup_cpu_seconds_total")}) == 1


def test_without_a_limit_there_is_no_series_of_it() -> None:
    values = by_name(Cgroup(host_at(DATA / "cgroups-v2", None, SHOP)).read())
    assert f"cgroup_memory_max_bytes/{DB}" not in values
    assert f"cgroup_memory_bytes/{DB}" in values


@pytest.mark.parametrize(
    ("tree", "own"), [("cgroups-v2", OWN), ("cgroups-v1", "/docker/agent"), ("linux-6.18", "/shop.slice")]
)
def test_the_agents_own_cgroup_is_always_seen(tree: str, own: str) -> None:
    reading = Cgroup(host_at(DATA / tree)).read()
    assert {dict(series.labels)["cgroup"] for series in reading.series} == {own}


@pytest.mark.parametrize("told_path", ["/not/mounted/here", "/../elsewhere"])
def test_in_a_container_whose_hierarchy_begins_at_its_own_cgroup_it_is_the_root(tmp_path: Path, told_path: str) -> None:
    host = CgroupHost(tmp_path / "host", "cgroups-v2")
    (host.root / "proc/self/cgroup").write_text(f"0::{told_path}\n")
    assert host.paths() == {"/"}


def test_only_what_a_scope_names_is_looked_at(shop: CgroupHost) -> None:
    assert shop.paths() == {OWN, WEB, DB}
    shop.host.watched.scopes = (Scope(host=False, cgroups=(f"{DB}/**", "/system.slice/bank.service")),)
    assert shop.paths() == {OWN, f"{DB}/backup", "/system.slice/bank.service"}


def test_a_cgroup_that_vanishes_is_gone_without_an_error(shop: CgroupHost) -> None:
    shop.look()
    shutil.rmtree(shop.group(WEB))
    assert shop.paths() == {OWN, DB}
    assert not shop.reading.errors
    shutil.rmtree(shop.group("/system.slice"))
    assert shop.paths() == {OWN}
    assert not shop.reading.errors


def test_a_cgroup_that_appears_is_seen_at_the_next_look(shop: CgroupHost) -> None:
    shop.look()
    shutil.copytree(shop.group(WEB), shop.group("/system.slice/shop-new.service"))
    assert "/system.slice/shop-new.service" in shop.paths()


def test_a_counter_that_goes_back_is_told_once_and_the_rest_goes_on(shop: CgroupHost) -> None:
    shop.look()
    (shop.group(WEB) / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\nsystem_usec 2\n")
    values = shop.look()
    assert values[f"cgroup_cpu_seconds_total/{WEB}"] == pytest.approx(5e-6)
    (error,) = shop.reading.errors
    assert "went back" in str(error)
    assert WEB in str(error)
    shop.look()
    assert not shop.reading.errors


def test_a_file_that_cannot_be_understood_costs_no_other(shop: CgroupHost) -> None:
    (shop.group(WEB) / "memory.current").write_text("plenty\n")
    values = shop.look()
    assert f"cgroup_memory_bytes/{WEB}" not in values
    assert values[f"cgroup_cpu_seconds_total/{WEB}"] == 12.0
    assert len(shop.reading.errors) == 1


@pytest.mark.parametrize("link", ["directory", "file"])
def test_no_symbolic_link_leads_out_of_the_hierarchy(tmp_path: Path, link: str) -> None:
    host = CgroupHost(
        tmp_path / "host", "cgroups-v2", Scope(host=False, cgroups=("/system.slice/*", "/escape", "/*/x"))
    )
    outside = tmp_path / "outside"
    shutil.copytree(host.group(WEB), outside / "x")
    if link == "directory":
        host.group("/escape").symlink_to(outside)
        host.group("/system.slice/shop-link.service").symlink_to(outside / "x")
    else:
        (host.group(WEB) / "memory.current").unlink()
        (host.group(WEB) / "memory.current").symlink_to(outside / "x/memory.current")
    values = host.look()
    assert not [name for name in values if "escape" in name or "shop-link" in name or name.endswith("/x")]
    assert (f"cgroup_memory_bytes/{WEB}" in values) == (link == "directory")


def test_too_many_cgroups_are_told_and_every_scope_keeps_its_share(tmp_path: Path) -> None:
    greedy, modest = Scope(host=False, cgroups=("/many/*",)), Scope(host=False, cgroups=(WEB,))
    host = CgroupHost(tmp_path / "host", "cgroups-v2", greedy, modest)
    for number in range(MOST_CGROUPS + 10):
        host.group(f"/many/{number}").mkdir(parents=True)
        (host.group(f"/many/{number}") / "memory.current").write_text("1\n")
    paths = host.paths()
    assert {OWN, WEB} < paths
    assert len(paths) == MOST_CGROUPS
    (error,) = host.reading.errors
    assert "62 cgroups match, 50 are followed" in str(error)


def test_a_host_without_cgroups_is_an_unavailable_source(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    collector = Cgroup(host_at(tmp_path))
    for _ in range(2):
        with pytest.raises(SourceUnavailableError, match="no hierarchy of cgroups"):
            collector.read()


def test_series_stay_the_same_object_from_look_to_look(shop: CgroupHost) -> None:
    shop.look()
    before = shop.reading.series
    shop.look()
    assert shop.reading.series is before


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="makes a cgroup of its own")
def test_a_real_cgroup_that_is_removed_and_made_again_is_followed() -> None:
    """What a recorded tree cannot show: descriptors of a removed cgroup answer ENODEV."""
    root = Path("/sys/fs/cgroup")
    base = root if (root / "cgroup.controllers").exists() else root / "memory"
    path = base / f"collectors-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"this host lets nobody make a cgroup: {error.strerror}")
    clock = ManualClock()
    collector = Cgroup(Host(clock, watched=Watched(Scope(host=False, cgroups=(f"/{path.name}",)))))

    def seen() -> bool:
        clock.sleep(INTERVAL_SECONDS)
        reading = collector.read()
        assert not reading.errors
        return any(dict(series.labels)["cgroup"] == f"/{path.name}" for series in reading.series)

    try:
        assert seen()
        path.rmdir()
        path.mkdir()
        assert seen()
        path.rmdir()
        assert not seen()
    finally:
        collector.close()
        if path.exists():
            path.rmdir()


@pytest.mark.skipif(sys.platform != "linux", reason="compares with the kernel")
def test_this_hosts_own_cgroup_is_read_without_an_error() -> None:
    reading = Cgroup(Host(SystemClock())).read()
    assert reading.series
    assert not reading.errors
