"""Tenants follow their directory: within five seconds, without a restart, without losing anybody."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.config.tenants import TenantWatcher, load_tenants
from tests.support.project import ACME, Project

BOLT = "id: bolt\nname: Bolt\n"
FILE = "config/tenants/acme.yml"


def named(name: str) -> str:
    return f"id: acme\nname: {name}\n"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))  # beside the times that the filesystem stamps


@pytest.fixture
def watcher(project: Project, clock: ManualClock) -> TenantWatcher:
    project.write(FILE, named("Before"))
    found = TenantWatcher(project.settings(), clock)
    assert names(found) == ["Before"]
    return found


def names(watcher: TenantWatcher) -> list[str]:
    return [each.name for each in watcher.current().tenants]


def test_nothing_new_is_the_same_object(watcher: TenantWatcher, clock: ManualClock) -> None:
    before = watcher.current()
    for _ in range(10):
        clock.move(1)
        assert watcher.current() is before


CHANGES: dict[str, Callable[[Project], object]] = {
    "written in place": lambda project: project.write(FILE, named("After!")),
    "written in place at the same length": lambda project: project.write(FILE, named("Beforf")),
    "replaced atomically": lambda project: project.replace(FILE, named("After!")),
}


@pytest.mark.parametrize("how", CHANGES)
def test_change_is_followed_within_five_seconds(
    project: Project, watcher: TenantWatcher, clock: ManualClock, how: str
) -> None:
    CHANGES[how](project)
    clock.move(5)
    assert names(watcher) in (["After!"], ["Beforf"])


def test_change_at_the_same_length_and_time_is_followed(
    project: Project, watcher: TenantWatcher, clock: ManualClock
) -> None:
    path = project.root / FILE
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    project.write(FILE, named("Beforf"))
    os.utime(path, ns=times)
    clock.move(5)
    assert names(watcher) == ["Beforf"]


def test_directory_is_looked_at_only_every_two_seconds(
    project: Project, watcher: TenantWatcher, clock: ManualClock
) -> None:
    project.write("config/tenants/bolt.yml", BOLT)
    clock.move(1.9)
    assert names(watcher) == ["Before"]
    clock.move(0.1)
    assert names(watcher) == ["Before", "Bolt"]


def test_new_file_is_a_new_tenant_and_a_removed_file_is_none(
    project: Project, watcher: TenantWatcher, clock: ManualClock
) -> None:
    path = project.write("config/tenants/bolt.yml", BOLT)
    clock.move(5)
    assert names(watcher) == ["Before", "Bolt"]
    path.unlink()
    clock.move(5)
    assert names(watcher) == ["Before"]


def test_swapped_link_of_a_config_map_is_followed(project: Project, clock: ManualClock) -> None:
    mount = ConfigMap(project.tenants)
    mount.publish("..2026_11_22_01", {"acme.yml": named("Before")})
    watcher = TenantWatcher(project.settings(), clock)
    assert names(watcher) == ["Before"]

    mount.publish("..2026_11_22_02", {"acme.yml": named("After"), "bolt.yml": BOLT})
    clock.move(5)
    assert names(watcher) == ["After", "Bolt"]

    mount.publish("..2026_11_22_03", {"bolt.yml": BOLT})
    clock.move(5)
    assert names(watcher) == ["Bolt"]


class ConfigMap:
    """What Kubernetes does: files are links through ``..data``, which is swapped atomically to a new directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def publish(self, version: str, files: dict[str, str]) -> None:
        (self._directory / version).mkdir()
        for name, text in files.items():
            (self._directory / version / name).write_text(text)
        (self._directory / "..data_tmp").symlink_to(version)
        (self._directory / "..data_tmp").replace(self._directory / "..data")
        for name in files:
            if not (self._directory / name).is_symlink():
                (self._directory / name).symlink_to(f"..data/{name}")
        for link in self._directory.glob("*.yml"):
            if link.name not in files:
                link.unlink()


def test_swapped_link_of_the_whole_directory_is_followed(project: Project, clock: ManualClock) -> None:
    for version, name in (("one", "Before"), ("two", "After")):
        project.write(f"releases/{version}/acme.yml", named(name))
    project.tenants.rmdir()
    project.tenants.symlink_to(project.root / "releases" / "one")
    watcher = TenantWatcher(project.settings(), clock)
    assert names(watcher) == ["Before"]
    new = project.root / "config" / "tenants.new"
    new.symlink_to(project.root / "releases" / "two")
    new.replace(project.tenants)
    clock.move(5)
    assert names(watcher) == ["After"]


@pytest.mark.parametrize(
    "bad", ["", "id: acme\nname: [", "id: acme\n", "id: bolt\nname: x\n", "id: acme\nname: x\ntier: gold\n", "\x00"]
)
def test_bad_file_keeps_the_last_good_version_and_says_so(
    project: Project, watcher: TenantWatcher, clock: ManualClock, bad: str
) -> None:
    project.replace(FILE, bad)
    clock.move(5)
    assert names(watcher) == ["Before"]
    assert watcher.current().problems
    assert all("acme.yml" in line for line in watcher.current().problems)
    assert all(line.endswith("; keeping its last good version") for line in watcher.current().problems)

    project.replace(FILE, named("Repaired"))
    clock.move(5)
    assert names(watcher) == ["Repaired"]
    assert watcher.current().problems == ()


def test_last_good_version_is_the_last_one_not_the_first(
    project: Project, watcher: TenantWatcher, clock: ManualClock
) -> None:
    for text in (named("Second"), "bad: [", named("Third"), "worse: ["):
        project.replace(FILE, text)
        clock.move(5)
        watcher.current()
    assert names(watcher) == ["Third"]


def test_restart_with_a_bad_file_keeps_the_last_good_version(
    project: Project, watcher: TenantWatcher, clock: ManualClock
) -> None:
    project.replace(FILE, "id: [")
    after_restart = TenantWatcher(project.settings(), clock)
    assert names(after_restart) == ["Before"]
    assert "acme.yml:2: is malformed YAML" in after_restart.current().problems[0]
    assert load_tenants(project.settings()).ids() == ("acme",)


def test_file_that_cannot_be_opened_keeps_the_tenant(
    project: Project, watcher: TenantWatcher, clock: ManualClock
) -> None:
    path = project.root / FILE
    path.unlink()
    path.symlink_to("nowhere")
    clock.move(5)
    assert names(watcher) == ["Before"]
    assert "cannot be read" in watcher.current().problems[0]


def test_removed_tenant_does_not_come_back_as_a_last_good_version(
    project: Project, watcher: TenantWatcher, clock: ManualClock
) -> None:
    (project.root / FILE).unlink()
    clock.move(5)
    assert names(watcher) == []
    project.write(FILE, "id: [")
    clock.move(5)
    assert names(watcher) == []
    assert load_tenants(project.settings()).tenants == ()


def test_directory_that_is_away_keeps_everybody(project: Project, watcher: TenantWatcher, clock: ManualClock) -> None:
    project.tenants.rename(project.root / "config" / "elsewhere")
    clock.move(5)
    assert names(watcher) == ["Before"]
    assert "keeping the last good version of 1 tenants" in watcher.current().problems[0]
    assert names(TenantWatcher(project.settings(), clock)) == ["Before"]

    (project.root / "config" / "elsewhere").rename(project.tenants)
    clock.move(5)
    assert watcher.current().problems == ()


def test_data_directory_that_cannot_be_written_is_told_and_stops_nothing(project: Project, clock: ManualClock) -> None:
    project.write("home", "a file where the data directory should be")
    project.write(FILE, named("Before"))
    watcher = TenantWatcher(project.settings(), clock)
    assert names(watcher) == ["Before"]
    assert "the last good version cannot be kept" in watcher.current().problems[0]
    project.write(FILE, "id: [")
    clock.move(5)
    assert names(watcher) == ["Before"]


def test_webhook_address_is_not_copied_beside_the_last_good_version_for_others_to_read(project: Project) -> None:
    project.write(FILE, ACME.replace("[]", "[{kind: webhook, name: ops, url: 'https://h/secret'}]"))
    load_tenants(project.settings())
    (copy,) = (project.root / "home" / "run" / "tenants").iterdir()
    assert copy.stat().st_mode & 0o077 == 0
