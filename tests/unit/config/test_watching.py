from datetime import UTC, datetime, timedelta
from pathlib import Path

from collectors_dagster.clock import ManualClock
from collectors_dagster.config.watching import Fingerprint


def test_settled_files_are_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    fingerprint = Fingerprint(ManualClock(datetime.now(UTC) + timedelta(minutes=1)))
    assert fingerprint.changed([path])
    assert not fingerprint.changed([path])
    assert not fingerprint.changed([path])


def test_file_written_a_moment_ago_is_read_once_more(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    clock = ManualClock(datetime.now(UTC))
    fingerprint = Fingerprint(clock)
    assert fingerprint.changed([path])
    assert fingerprint.changed([path])
    clock.move(5)
    assert fingerprint.changed([path])
    assert not fingerprint.changed([path])


def test_file_that_comes_or_goes_is_a_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    fingerprint = Fingerprint(ManualClock(datetime.now(UTC) + timedelta(minutes=1)))
    fingerprint.changed([path])
    assert not fingerprint.changed([path])
    path.write_text("")
    assert fingerprint.changed([path])
    path.unlink()
    assert fingerprint.changed([path])
    assert not fingerprint.changed([path])
