"""Groups of processes: nothing counted twice, nothing that goes back, nobody told by number."""

import math
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, process_time

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.process import CHOICE_LOOKS, INTERVAL_SECONDS, MOST_GROUPS, Processes
from collectors_dagster.collectors.process_groups import KEPT_LOOKS
from collectors_dagster.collectors.process_table import RECHECK_LOOKS, Process, ProcessTable
from collectors_dagster.collectors.protocol import Host, Watched
from collectors_dagster.errors import SourceUnavailableError
from collectors_dagster.samples import Kind
from collectors_dagster.scopes import ProcessSelector, Scope
from tests.support.processes import KERNEL_FLAGS, ProcessTree
from tests.support.trees import by_name, recorded_host

WORKER = "/shop/worker/shop"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[ProcessTree]:
    made = ProcessTree(tmp_path)
    yield made
    made.collector.close()


def groups_seen(values: dict[str, float]) -> set[str]:
    return {name.removeprefix("process_count") for name in values if name.startswith("process_count/")}


def known_to(collector: Processes) -> dict[int, Process]:
    """Return the processes that a collector remembers, by number."""
    assert isinstance(collector._table, ProcessTable)
    return collector._table._known


def test_a_recorded_host_is_told_in_groups_by_cgroup_executable_and_user() -> None:
    values = by_name(Processes(recorded_host("linux-6.18")).read())
    assert groups_seen(values) == {"///init/root", "//shop.slice/shop-worker/shop", "///(sd-pam) x/4711"}
    assert values["process_count//shop.slice/shop-worker/shop"] == 2
    assert values["process_open_files//shop.slice/shop-worker/shop"] == 8
    assert values["process_threads///init/root"] == 13
    assert values["process_resident_bytes///init/root"] == 5654 * 4096
    assert values["process_states///init/sleeping/root"] == 1


def test_no_label_holds_a_process_number(tree: ProcessTree) -> None:
    tree.write(4242)
    tree.look()
    assert {name for series in tree.reading.series for name, _ in series.labels} == {
        "cgroup",
        "executable",
        "user",
        "state",
    }


def test_a_group_counts_what_its_members_do_from_the_first_look_on(tree: ProcessTree) -> None:
    tree.write(10, user_ticks=500, system_ticks=100, read=1000)
    tree.write(11, user_ticks=100)
    assert tree.look()[f"process_cpu_user_seconds_total/{WORKER}"] == 0
    tree.write(10, user_ticks=530, system_ticks=107, read=5096, written=4096)
    tree.write(11, user_ticks=120)
    values = tree.look()
    assert values[f"process_cpu_user_seconds_total/{WORKER}"] == 0.5
    assert values[f"process_cpu_system_seconds_total/{WORKER}"] == 0.07
    assert values[f"process_read_bytes_total/{WORKER}"] == 4096
    assert values[f"process_written_bytes_total/{WORKER}"] == 4096
    assert values[f"process_starts_total/{WORKER}"] == 0


def test_a_process_started_between_looks_is_counted_in_full(tree: ProcessTree) -> None:
    tree.write(10)
    tree.look()
    tree.write(11, user_ticks=80, read=512)
    values = tree.look()
    assert values[f"process_cpu_user_seconds_total/{WORKER}"] == 0.8
    assert values[f"process_read_bytes_total/{WORKER}"] == 512
    assert values[f"process_starts_total/{WORKER}"] == 1
    assert values[f"process_count/{WORKER}"] == 2


def test_a_groups_counters_stay_when_its_members_end(tree: ProcessTree) -> None:
    tree.write(10)
    tree.look()
    tree.write(10, user_ticks=300, read=100)
    tree.write(11, user_ticks=50)
    before = tree.look()
    tree.end(10)
    tree.end(11)
    after = tree.look()
    for metric in ("cpu_user_seconds_total", "read_bytes_total", "starts_total"):
        assert after[f"process_{metric}/{WORKER}"] == before[f"process_{metric}/{WORKER}"] > 0
    assert after[f"process_count/{WORKER}"] == after[f"process_resident_bytes/{WORKER}"] == 0


def test_a_program_that_comes_and_goes_keeps_one_account(tree: ProcessTree) -> None:
    tree.write(10)
    tree.look()
    for pid in range(11, 20):
        tree.end(pid - 1)
        tree.write(pid, user_ticks=10)
        tree.look()
    assert by_name(tree.reading)[f"process_cpu_user_seconds_total/{WORKER}"] == pytest.approx(0.9)
    assert by_name(tree.reading)[f"process_starts_total/{WORKER}"] == 9


def test_a_group_without_members_is_forgotten_in_the_end(tree: ProcessTree) -> None:
    tree.write(10)
    tree.write(20, b"other")
    tree.look()
    tree.end(10)
    assert groups_seen(tree.look()) == {f"/{WORKER}", "//shop/other/shop"}
    assert groups_seen(tree.looks(2 * CHOICE_LOOKS)) == {"//shop/other/shop"}
    tree.looks(KEPT_LOOKS + 1)
    assert len(list(tree.collector._groups)) == 1


def test_a_number_given_to_another_process_is_another_process(tree: ProcessTree) -> None:
    tree.write(10, user_ticks=900, start=1)
    tree.write(12)
    tree.look()
    tree.write(10, user_ticks=5, start=2)
    values = tree.look()
    assert values[f"process_cpu_user_seconds_total/{WORKER}"] == 0.05
    assert values[f"process_starts_total/{WORKER}"] == 1
    assert not tree.reading.errors


def test_a_counter_that_goes_back_is_told_and_not_counted(tree: ProcessTree) -> None:
    tree.write(10, user_ticks=100, read=100)
    tree.look()
    tree.write(10, user_ticks=200, read=200)
    before = tree.look()
    tree.write(10, user_ticks=150, read=150)
    after = tree.look()
    assert after == before
    (error,) = tree.reading.errors
    assert "2 processes' counters went back" in str(error)
    tree.write(10, user_ticks=160, read=150)
    assert tree.look()[f"process_cpu_user_seconds_total/{WORKER}"] == 1.1
    assert not tree.reading.errors


def test_a_process_that_becomes_another_program_counts_there(tree: ProcessTree) -> None:
    tree.write(10, b"sh", user_ticks=10)
    tree.write(11, b"sh")
    tree.look()
    tree.write(10, b"postgres", user_ticks=30)
    values = tree.looks(CHOICE_LOOKS)
    assert values["process_cpu_user_seconds_total//shop/postgres/shop"] == 0.2
    assert values["process_cpu_user_seconds_total//shop/sh/shop"] == 0
    assert (values["process_count//shop/sh/shop"], values["process_count//shop/postgres/shop"]) == (1, 1)


def test_a_process_that_changes_its_user_or_cgroup_later_is_followed(tree: ProcessTree) -> None:
    tree.write(10, uid=0, cgroup="/")
    tree.look()
    tree.write(10, uid=1000, cgroup="/shop")
    values = tree.looks(RECHECK_LOOKS + CHOICE_LOOKS)
    assert values[f"process_count/{WORKER}"] == 1
    assert values.get("process_count///worker/root", 0) == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (b"a) S 1 (b", "a) S 1 (b"),
        (b"two words", "two words"),
        (b"line\nbreak", "line\nbreak"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b")", ")"),
        (b"", ""),
    ],
)
def test_odd_names_are_names(tree: ProcessTree, name: bytes, told: str) -> None:
    tree.write(10, name, user_ticks=1, pages=7)
    values = tree.look()
    assert values[f"process_count//shop/{told}/shop"] == 1
    assert values[f"process_resident_bytes//shop/{told}/shop"] == 7 * 4096
    assert not tree.reading.errors


def test_kernel_threads_are_left_out_and_their_numbers_may_come_back(tree: ProcessTree) -> None:
    tree.write(10, b"kworker", flags=KERNEL_FLAGS)
    tree.write(11)
    assert groups_seen(tree.look()) == {f"/{WORKER}"}
    tree.end(10)
    tree.look()
    tree.write(10)
    assert tree.look()[f"process_count/{WORKER}"] == 2


def test_states_are_counted(tree: ProcessTree) -> None:
    for pid, state in enumerate((b"R", b"S", b"I", b"D", b"T", b"t", b"Z"), 10):
        tree.write(pid, state=state)
    values = tree.look()
    told = {name.split("/")[4]: value for name, value in values.items() if name.startswith("process_states")}
    assert told == {"running": 1, "sleeping": 2, "blocked": 1, "stopped": 2, "zombie": 1}


def test_what_the_kernel_does_not_tell_us_is_no_number(tree: ProcessTree) -> None:
    tree.write(10, read=None)
    tree.write(11)
    values = tree.look()
    assert math.isnan(values[f"process_read_bytes_total/{WORKER}"])
    assert values[f"process_count/{WORKER}"] == 2
    tree.end(10)
    assert tree.look()[f"process_read_bytes_total/{WORKER}"] == 0


def test_a_process_that_cannot_be_understood_is_told_and_costs_no_other(tree: ProcessTree) -> None:
    tree.write(10)
    for pid in (11, 12):
        tree.write(pid)
        (tree.proc / str(pid) / "stat").write_bytes(b"nonsense")
    assert tree.look()[f"process_count/{WORKER}"] == 1
    (error,) = tree.reading.errors
    assert "2 processes cannot be read" in str(error)


def test_a_process_seen_late_does_not_count_what_it_did_before(tree: ProcessTree) -> None:
    tree.write(10)
    tree.write(11, user_ticks=5000)
    stat = tree.proc / "11/stat"
    hidden = stat.read_bytes()
    stat.unlink()
    tree.look()
    stat.write_bytes(hidden)
    values = tree.look()
    assert values[f"process_count/{WORKER}"] == 2
    assert values[f"process_cpu_user_seconds_total/{WORKER}"] == 0
    assert values[f"process_starts_total/{WORKER}"] == 0


def test_the_busiest_and_the_largest_are_followed_and_no_more(tmp_path: Path) -> None:
    tree = ProcessTree(tmp_path)
    for number in range(30):
        tree.write(100 + number, b"p%d" % number, pages=number)
    tree.look()
    for number in range(30):
        tree.write(100 + number, b"p%d" % number, pages=number, user_ticks=100 - number)
    values = tree.looks(CHOICE_LOOKS)
    names = {group.split("/")[3] for group in groups_seen(values)}
    assert names == {f"p{number}" for number in (*range(5), *range(25, 30))}


def test_the_set_of_series_stays_between_choices(tree: ProcessTree) -> None:
    tree.write(10)
    tree.look()
    before = tree.reading.series
    tree.write(11, b"upstart", user_ticks=1000)
    tree.looks(3)
    assert tree.reading.series is before
    assert "//shop/upstart/shop" in groups_seen(tree.looks(CHOICE_LOOKS))


def test_a_group_that_a_scope_names_is_followed_at_once(tree: ProcessTree) -> None:
    tree.watched.scopes = (Scope(host=False, processes=(ProcessSelector(executable="post*"),)),)
    tree.write(10)
    assert groups_seen(tree.look()) == set()
    tree.write(11, b"postgres")
    assert groups_seen(tree.look()) == {"//shop/postgres/shop"}


def test_scopes_that_change_are_followed_at_the_next_look(tree: ProcessTree) -> None:
    tree.watched.scopes = (Scope(host=False, processes=(ProcessSelector(user="nobody"),)),)
    tree.write(10)
    tree.write(11, b"bank", cgroup="/bank/web")
    assert groups_seen(tree.look()) == set()
    tree.watched.scopes = (Scope(host=False, cgroups=("/bank",)),)
    assert groups_seen(tree.look()) == {"//bank/web/bank/shop"}
    tree.watched.scopes = (Scope(host=False, processes=(ProcessSelector(user="shop", cgroup="/shop"),)),)
    assert groups_seen(tree.look()) == {f"/{WORKER}"}


def test_with_too_many_groups_every_scope_keeps_its_share_and_the_rest_is_told(tree: ProcessTree) -> None:
    tree.watched.scopes = (
        Scope(host=False, cgroups=("/greedy",)),
        Scope(host=False, processes=(ProcessSelector(user="shop", cgroup="/shop"),)),
    )
    for number in range(MOST_GROUPS + 20):
        tree.write(1000 + number, b"g%d" % number, cgroup="/greedy")
    tree.write(10)
    seen = groups_seen(tree.look())
    assert len(seen) == MOST_GROUPS
    assert f"/{WORKER}" in seen
    assert any("161 groups" in str(error) for error in tree.reading.errors)


@contextmanager
def descriptors(soft: int) -> Iterator[None]:
    """Let this process open so many files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def next_descriptor() -> int:
    """Return the number that the next file will get: as a limit, it lets no further file be opened."""
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.close(descriptor)
    return descriptor


@pytest.fixture
def limit() -> Iterator[int]:
    """Set a limit of open files that leaves little."""
    chosen = 2 * next_descriptor() + 200
    with descriptors(chosen):
        yield chosen


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in procfs")
def test_when_descriptors_run_out_the_processes_are_told_again_at_the_next_look(tree: ProcessTree) -> None:
    for pid in range(10, 50):
        tree.write(pid, user_ticks=100)
    tree.look()
    for pid in range(10, 50):
        tree.write(pid, user_ticks=101)
    with descriptors(next_descriptor()):
        with pytest.raises(SourceUnavailableError, match="cannot be listed: Too many open files"):
            tree.look()
        values = tree.look()
    assert values[f"process_count/{WORKER}"] == 40
    assert values[f"process_cpu_user_seconds_total/{WORKER}"] == pytest.approx(0.4)
    assert values[f"process_starts_total/{WORKER}"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in procfs")
def test_ten_thousand_processes_are_looked_at_with_few_descriptors(limit: int, tmp_path: Path) -> None:
    tree = ProcessTree(tmp_path)
    tree.write(1, b"w0", files=0)
    for pid in range(2, 10_001):
        directory = tree.proc / str(pid)
        directory.mkdir()
        for name in ("status", "cgroup", "io", "stat"):
            os.link(tree.proc / "1" / name, directory / name)
    values = tree.look()
    assert not tree.reading.errors
    assert values["process_count//shop/w0/shop"] == 10_000
    assert sum(process.fd >= 0 for process in known_to(tree.collector).values()) == limit // 2
    began = process_time()
    tree.look()
    assert process_time() - began < 3
    tree.collector.close()


class Accounts(RuleBasedStateMachine):
    """Whatever processes do, a group's counters are the sum of what was seen, and never go back."""

    def __init__(self) -> None:
        super().__init__()
        from tempfile import mkdtemp

        self.tree = ProcessTree(Path(mkdtemp()))
        self.tree.watched.scopes = (Scope(host=False, cgroups=("/shop",)),)
        self.ticks: dict[int, tuple[bytes, int]] = {}
        self.next_pid = 10
        self.before: dict[str, float] = {}
        self.tree.look()
        self.due = {b"a": 0, b"b": 0}

    @rule(name=st.sampled_from([b"a", b"b"]), ticks=st.integers(0, 50))
    def start(self, name: bytes, ticks: int) -> None:
        self.ticks[self.next_pid] = (name, ticks)
        self.tree.write(self.next_pid, name, user_ticks=ticks, files=0)
        self.next_pid += 1
        self.due[name] += ticks
        self.values()

    @rule(data=st.data(), more=st.integers(0, 50))
    def work(self, data: st.DataObject, more: int) -> None:
        if self.ticks:
            pid = data.draw(st.sampled_from(sorted(self.ticks)))
            name, ticks = self.ticks[pid]
            self.ticks[pid] = (name, ticks + more)
            self.tree.write(pid, name, user_ticks=ticks + more, files=0)
            self.due[name] += more
            self.values()

    @rule(data=st.data(), unseen=st.integers(0, 50))
    def end(self, data: st.DataObject, unseen: int) -> None:
        if self.ticks:
            pid = data.draw(st.sampled_from(sorted(self.ticks)))
            self.tree.write(pid, self.ticks.pop(pid)[0], user_ticks=unseen, files=0)
            self.tree.end(pid)
            self.values()

    def values(self) -> None:
        values = self.tree.look()
        counters = {
            f"{series.metric.name}{series.labels}": value
            for series, value in zip(self.tree.reading.series, self.tree.reading.values, strict=True)
            if series.metric.kind is Kind.COUNTER
        }
        assert all(value >= self.before.get(name, 0.0) for name, value in counters.items())
        self.before |= counters
        self.seen = values

    @invariant()
    def sums_are_right(self) -> None:
        if not self.before:
            return
        for name, ticks in self.due.items():
            key = f"process_cpu_user_seconds_total//shop/{name.decode()}/shop"
            if key in self.seen:
                assert self.seen[key] == pytest.approx(ticks / 100)
            members = sum(1 for other, _ in self.ticks.values() if other == name)
            assert self.seen.get(key.replace("cpu_user_seconds_total", "count"), 0) == members

    def teardown(self) -> None:
        import shutil

        self.tree.collector.close()
        shutil.rmtree(self.tree.root)


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=5))
def test_everybody_is_served_in_turn(wishes: list[list[int]]) -> None:
    from collectors_dagster.collectors.turns import in_turn

    served = in_turn(wishes)
    assert sorted(served) == sorted({wish for each in wishes for wish in each})
    for each in wishes:
        if each:
            assert each[0] in served[: len(wishes)]


PROGRAM = "import sys; data = bytearray(30_000_000); files = [open(sys.executable) for _ in range(7)]; input()"


@pytest.mark.skipif(sys.platform != "linux", reason="compares with the kernel")
def test_psutil_tells_the_same_of_a_process_of_this_host() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE) as child:
        told = psutil.Process(child.pid)
        began = monotonic()
        while told.num_fds() < 10 and monotonic() - began < 20:
            pass
        name, user = told.name(), told.username()
        clock = ManualClock()
        host = Host(clock, watched=Watched(Scope(host=False, processes=(ProcessSelector(user=user),))))
        collector = Processes(host)
        collector.read()
        process = known_to(collector)[child.pid]
        assert process.identity.executable == name[:15]
        assert process.identity.user == user
        assert process.stat.threads == told.num_threads()
        assert process.stat.resident_pages * os.sysconf("SC_PAGE_SIZE") == pytest.approx(
            told.memory_info().rss, rel=0.1
        )
        assert process.stat.user_ticks / host.ticks_per_second == pytest.approx(told.cpu_times().user, abs=0.05)
        assert process.open_files == told.num_fds()
        assert process.traffic == (told.io_counters().read_bytes, told.io_counters().write_bytes)
        child.communicate(b"\n")
    clock.sleep(INTERVAL_SECONDS)
    collector.read()
    assert child.pid not in known_to(collector)
    collector.close()
