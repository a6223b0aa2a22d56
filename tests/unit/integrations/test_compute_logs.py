"""What runs printed is deleted by age and by size, and nothing outside the storage directory is ever touched."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.integrations.orchestrator.compute_logs import ComputeLogs, RunEnd, RunOutput, expired

NOW = datetime(2026, 11, 25, tzinfo=UTC)
RUN = str(UUID(int=7))


def write(folder: Path, size: int = 5) -> Path:
    folder.mkdir(parents=True)
    (folder / "step.err").write_bytes(b"x" * size)
    return folder


def test_output_is_found_and_removed_and_its_neighbours_stay(tmp_path: Path) -> None:
    write(tmp_path / RUN / "compute_logs", 10_000)
    other = write(tmp_path / "some_asset" / "compute_logs")
    logs = ComputeLogs(tmp_path)
    assert [each.run_id for each in logs.outputs()] == [RUN]
    assert logs.outputs()[0].size_bytes >= 10_000
    logs.remove([RUN])
    assert sorted(tmp_path.iterdir()) == [other.parent]


def test_whatever_else_a_run_left_stays(tmp_path: Path) -> None:
    write(tmp_path / RUN / "compute_logs")
    value = write(tmp_path / RUN / "values") / "step.err"
    ComputeLogs(tmp_path).remove([RUN])
    assert value.exists()
    assert not (tmp_path / RUN / "compute_logs").exists()


@pytest.mark.parametrize("link", ["storage", f"storage/{RUN}", f"storage/{RUN}/compute_logs"])
def test_a_link_on_the_way_is_not_followed(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    write(outside / RUN / "compute_logs")
    place = tmp_path / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside / Path(link).relative_to("storage"))
    logs = ComputeLogs(tmp_path / "storage")
    assert logs.outputs() == []
    with pytest.raises(OSError, match=r"(?i)symbolic link|Not a directory"):
        logs.remove([RUN])
    assert (outside / RUN / "compute_logs" / "step.err").exists()


def test_a_link_among_the_output_goes_and_what_it_points_to_stays(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside")
    (write(tmp_path / "storage" / RUN / "compute_logs") / "link").symlink_to(outside)
    ComputeLogs(tmp_path / "storage").remove([RUN])
    assert (outside / "step.err").exists()
    assert not (tmp_path / "storage" / RUN).exists()


@pytest.mark.parametrize("name", ["..", ".", "../outside", "", RUN.upper().replace("-", "")])
def test_what_is_no_run_is_not_removed(tmp_path: Path, name: str) -> None:
    kept = write(tmp_path / "outside" / "compute_logs")
    (tmp_path / "storage").mkdir()
    ComputeLogs(tmp_path / "storage").remove([name])
    assert kept.exists()


def test_a_missing_storage_is_empty(tmp_path: Path) -> None:
    assert ComputeLogs(tmp_path / "none").outputs() == []


_ENDS = st.none() | st.builds(
    RunEnd, st.none() | st.integers(0, 30).map(lambda days: NOW - timedelta(days=days)), succeeded=st.booleans()
)


@given(
    runs=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30), _ENDS), max_size=12),
    most_bytes=st.integers(0, 500),
)
def test_only_ended_runs_give_way_the_oldest_first_and_no_more_than_needed(
    runs: list[tuple[int, int, RunEnd | None]], most_bytes: int
) -> None:
    outputs = [RunOutput(str(n), size, NOW - timedelta(days=days)) for n, (size, days, _) in enumerate(runs)]
    ends = {str(n): end for n, (_, _, end) in enumerate(runs) if end}
    gone = expired(outputs, ends, NOW, most_bytes=most_bytes)
    ended = {each.run_id: ends.get(each.run_id, RunEnd(each.touched)).at for each in outputs}
    kept = [each for each in outputs if each.run_id not in gone]
    assert all(ended[run_id] for run_id in gone)
    if any(ended[each.run_id] for each in kept):
        assert sum(each.size_bytes for each in kept) <= most_bytes
    by_size = set(gone) - set(expired(outputs, ends, NOW, most_bytes=10**9))
    times = [at for run_id in by_size if (at := ended[run_id])]
    assert all(at <= other for at in times for each in kept if (other := ended[each.run_id]))
