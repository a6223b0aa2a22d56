"""The agent on a system that has no POSIX: it can be imported, and what it keeps on disk works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from collectors_dagster.collectors.filesystem import usage_of
from collectors_dagster.collectors.portable.disk import _usage
from collectors_dagster.config.settings import PROJECT_ROOT

ROOMS = (
    "collectors_dagster.agent.__main__",
    "collectors_dagster.collectors",
    "collectors_dagster.cli.__main__",
    "collectors_dagster.config.agent_planning",
)


def run(code: str, *arguments: str | Path) -> str:
    """Return what a fresh interpreter prints that runs `code` without POSIX."""
    command = [sys.executable, "-W", "error", "-c", f"import tests.support.bare_system\n{code}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=PROJECT_ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ROOMS)
def test_everything_that_runs_on_a_host_can_be_imported_without_posix(name: str) -> None:
    assert run(f"import {name}; print('imported')") == "imported"


SPOOL = """
import os, sys
from pathlib import Path
from collectors_dagster.agent.reserve import cursor_reserve
from collectors_dagster.clock import ManualClock
from tests.support.spools import append_seconds, open_spool, read_spool
assert not hasattr(os, "pread")
directory = Path(sys.argv[1])
clock = ManualClock()
spool = open_spool(directory, clock)
append_seconds(spool, clock, [(at, 10.0 * at) for at in range(3)])
print([seen.values for seen in read_spool(directory)])
spool.close()
reserve = cursor_reserve(directory)
assert reserve.hold() and reserve.is_whole()
"""


def test_the_spool_is_written_and_read_without_posix(tmp_path: Path) -> None:
    assert run(SPOOL, tmp_path) == "[(0.0, 0.0), (1.0, 10.0), (2.0, 20.0)]"


LOCK = """
import sys
from pathlib import Path
from collectors_dagster.agent.lock import spool_lock
from collectors_dagster.errors import SpoolError
try:
    with spool_lock(Path(sys.argv[1])):
        print("held" if len(sys.argv) == 2 else run(sys.argv[1]))
except SpoolError as error:
    print(error)
"""
NESTED = """
import os, subprocess, sys
def run(root):
    command = [sys.executable, "-c", "import tests.support.bare_system" + chr(10) + sys.argv[2], root]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return told.replace(f"process id {os.getpid()};", "process id of the other;")
"""


def test_one_agent_per_spool_without_posix_too(tmp_path: Path) -> None:
    refused = run(NESTED + LOCK, tmp_path, LOCK)
    assert "in use by the agent with process id of the other" in refused
    assert run(LOCK, tmp_path) == "held"


def test_memory_of_the_agent_is_told_where_no_kernel_file_tells_it(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from collectors_dagster.agent.footprint import Footprint
print(Footprint(Path(sys.argv[1])).resident_bytes())
"""
    assert 5e6 < float(run(code, tmp_path)) < 5e8


def test_without_limits_the_agent_reckons_with_many_open_files() -> None:
    code = """
from collectors_dagster.collectors.descriptors import allowance, raise_limit
raise_limit()
print(allowance(0.5))
"""
    assert run(code) == "32768"


def test_stop_signals_are_taken_where_there_is_no_hangup() -> None:
    code = """
import signal, threading
from collectors_dagster.agent.process import _signals
with _signals(threading.Event()) as stop:
    signal.raise_signal(signal.SIGTERM)
    print(stop.wait(10))
"""
    assert run(code) == "True"


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="compares with the kernel")
def test_psutil_tells_the_same_space_as_the_kernel() -> None:
    size, available, *_ = usage_of("/")
    told = _usage("/")
    assert told[0] == pytest.approx(size, rel=0.1)  # psutil leaves out what is reserved for root
    assert told[1] == pytest.approx(available, rel=0.05)
