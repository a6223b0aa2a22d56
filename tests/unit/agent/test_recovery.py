"""What a crash leaves: nothing that was acknowledged is lost, nothing damaged is believed."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collectors_dagster.agent.reader import SpoolReader
from collectors_dagster.agent.records import MAGIC, frame, scan
from collectors_dagster.agent.segments import list_segments, open_path
from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import SpoolError
from collectors_dagster.security.sealing import Sealer
from tests.support.effort import times
from tests.support.spools import LOAD, append_seconds, open_spool, read_all, read_spool, sweep


@given(st.integers(1, 90), st.data())
def test_a_torn_tail_costs_only_the_record_in_flight(records: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory, clock = Path(name), ManualClock()
        append_seconds(open_spool(directory, clock), clock, [(1.0, float(at)) for at in range(records)])
        newest = list_segments(directory)[-1]
        size = newest.path.stat().st_size
        before_last = read_spool(directory)[:-1]
        with newest.path.open("r+b") as file:
            file.truncate(size - data.draw(st.integers(1, 51)))  # a record of two values has 52 bytes
        survivor = open_spool(directory, clock)
        append_seconds(survivor, clock, [(2.0, 0.0)])
        seen = read_spool(directory)
        assert seen[:-1] == before_last
        assert seen[-1].seq > records
        survivor.close()


@given(st.data())
def test_damage_in_the_middle_costs_at_most_that_segment(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory, clock = Path(name), ManualClock()
        spool = open_spool(directory, clock)
        append_seconds(spool, clock, [(1.0, float(at)) for at in range(180)])
        spool.close()
        whole = read_spool(directory)
        victim = list_segments(directory)[1].path
        content = bytearray(victim.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        victim.write_bytes(bytes(content))
        seen = read_spool(directory)
        assert seen[:60] == whole[:60]
        assert seen[-60:] == whole[-60:]
        assert seen[60:-60] == whole[60 : len(seen) - 60]


@given(st.integers(0, 59), st.data())
def test_damage_in_a_segment_being_written_costs_its_records_only(victim: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory, clock = Path(name), ManualClock()
        append_seconds(open_spool(directory, clock), clock, [(1.0, float(at)) for at in range(60)])
        newest = list_segments(directory)[-1].path
        content = bytearray(newest.read_bytes())
        at = len(content) - 52 * (60 - victim) + data.draw(st.integers(0, 51))  # a record of two values has 52 bytes
        content[at] ^= data.draw(st.integers(1, 255))
        newest.write_bytes(bytes(content))
        survivor = open_spool(directory, clock)
        survivor.close()
        kept = [each.values[1] for each in read_spool(directory)]
        assert kept == [float(each) for each in range(60) if each != victim]
        assert survivor.statistics.damaged_segments == (victim < 59)  # the last one looks like a torn tail


def test_damage_is_counted(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, [(1.0, 1.0)] * 120)
    spool.close()
    list_segments(tmp_path)[0].path.write_bytes(b"not zlib")
    reader = SpoolReader(tmp_path, 0)
    assert [seen.seq for seen in read_all(reader)] == list(range(61, 121))
    assert reader.damaged_segments == 1
    reader.close()
    assert open_spool(tmp_path, manual_clock).statistics.damaged_segments == 1


@pytest.mark.parametrize("content", [b"", b"CDSPOOL", b"somebody else's file", b"CDSPOOL1" + b"\x00" * 100])
def test_a_file_that_is_no_segment_does_not_stop_the_spool(
    tmp_path: Path, manual_clock: ManualClock, content: bytes
) -> None:
    open_path(tmp_path, 1).write_bytes(content)
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, [(1.0, 1.0)])
    assert len(read_spool(tmp_path)) == 1
    spool.close()


def test_an_encrypted_spool_shows_nothing_and_is_read_with_its_keys(tmp_path: Path, manual_clock: ManualClock) -> None:
    first, second = bytes(range(32)), bytes(32)
    spool = open_spool(tmp_path, manual_clock, sealer=Sealer([first]))
    append_seconds(spool, manual_clock, [(1.0, float(at)) for at in range(150)])
    assert all(b"load1" not in path.read_bytes() for path in tmp_path.iterdir())
    changed = open_spool(tmp_path, manual_clock, sealer=Sealer([second, first]))  # after a crash, with a new key
    append_seconds(changed, manual_clock, [(2.0, float(at)) for at in range(70)])
    changed.close()
    seen = read_spool(tmp_path, sealer=Sealer([second, first]))
    assert [each.values[1] for each in seen] == [float(at) for at in (*range(150), *range(70))]
    assert changed.statistics.damaged_segments == 0
    for sealer in (None, Sealer([second])):
        with pytest.raises(SpoolError, match=r"spool_keys"):
            read_spool(tmp_path, sealer=sealer)


def test_a_spool_whose_key_is_missing_waits_and_goes_on_with_it(tmp_path: Path, manual_clock: ManualClock) -> None:
    key = Sealer([bytes(32)])
    append_seconds(open_spool(tmp_path, manual_clock, sealer=key), manual_clock, [(1.0, 1.0)] * 5)
    without = open_spool(tmp_path, manual_clock)
    append_seconds(without, manual_clock, [(2.0, 2.0)] * 5)
    without.close()
    reader = SpoolReader(tmp_path, 0)
    for _ in range(2):
        with pytest.raises(SpoolError, match="move the file away"):
            reader.read()
    reader.close()
    again = open_spool(tmp_path, manual_clock, sealer=key)
    again.tend()
    assert [each.values[0] for each in read_spool(tmp_path, sealer=key)] == [1.0] * 5 + [2.0] * 5
    again.close()


def test_a_changed_record_of_an_encrypted_spool_costs_that_record_only(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    key = Sealer([bytes(32)])
    spool = open_spool(tmp_path, manual_clock, sealer=key)
    append_seconds(spool, manual_clock, [(1.0, float(at)) for at in range(10)])
    newest = list_segments(tmp_path)[-1].path
    records = scan(newest.read_bytes(), len(MAGIC)).records
    forged = records[6]._replace(wall_ns=records[6].wall_ns + 1)  # with a right checksum
    newest.write_bytes(MAGIC + b"".join(map(frame, [*records[:6], forged, *records[7:]])))
    assert len(read_spool(tmp_path, sealer=key)) == 9


class SpoolMachine(RuleBasedStateMachine):
    """Append, wait, crash, tear, restart, read, in any order: a reader sees each surviving record once, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.written: list[tuple[int, tuple[float, ...]]] = []
        self.seen: list[tuple[int, tuple[float, ...]]] = []

    @initialize()
    def start(self) -> None:
        self.spool = open_spool(self.directory, self.clock)
        self.reader = SpoolReader(self.directory, 0)

    @rule(count=st.integers(1, 70), narrow=st.booleans())
    def append(self, count: int, *, narrow: bool) -> None:
        for at in range(count):
            self.clock.sleep(1)
            values = (float(at),) if narrow else (float(at), 1.0)
            wide = sweep(*values, columns=(LOAD,)) if narrow else sweep(*values)
            seq = self.spool.append(wide, 0, round(self.clock.monotonic() * 1e9))
            assert seq is not None
            self.spool.tend()
            self.written.append((seq, values))

    @rule()
    def close_and_reopen(self) -> None:
        self.spool.close()
        self.spool = open_spool(self.directory, self.clock)

    @rule()
    def close_and_go_on(self) -> None:
        self.spool.close()

    @rule()
    def crash(self) -> None:
        self.spool = open_spool(self.directory, self.clock)

    @precondition(lambda self: self.written)
    @rule(torn=st.integers(1, 30))
    def crash_while_writing(self, torn: int) -> None:
        """The last record, which nobody was told of, is half written."""
        self.read()
        newest = list_segments(self.directory)[-1]
        if not newest.compressed:
            with newest.path.open("ab") as file:
                file.write(b"\x2c" + bytes(torn))
        self.spool = open_spool(self.directory, self.clock)

    @rule()
    def read(self) -> None:
        self.seen += [(seen.seq, seen.values) for seen in read_all(self.reader)]

    @rule()
    def another_reader(self) -> None:
        """A delivery that starts again goes on where it was."""
        self.reader.close()
        self.reader = SpoolReader(self.directory, self.seen[-1][0] + 1 if self.seen else 0)

    @invariant()
    def seen_in_order_without_a_hole(self) -> None:
        assert self.seen == self.written[: len(self.seen)]

    def teardown(self) -> None:
        self.read()
        assert self.seen == self.written
        self.reader.close()
        self.spool.close()
        shutil.rmtree(self.directory)


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=times(15), stateful_step_count=15, deadline=None)
