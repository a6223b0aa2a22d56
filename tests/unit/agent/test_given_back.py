"""Memory that only the start needed."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.given_back import AGAIN_SECONDS, SETTLED_SECONDS, Returning, Stretch, code_in, give_back
from collectors_dagster.clock import ManualClock

MAPS = b"""\
55d0a000-55d0b000 r--p 00000000 fe:00 131 /usr/bin/python3.11
55d0b000-55d0d000 r-xp 00001000 fe:00 131 /usr/bin/python3.11
55d0d000-55d0e000 rw-p 00003000 fe:00 131 /usr/bin/python3.11
55d0f000-55d10000 r-xp 00000000 00:00 0
7f000000-7f003000 r-xs 00001000 fe:00 7 /srv/shared
7f100000-7f103000 rwxp 00001000 fe:00 8 /srv/changed
7f200000-7f208000 r-xp 00001000 fe:00 9                          /usr/lib/a library.so (deleted)
7ffd0000-7ffd2000 r-xp 00000000 00:00 0                          [vdso]
"""


def test_only_code_that_a_file_holds_and_nobody_can_have_changed_is_given_back() -> None:
    assert list(code_in(MAPS)) == [Stretch(0x55D0B000, 0x2000), Stretch(0x7F200000, 0x8000)]


@given(st.binary())
def test_whatever_the_kernel_says_gives_whole_stretches_or_none(maps: bytes) -> None:
    assert all(code.start >= 0 for code in code_in(maps))


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the resident pages of a mapping")
def test_a_process_goes_on_after_its_code_was_given_back() -> None:
    program = """
import json, sqlite3
from collectors_dagster.agent.given_back import code_in, give_back
def resident():
    lines = open("/proc/self/smaps").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Rss:"))
before = resident()
give_back()
after = resident()
assert sqlite3.connect(":memory:").execute("select 6 * 7").fetchone() == (42,)
print(json.dumps(after < before))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "true", "")


def test_without_a_table_of_mappings_nothing_happens(tmp_path: Path) -> None:
    give_back(tmp_path / "absent")


def test_it_is_given_back_when_the_start_is_over_and_seldom_afterwards() -> None:
    clock, given = ManualClock(), []
    returning = Returning(clock, give=lambda: given.append(clock.monotonic()))
    while clock.monotonic() < 2 * AGAIN_SECONDS:
        returning.look()
        clock.sleep(1)
    assert given == [SETTLED_SECONDS, SETTLED_SECONDS + AGAIN_SECONDS]
