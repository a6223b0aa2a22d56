"""Reading logs as they are and as they grow."""

from pathlib import Path

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.supervisor.tails import Line, follow, last_lines


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "agent.log"
    path.write_text("".join(f"line {number}\n" for number in range(50_000)))
    return path


def texts(lines: object) -> list[str]:
    assert isinstance(lines, list)
    return [line.text for line in lines]


def test_the_end_is_shown_with_its_component(log: Path) -> None:
    assert list(last_lines([log], 2)) == [Line("agent", "line 49998"), Line("agent", "line 49999")]


@pytest.mark.parametrize("count", [0, 1, 20_000, 50_000, 60_000])
def test_as_many_lines_as_asked_or_all(log: Path, count: int) -> None:
    found = texts(list(last_lines([log], count)))
    assert found == [f"line {number}" for number in range(max(0, 50_000 - count), 50_000)]


def test_only_what_is_written_from_now_on_is_followed(log: Path, manual_clock: ManualClock) -> None:
    lines = follow([log], Writing(manual_clock, log, ["new\n"]))
    assert next(lines) == Line("agent", "new")


def test_half_a_line_is_shown_when_it_is_whole(log: Path, manual_clock: ManualClock) -> None:
    lines = follow([log], Writing(manual_clock, log, ["first ", "half\n"]))
    assert next(lines) == Line("agent", "first half")


def test_a_log_emptied_by_rotation_is_read_from_its_start(log: Path, manual_clock: ManualClock) -> None:
    class Rotating(ManualClock):
        def sleep(self, seconds: float) -> None:
            log.write_text("after rotation\n")

    assert next(follow([log], Rotating())) == Line("agent", "after rotation")


class Writing:
    """A clock during whose pauses somebody writes to a log."""

    def __init__(self, clock: ManualClock, log: Path, parts: list[str]) -> None:
        self._clock, self._log, self._parts = clock, log, parts
        self.now, self.wall_ns = clock.now, clock.wall_ns
        self.monotonic, self.boottime = clock.monotonic, clock.boottime

    def sleep(self, seconds: float) -> None:
        with self._log.open("a") as writer:
            writer.write(self._parts.pop(0))
        self._clock.sleep(seconds)
