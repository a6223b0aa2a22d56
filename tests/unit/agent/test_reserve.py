"""The reserve: on a disk that is really full, losses are told and cursors move."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collectors_dagster.agent.positions import Positions
from collectors_dagster.agent.records import Gap
from collectors_dagster.agent.reserve import CURSOR_BYTES, SLOT_BYTES, cursor_reserve
from collectors_dagster.clock import ManualClock
from tests.support.spools import append_seconds, open_spool, read_spool

REPOSITORY = Path(__file__).parents[3]
FULL_DISK = """
import json, os, sys
from pathlib import Path
from collectors_dagster.agent.positions import Positions
from collectors_dagster.agent.segments import list_segments, read_records
from collectors_dagster.agent.records import gaps_in
from collectors_dagster.clock import ManualClock
from tests.support.spools import append_seconds, limits, open_spool, read_spool

directory, clock = Path(sys.argv[1]), ManualClock()
spool = open_spool(directory, clock)
append_seconds(spool, clock, [(float(n), float(n)) for n in range(60 * int(sys.argv[2]))])
spool.release(60)
def fill():
    with (directory / "somebody else").open("ab", buffering=0) as other:
        try:
            while other.write(bytes(4096)):
                pass
        except OSError:
            pass
numbers = []
for n in range(1200):
    fill()  # whatever the spool frees, somebody else takes
    numbers += append_seconds(spool, clock, [(float(n), float(n))])
told = {"lost": spool.statistics.lost_records, "written": sum(n is not None for n in numbers)}
told |= {"dropped": spool.statistics.dropped_records, "thinned": spool.statistics.thinned_segments}
Positions(directory).admit(["aurora"], 5, complete=True)
told["positions"] = json.loads((directory / "tenants.json").read_bytes())
later = open_spool(directory, clock)  # as after kill -9: nothing was closed
told["remembered"] = later._gap.records if later._gap else 0
os.unlink(directory / "somebody else")
append_seconds(later, clock, [(1.0, 1.0)])
for _ in range(30):
    clock.sleep(60)
    later.tend()
told["held_again"] = later._reserve.is_whole()
later.close()
seen = read_spool(directory)
told["kept"] = sum(each.sweeps for each in seen)
segments = list_segments(directory)
told["gaps"] = sum(gap.records for each in segments for gap in gaps_in(read_records(each, None).records))
told["numbers"] = [each.seq for each in seen]
print(json.dumps(told))
"""


def test_a_gap_is_remembered_over_a_death_until_it_is_written(tmp_path: Path) -> None:
    reserve = cursor_reserve(tmp_path)
    assert reserve.hold()
    assert reserve.noted() is None
    for records in range(1, 6):
        reserve.note(Gap(1, records, records, "full"))
    assert cursor_reserve(tmp_path).noted() == Gap(1, 5, 5, "full")
    survivor = cursor_reserve(tmp_path)
    assert survivor.noted() is not None
    survivor.note(Gap(1, 9, 9, "full"))
    assert cursor_reserve(tmp_path).noted() == Gap(1, 9, 9, "full")
    survivor.clear()
    assert cursor_reserve(tmp_path).noted() is None


@pytest.mark.parametrize("torn", range(2))
def test_a_torn_page_of_the_journal_leaves_the_other(tmp_path: Path, torn: int) -> None:
    reserve = cursor_reserve(tmp_path)
    reserve.hold()
    reserve.note(Gap(1, 1, 1, "full"))
    reserve.note(Gap(1, 2, 2, "full"))
    with (tmp_path / "reserve").open("r+b") as file:
        file.seek(torn * SLOT_BYTES + 20)
        file.write(b"\xff\xff\xff")
    found = cursor_reserve(tmp_path).noted()
    assert found is not None
    assert found.records in {1, 2}


def test_the_ballast_gives_way_once_and_is_taken_again(tmp_path: Path) -> None:
    reserve = cursor_reserve(tmp_path)
    assert not reserve.is_whole()
    assert not reserve.give_way()
    reserve.hold()
    assert reserve.is_whole()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= CURSOR_BYTES
    reserve.note(Gap(1, 2, 3, "full"))
    assert reserve.give_way()
    assert not reserve.give_way()
    assert reserve.noted() == Gap(1, 2, 3, "full")
    assert reserve.hold()
    assert reserve.is_whole()


def test_on_a_full_disk_a_cursor_is_written_into_the_room_kept_for_it(tmp_path: Path) -> None:
    cursor_reserve(tmp_path).hold()
    positions = Positions(tmp_path)
    positions.admit(["aurora"], 7, complete=True)
    assert Positions(tmp_path).first_seq("aurora") == 7


def test_a_gap_from_before_the_death_is_told_in_the_spool_once(tmp_path: Path, manual_clock: ManualClock) -> None:
    reserve = cursor_reserve(tmp_path)
    reserve.hold()
    reserve.note(Gap(10, 20, 30, "full"))
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, [(1.0, 1.0)] * 3)
    assert cursor_reserve(tmp_path).noted() is None
    spool.close()
    assert len(read_spool(tmp_path)) == 3


@pytest.mark.parametrize("minutes", [0, 4], ids=["nothing to give up", "something to give up"])
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs Linux namespaces")
def test_on_a_disk_that_is_really_full_every_sweep_is_kept_or_told(tmp_path: Path, minutes: int) -> None:
    script = f'mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec {sys.executable} -c "$0" {tmp_path} {minutes}'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, FULL_DISK],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr and done.returncode:
        pytest.skip("namespaces are not allowed here")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["lost"] + told["written"] == 1200
    assert (told["lost"] > 0) == (minutes == 0)
    assert told["remembered"] == told["lost"]
    assert told["gaps"] == told["lost"] + told["dropped"]
    assert told["kept"] + told["dropped"] >= 60 * minutes + told["written"] + 1 - 60  # the first minute was delivered
    assert told["positions"] == {"aurora": 5}
    assert told["held_again"]
    assert told["numbers"] == sorted(set(told["numbers"]))
