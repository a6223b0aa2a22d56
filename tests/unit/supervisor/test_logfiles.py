"""Log files stay bounded while their writers hold them open."""

import json
from pathlib import Path

import pytest

from collectors_dagster.supervisor.logfiles import last_line, rotate


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "agent.log"


def test_a_small_log_is_left_alone(log: Path) -> None:
    log.write_text("x" * 100)
    assert not rotate(log, max_bytes=100, backups=2)
    assert log.stat().st_size == 100


def test_a_writer_that_holds_the_file_open_goes_on_after_rotation(log: Path) -> None:
    with log.open("a") as writer:
        writer.write("old\n" * 50)
        writer.flush()
        assert rotate(log, max_bytes=100, backups=2)
        writer.write("new\n")
    assert log.read_text() == "new\n"
    assert (log.parent / "agent.log.1").read_text() == "old\n" * 50


def test_only_as_many_old_files_as_asked_are_kept_newest_first(log: Path) -> None:
    for generation in range(5):
        log.write_text(f"{generation}" * 101)
        rotate(log, max_bytes=100, backups=2)
    kept = {path.name: path.read_text()[0] for path in log.parent.iterdir() if path != log}
    assert kept == {"agent.log.1": "4", "agent.log.2": "3"}


def test_without_backups_the_log_is_only_emptied(log: Path) -> None:
    log.write_text("x" * 101)
    assert rotate(log, max_bytes=100, backups=0)
    assert [path.name for path in log.parent.iterdir()] == ["agent.log"]


def test_a_log_that_grew_huge_between_two_looks_does_not_fill_the_disk_twice(log: Path) -> None:
    log.write_bytes(b"a" * 10_000 + b"z" * 100)
    rotate(log, max_bytes=100, backups=1)
    copy = (log.parent / "agent.log.1").read_bytes()
    assert len(copy) == 200
    assert copy.endswith(b"z" * 100)


def test_the_last_line_is_the_last_with_words(log: Path) -> None:
    log.write_text("first\nTraceback\nKeyError: 'x'\n\n   \n")
    assert last_line(log) == "KeyError: 'x'"


def test_a_structured_line_gives_its_event_and_its_exception(log: Path) -> None:
    trace = "Traceback (most recent call last):\n  File x\nValueError: bad spool"
    log.write_text(json.dumps({"event": "it broke", "level": "error", "exception": trace}) + "\n")
    assert last_line(log) == "it broke: ValueError: bad spool"


def test_lines_of_an_earlier_life_are_not_taken_for_the_reason(log: Path) -> None:
    log.write_text("an old failure\n")
    assert last_line(log, offset=log.stat().st_size) == ""


def test_a_missing_log_has_no_last_line(log: Path) -> None:
    assert last_line(log) == ""
