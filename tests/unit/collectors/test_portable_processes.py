"""What psutil tells of processes is what the kernel's files tell: each is the oracle of the other."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.portable.process import PortableProcesses, PortableTable
from collectors_dagster.collectors.process import BY_STATE, READ_BYTES, WHOLE, WRITTEN_BYTES, Processes
from collectors_dagster.collectors.protocol import Host, Watched
from collectors_dagster.scopes import ProcessSelector, Scope
from tests.support.trees import by_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the kernel's files")

LONG_NAME = "a-program-with-a-long-name"
WORK = """
import sys, time
files = [open(sys.executable) for _ in range(7)]
data = bytearray(30_000_000)
print(flush=True)
for line in sys.stdin:
    until = time.process_time() + float(line)
    while time.process_time() < until:
        pass
    print(flush=True)
"""


class Worker:
    """A process that uses processor time when it is told to."""

    def __init__(self, program: Path) -> None:
        command = [str(program), "-I", "-S", "-c", WORK]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._wait()

    def work(self, seconds: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        self._wait()

    def end(self) -> None:
        self._process.communicate()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "\n"


class Both:
    """The two collectors of this host, which look at the processes of one program; values are keyed by metric."""

    def __init__(self, tmp_path: Path) -> None:
        self.program = tmp_path / LONG_NAME
        self.program.symlink_to(Path(sys.executable).resolve())
        scope = Scope(host=False, processes=(ProcessSelector(executable=LONG_NAME[:15]),))
        host = Host(ManualClock(), watched=Watched(scope))
        self.portable, self.linux = PortableProcesses(host), Processes(host)

    def look(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return what psutil tells, and what the kernel's files do."""
        return _values(self.portable), _values(self.linux)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        worker = Worker(self.program)
        try:
            yield worker
        finally:
            worker.end()


def _values(collector: Processes) -> dict[str, float]:
    told: dict[str, float] = {}
    reading = collector.read()
    assert not reading.errors
    for name, value in by_name(reading).items():
        metric, *labels = name.split("/")
        if labels:
            assert LONG_NAME[:15] in labels
            told[metric] = told.get(metric, 0.0) + value
    return told


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    made = Both(tmp_path)
    yield made
    made.linux.close()


def agreed(told: tuple[dict[str, float], dict[str, float]]) -> dict[str, float]:
    """Return what both tell, once it is found to be the same, up to a tick per process and a page or two."""
    portable, linux = told
    untold = {each.name for each in (READ_BYTES, WRITTEN_BYTES, BY_STATE)}
    assert portable.keys() == linux.keys() - untold == {each.name for each in WHOLE} - untold
    for name, value in portable.items():
        assert value == pytest.approx(linux[name], abs=0.05, rel=0.02 if "resident" in name else 0), name
    return portable


def test_a_program_of_two_processes_is_one_group_in_both(both: Both) -> None:
    with both.worker(), both.worker():
        values = agreed(both.look())
    assert values["process_count"] == 2
    assert values["process_threads"] == 2
    assert values["process_open_files"] == 20
    assert values["process_resident_bytes"] > 60_000_000
    assert values["process_starts_total"] == values["process_cpu_user_seconds_total"] == 0


def test_work_is_counted_from_the_first_look_on(both: Both) -> None:
    with both.worker() as worker:
        worker.work(0.2)
        agreed(both.look())
        worker.work(0.3)
        values = agreed(both.look())
    assert _cpu(values) == pytest.approx(0.3, abs=0.1)


def test_a_process_that_is_started_between_looks_is_counted_in_full(both: Both) -> None:
    both.look()
    with both.worker() as worker:
        worker.work(0.3)
        values = agreed(both.look())
    assert values["process_starts_total"] == 1
    assert _cpu(values) >= 0.3 - 0.02


def test_what_ended_members_did_stays_in_the_account(both: Both) -> None:
    with both.worker():
        both.look()
        with both.worker() as second:
            second.work(0.3)
            before = agreed(both.look())
        after = agreed(both.look())
    assert (before["process_count"], after["process_count"]) == (2, 1)
    assert after["process_starts_total"] == 1
    assert _cpu(after) >= _cpu(before) >= 0.3 - 0.02


def test_groups_of_the_whole_host_are_found_and_none_is_told_by_number(tmp_path: Path) -> None:
    portable = PortableProcesses(Host(ManualClock()))
    reading = portable.read()
    assert portable.processes > 1
    assert {series.metric for series in reading.series} <= {*portable.metrics}
    assert {name for series in reading.series for name, _ in series.labels} == {"cgroup", "executable", "user"}


def test_a_process_that_the_system_does_not_show_is_told_with_the_remedy_and_costs_no_other(both: Both) -> None:
    def shown(pid: int) -> psutil.Process:
        if pid == os.getppid():
            raise psutil.AccessDenied(pid)
        return psutil.Process(pid)

    with both.worker():
        look = PortableTable(Host(ManualClock()), opened=shown).look()
    assert LONG_NAME[:15] in {process.identity.executable for process in look.came}
    assert os.getppid() not in {process.pid for process in look.came}
    (error,) = look.errors
    assert "run the agent as root" in str(error)


def test_a_process_that_nobody_waits_for_yet_is_a_member_without_memory(both: Both) -> None:
    with subprocess.Popen(["/bin/sh", "-c", "exit 3"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
        (process,) = [each for each in PortableTable(Host(ManualClock())).look().came if each.pid == child.pid]
    assert process.ended
    assert process.stat.resident_pages == 0


ELSEWHERE = """
import sys
import psutil
sys.platform = "darwin"
from collectors_dagster.clock import SystemClock
from collectors_dagster.collectors import collectors_of
from collectors_dagster.collectors.protocol import Host
from collectors_dagster.collectors.runner import Runner
clock = SystemClock()
runner = Runner(collectors_of(Host(clock)), clock)
sweep = runner.sweep()
runner.close()
assert not [(name, tally.errors) for name, tally in runner.tallies.items() if tally.errors]
print(*sorted({column.collector for column in sweep.columns}))
"""


def test_elsewhere_than_on_linux_one_sweep_reads_what_psutil_tells() -> None:
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("clock cpu disk load memory network process\n", "")


def _cpu(values: dict[str, float]) -> float:
    return values["process_cpu_user_seconds_total"] + values["process_cpu_system_seconds_total"]
