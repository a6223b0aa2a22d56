"""What was given up is a gap of the tenant: all of it, and once, however often the lane begins anew."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors_dagster.agent.given_up import (
    MOST_STRETCHES,
    GivenUp,
    Stretch,
    given_up_path,
    hole_between,
    read_given_up,
)
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.lane import Lane
from collectors_dagster.clock import ManualClock
from collectors_dagster.tenants import SystemSource, Tenant
from tests.support.spools import HEADER, append_seconds, limits, open_spool

SECOND = 10**9
TENANT = Tenant("aurora", "Aurora", system=SystemSource(collectors=("load",)))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sample"), st.integers(1, 200)),
        st.tuples(st.just("deliver"), st.just(0)),
        st.tuples(st.just("lose the answer"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    min_size=4,
    max_size=25,
)


class Story:
    """A spool that keeps three minutes, a lane, and what the store was told: every batch in one transaction."""

    def __init__(self, root: Path, recorder_hours: float) -> None:
        self.identity = Identity(HEADER.agent_id, HEADER.epoch, HEADER.host, root)
        self.identity.directory.mkdir(parents=True)
        self.clock = ManualClock()
        self.limits = limits(max_hours=0.05, recorder_hours=recorder_hours)
        self.spool = open_spool(self.identity.directory, self.clock, self.limits)
        self.acked_seq = 0
        self.gap_seconds = self.sweeps = 0.0
        self.lane = self.begun()

    def begun(self) -> Lane:
        return Lane(TENANT, self.identity, self.acked_seq, sample_interval_seconds=1.0, batch_samples=10)

    def do(self, step: str, seconds: int) -> None:
        if step == "sample":
            append_seconds(self.spool, self.clock, [(1.0, 1.0)] * seconds)
        elif step == "restart":
            self.spool.close()
            self.spool = open_spool(self.identity.directory, self.clock, self.limits)
            self.spool.release(self.acked_seq)
        else:
            self.deliver()
        if step in ("restart", "lose the answer"):
            self.lane.close()
            self.lane = self.begun()

    def deliver(self) -> None:
        batch = self.lane.next_batch()
        if batch is None:
            return
        assert batch.first_seq == self.acked_seq + 1
        self.acked_seq = batch.last_seq
        self.gap_seconds += sum(note.gap_seconds for note in batch.notes)
        self.sweeps += sum(note.bytes for note in batch.notes) / 8
        self.lane.confirm()
        self.spool.release(self.acked_seq)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, recorder_hours=st.sampled_from([0.0, 0.05, 24.0]))
def test_every_second_is_delivered_or_a_gap_and_never_both(steps: list[tuple[str, int]], recorder_hours: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder) / "spool", recorder_hours)
        for step, seconds in steps:
            story.do(step, seconds)
            assert story.gap_seconds + story.sweeps == pytest.approx(story.acked_seq)
        story.spool.close()
        story.lane.close()


def test_a_stretch_of_which_nothing_is_left_is_booked_to_where_it_was_delivered_again(tmp_path: Path) -> None:
    story = Story(tmp_path / "spool", 0.0)
    story.do("sample", 600)
    lane = Lane(TENANT, story.identity, 40, until_seq=139, sample_interval_seconds=1.0)
    batch = lane.next_batch()
    assert batch is not None
    assert (batch.last_seq, batch.samples) == (139, [])
    assert sum(note.gap_seconds for note in batch.notes) == pytest.approx(99.0)
    lane.confirm()
    assert lane.done
    lane.close()
    story.spool.close()


def test_what_came_evenly_is_remembered_as_one_and_pauses_are_not_bridged(tmp_path: Path) -> None:
    given_up = GivenUp(tmp_path, 1500 * 10**6)
    given_up.add(Stretch(1, 60, 0, 59 * SECOND))
    given_up.add(Stretch(61, 120, 60 * SECOND, 119 * SECOND))
    given_up.add(Stretch(61, 120, 60 * SECOND, 119 * SECOND))
    given_up.add(Stretch(121, 180, 3600 * SECOND, 3659 * SECOND))
    found = read_given_up(tmp_path)
    assert found == [Stretch(1, 120, 0, 119 * SECOND), Stretch(121, 180, 3600 * SECOND, 3659 * SECOND)]
    hole = hole_between(found, 100, 151, 0)
    assert hole is not None
    assert (hole.last_seq, hole.from_ns, hole.to_ns) == (150, 100 * SECOND, 3630 * SECOND)


def test_what_is_remembered_is_bounded_and_outlives_the_process(tmp_path: Path) -> None:
    for number in range(MOST_STRETCHES + 50):
        GivenUp(tmp_path, 1).add(Stretch(10 * number, 10 * number + 5, number * SECOND, number * SECOND + 5))
    found = read_given_up(tmp_path)
    assert len(found) == MOST_STRETCHES
    assert (found[0].first_seq, found[-1].first_seq) == (0, 10 * (MOST_STRETCHES + 49))


@pytest.mark.parametrize("content", ["", "{", "[[1, 2]]", '"word"', "[1]"])
def test_a_file_that_cannot_be_understood_says_nothing(tmp_path: Path, content: str) -> None:
    given_up_path(tmp_path).write_text(content)
    assert read_given_up(tmp_path) == []


def test_what_could_not_be_written_is_written_when_there_is_room(tmp_path: Path) -> None:
    given_up_path(tmp_path).mkdir()
    given_up = GivenUp(tmp_path, 1)
    given_up.add(Stretch(1, 2, 0, 1))
    given_up_path(tmp_path).rmdir()
    given_up.keep()
    assert read_given_up(tmp_path) == [Stretch(1, 2, 0, 1)]
