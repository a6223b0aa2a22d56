"""Space on filesystems: which ones, and never at the price of a sweep."""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.filesystem import (
    REFRESH_SECONDS,
    Filesystems,
    MountTable,
    Space,
    parse_mountinfo,
    usage_of,
)
from collectors_dagster.errors import SourceUnavailableError
from tests.support.trees import DATA, by_name, recorded_host

ANSWER = os.statvfs_result((4096, 1024, 1000, 600, 500, 70, 60, 50, 0, 255))


class Mounts:
    """Filesystems of which some can be made to hang."""

    def __init__(self) -> None:
        self.hanging: set[str] = set()
        self.asked: list[str] = []
        self._released = threading.Event()

    def statvfs(self, mountpoint: str) -> os.statvfs_result:
        self.asked.append(mountpoint)
        if mountpoint in self.hanging:
            assert self._released.wait(30)
        return ANSWER

    @contextmanager
    def hung(self, *mountpoints: str) -> Iterator[None]:
        self.hanging = set(mountpoints)
        try:
            yield
        finally:
            self.hanging = set()
            self._released.set()


def filesystems_of(space: Space, clock: ManualClock | None = None, tree: str = "linux-3.10") -> Filesystems:
    host = recorded_host(tree, clock)
    return Filesystems(MountTable(host).mounts, host.clock, space=space)


def test_local_filesystems_are_listed_once_by_their_shortest_path() -> None:
    mounts = parse_mountinfo((DATA / "linux-3.10/proc/self/mountinfo").read_bytes())
    assert [(mount.mountpoint, mount.fstype) for mount in mounts] == [("/", "ext4"), ("/mnt/my data", "xfs")]


def test_the_overlay_that_is_a_containers_root_is_listed() -> None:
    (mount,) = parse_mountinfo(b"1 0 0:50 / / rw - overlay overlay rw\n2 1 0:51 / /x rw - overlay overlay rw")
    assert mount.mountpoint == "/"


def test_space_is_in_bytes_of_fragments() -> None:
    values = by_name(filesystems_of(Space(ask=partial(usage_of, statvfs=Mounts().statvfs))).read())
    assert values["filesystem_size_bytes/ext4//"] == 1024 * 1000
    assert values["filesystem_available_bytes/ext4//"] == 1024 * 500
    assert values["filesystem_files/ext4//"] == 70
    assert values["filesystem_files_free/ext4//"] == 60


def test_a_filesystem_that_cannot_be_written_is_told_so() -> None:
    def remounted(mountpoint: str) -> os.statvfs_result:
        flag = os.ST_RDONLY if mountpoint == "/" else 0
        return os.statvfs_result((*ANSWER[:8], flag, ANSWER[9]))

    values = by_name(filesystems_of(Space(ask=partial(usage_of, statvfs=remounted))).read())
    assert values["filesystem_read_only/ext4//"] == 1
    assert values["filesystem_read_only/xfs//mnt/my data"] == 0


def test_a_hung_filesystem_costs_only_its_own_values() -> None:
    mounts = Mounts()
    filesystems = filesystems_of(Space(ask=partial(usage_of, statvfs=mounts.statvfs), deadline_seconds=0.3))
    with mounts.hung("/mnt/my data"):
        reading = filesystems.read()
    values = by_name(reading)
    assert values["filesystem_size_bytes/ext4//"] == 1024 * 1000
    assert math.isnan(values["filesystem_size_bytes/xfs//mnt/my data"])
    assert [type(error) for error in reading.errors] == [SourceUnavailableError]
    assert "/mnt/my data" in str(reading.errors[0])


def test_a_hung_filesystem_is_not_asked_again_while_it_hangs() -> None:
    mounts = Mounts()
    space = Space(ask=partial(usage_of, statvfs=mounts.statvfs), deadline_seconds=0.3)
    with mounts.hung("/slow"):
        assert set(space.ask(("/", "/slow"))) == {"/"}
        assert set(space.ask(("/", "/slow"))) == {"/"}
        assert mounts.asked.count("/slow") == 1


def test_filesystems_behind_a_hung_one_are_asked_the_next_time() -> None:
    mounts = Mounts()
    space = Space(ask=partial(usage_of, statvfs=mounts.statvfs), deadline_seconds=0.3)
    with mounts.hung("/slow"):
        space.ask(("/slow", "/"))
        assert set(space.ask(("/slow", "/"))) == {"/"}


def test_a_filesystem_that_recovers_is_asked_again() -> None:
    mounts = Mounts()
    space = Space(ask=partial(usage_of, statvfs=mounts.statvfs), deadline_seconds=5)
    quick = Space(ask=partial(usage_of, statvfs=mounts.statvfs), deadline_seconds=0.3)
    with mounts.hung("/slow"):
        assert quick.ask(("/slow",)) == {}
    assert set(space.ask(("/slow",))) == {"/slow"}


def test_a_filesystem_that_fails_has_no_values() -> None:
    def failing(mountpoint: str) -> os.statvfs_result:
        raise PermissionError(13, "denied")

    (usage,) = Space(ask=partial(usage_of, statvfs=failing)).ask(("/",)).values()
    assert all(math.isnan(value) for value in usage)


def test_filesystems_are_asked_every_few_seconds_only() -> None:
    clock, mounts = ManualClock(), Mounts()
    filesystems = filesystems_of(Space(ask=partial(usage_of, statvfs=mounts.statvfs)), clock)
    first = filesystems.read()
    assert filesystems.read().series is first.series
    assert len(mounts.asked) == 2
    clock.sleep(REFRESH_SECONDS)
    assert filesystems.read().series is first.series
    assert len(mounts.asked) == 4


def test_without_a_mount_table_the_rest_of_the_disks_is_still_read() -> None:
    reading = filesystems_of(Space(), tree="nowhere").read()
    assert reading.values == ()
    assert [type(error) for error in reading.errors] == [SourceUnavailableError]
