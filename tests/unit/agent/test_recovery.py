"""What a crash leaves: nothing that was acknowledged is lost, nothing damaged is believed."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collectors_dagster.agent.reader import SpoolReader
from collectors_dagster.agent.segments import list_segments, open_path
from collectors_dagster.clock import ManualClock
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


def test_damage_is_counted(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, [(1.0, 1.0)] * 120)
    spool.close()
    list_segments(tmp_path)[0].path.write_bytes(b"not zlib")
    reader = SpoolReader(tmp_path, 0)
    assert [seen.seq for seen in read_all(reader)] == list(range(61, 121))
    assert reader.damaged_segments == 1
    reader.close()


@pytest.mark.parametrize("content", [b"", b"CDSPOOL", b"somebody else's file", b"CDSPOOL1" + b"\x00" * 100])
def test_a_file_that_is_no_segment_does_not_stop_the_spool(
    tmp_path: Path, manual_clock: ManualClock, content: bytes
) -> None:
    open_path(tmp_path, 1).write_bytes(content)
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, [(1.0, 1.0)])
    assert len(read_spool(tmp_path)) == 1
    spool.close()


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
TestSpoolMachine.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
