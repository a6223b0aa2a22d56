"""Reading kernel files through kept descriptors."""

import os
from pathlib import Path

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.procfs import LOOK_AGAIN_SECONDS, OptionalFile, ProcFile, attribute
from collectors_dagster.errors import InvalidSampleError, SourceUnavailableError


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("size", [0, 1, 3071, 3072, 16383, 16384, 16385, 200_000])
def test_a_file_of_any_size_is_read_whole(tmp_path: Path, size: int, single: bool) -> None:  # noqa: FBT001 - a case
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    file = ProcFile(tmp_path / "file", source="test", single=single)
    assert file.read() == content
    assert file.read() == content
    file.close()


def test_a_list_that_the_kernel_hands_out_in_pages_is_read_whole() -> None:
    path = Path("/proc/vmstat")
    if not path.exists():
        pytest.skip("needs Linux")
    file = ProcFile(path, source="test", single=False)
    lines = file.read().splitlines()
    assert len(lines) == len(path.read_bytes().splitlines())
    file.close()


def test_what_is_read_is_the_present_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    file = ProcFile(path, source="test", single=True)
    assert file.read() == b"1"
    path.write_bytes(b"2")
    assert file.read() == b"2"
    file.close()


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    file = ProcFile(tmp_path / "file", source="test", single=True)
    with pytest.raises(SourceUnavailableError, match="cannot be read"):
        file.read()
    (tmp_path / "file").write_bytes(b"here")
    assert file.read() == b"here"
    file.close()


@pytest.mark.parametrize("single", [True, False])
def test_an_endless_file_is_refused(single: bool) -> None:  # noqa: FBT001 - a case
    file = ProcFile(Path("/dev/zero"), source="test", single=single)
    with pytest.raises(InvalidSampleError, match="larger"):
        file.read()
    file.close()


def test_closing_twice_is_harmless_and_reading_opens_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    file = ProcFile(tmp_path / "file", source="test", single=True)
    file.read()
    file.close()
    file.close()
    assert file.read() == b"1"
    file.close()


def test_an_optional_file_is_empty_while_absent_and_looked_for_once_in_a_while(tmp_path: Path) -> None:
    clock = ManualClock()
    file = OptionalFile(tmp_path / "file", source="test", single=True, clock=clock)
    assert file.read() == b""
    (tmp_path / "file").write_bytes(b"here")
    assert file.read() == b""
    clock.sleep(LOOK_AGAIN_SECONDS)
    assert file.read() == b"here"
    file.close()


def test_an_optional_file_that_is_there_but_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    file = OptionalFile(tmp_path, source="test", single=True, clock=ManualClock())
    with pytest.raises(SourceUnavailableError):
        file.read()


def test_an_attribute_is_told_without_its_line_end_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "speed").write_bytes(b"1000\n")
    assert attribute(tmp_path / "speed") == b"1000"
    assert attribute(tmp_path / "absent") is None
    assert attribute(tmp_path) is None
    assert attribute(tmp_path / "a\x00b") is None
