"""The writing end of the spool: durable, bounded, honest about losses."""

import random
import resource
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from collectors_dagster.agent.form import Form, compressor_of
from collectors_dagster.agent.reader import IDLE_READS, SpoolReader
from collectors_dagster.agent.records import MAGIC, Gap, frame
from collectors_dagster.agent.records import gaps_in as recorded_gaps
from collectors_dagster.agent.recovery import UNCLEAN_JUMP
from collectors_dagster.agent.segments import list_segments, read_records
from collectors_dagster.agent.spool import SEGMENT_BYTES, SEGMENT_SECONDS, Spool
from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import SpoolError
from tests.support.spools import LOAD, READS, append_seconds, limits, open_spool, read_all, read_spool, sweep

MINUTES = [[(float(minute), float(second)) for second in range(60)] for minute in range(6)]


@contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """Let files grow to `size` bytes only: like a full disk, the kernel then writes less than it was given."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with capture_logs():  # the log of a test run may be a file, too
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def gaps_in(directory: Path) -> list[Gap]:
    return [gap for segment in list_segments(directory) for gap in recorded_gaps(read_records(segment, None).records)]


def test_what_was_appended_is_read_back(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    numbers = append_seconds(spool, manual_clock, [(1.0, 10.0), (2.0, float("inf"))])
    seen = read_spool(tmp_path)
    assert [each.seq for each in seen] == numbers == [1, 2]
    assert [each.values for each in seen] == [(1.0, 10.0), (2.0, float("inf"))]
    assert [column.metric.name for column in seen[0].columns] == ["load1", "disk_reads_total"]
    assert seen[0].boot_id == "boot-1"
    spool.close()


def test_numbers_go_on_after_an_orderly_end(tmp_path: Path, manual_clock: ManualClock) -> None:
    first = open_spool(tmp_path, manual_clock)
    append_seconds(first, manual_clock, MINUTES[0])
    first.close()
    second = open_spool(tmp_path, manual_clock)
    assert append_seconds(second, manual_clock, [(0.0, 0.0)]) == [61]
    assert len(read_spool(tmp_path)) == 61
    second.close()


def test_numbers_are_never_used_twice_after_a_crash(tmp_path: Path, manual_clock: ManualClock) -> None:
    append_seconds(open_spool(tmp_path, manual_clock), manual_clock, MINUTES[0][:5])
    survivor = open_spool(tmp_path, manual_clock)
    assert survivor.next_seq == 5 + 1 + UNCLEAN_JUMP
    assert len(read_spool(tmp_path)) == 5


def test_a_crash_before_the_first_record_leaves_nothing_behind(tmp_path: Path, manual_clock: ManualClock) -> None:
    (tmp_path / "000000000001.seg").write_bytes(MAGIC)
    (tmp_path / ".000000000001.segz.abc.tmp").write_bytes(b"half")
    spool = open_spool(tmp_path, manual_clock)
    assert list_segments(tmp_path) == []
    assert spool.next_seq == 1 + UNCLEAN_JUMP


def test_a_crash_between_compressing_and_removing_is_cleaned_up(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, MINUTES[0])
    shutil.copy(tmp_path / "000000000001.seg", tmp_path.parent / "kept")
    spool.close()
    shutil.copy(tmp_path.parent / "kept", tmp_path / "000000000001.seg")
    assert open_spool(tmp_path, manual_clock).next_seq == 61
    assert [path.name for path in tmp_path.glob("*.seg*")] == ["000000000001.segz"]


def test_segments_are_closed_and_compressed_after_a_minute(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, MINUTES[0] + MINUTES[1])
    names = sorted(path.name for path in tmp_path.glob("*.seg*"))
    assert names == ["000000000001.segz", "000000000061.seg"]
    assert SEGMENT_SECONDS == 60
    assert (tmp_path / names[0]).stat().st_size < 60 * 52 / 2
    spool.close()


def test_a_spool_whose_codec_was_changed_is_read_from_end_to_end(tmp_path: Path, manual_clock: ManualClock) -> None:
    wide = tuple(replace(LOAD, labels=(("n", str(n)),)) for n in range(40))
    rows = [tuple(float(second * n) for n in range(40)) for second in range(60)]
    for name in ("gzip", "lz4", "none", "zstd", "auto"):
        spool = open_spool(tmp_path, manual_clock, form=Form(None, compressor_of(name)))
        append_seconds(spool, manual_clock, rows, wide)
        spool.close()
    assert [each.values for each in read_spool(tmp_path)] == 5 * rows
    sizes = [segment.path.stat().st_size for segment in list_segments(tmp_path)]
    assert sizes[2] > 2 * max(sizes[0], sizes[1], *sizes[3:])


def test_a_segment_of_a_codec_from_another_version_is_named_with_the_remedy(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, MINUTES[0])
    spool.close()
    body = b"\x4dfrom another version"
    with (tmp_path / "000000000001.segz").open("ab") as file:
        file.write(struct.pack("<4sII", b"BLOK", len(body), zlib.crc32(body)) + body)
    with pytest.raises(SpoolError, match=r"000000000001\.segz: packed with the codec 77.* update it, or move the file"):
        read_spool(tmp_path)


def test_large_segments_are_closed_early(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    wide = tuple(LOAD.__class__("load", LOAD.metric, (("n", str(n)),)) for n in range(2000))
    for _ in range(80):
        spool.append(sweep(*([1.0] * len(wide)), columns=wide), 0, 0)
    assert len(list_segments(tmp_path)) == 2
    assert max(segment.path.stat().st_size for segment in list_segments(tmp_path)) < 1.1 * SEGMENT_BYTES
    spool.close()


def test_a_changed_set_of_series_starts_a_new_schema(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    spool.append(sweep(1.0, 2.0), 0, 0)
    spool.append(sweep(3.0, columns=(LOAD,)), 1, 1)
    spool.append(sweep(4.0, 5.0), 2, 2)
    seen = read_spool(tmp_path)
    assert [each.values for each in seen] == [(1.0, 2.0), (3.0,), (4.0, 5.0)]
    assert [len(each.columns) for each in seen] == [2, 1, 2]
    assert seen[0].columns is seen[2].columns
    spool.close()


def test_each_segment_can_be_read_alone(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, MINUTES[0] + MINUTES[1])
    spool.close()
    (tmp_path / "000000000001.segz").unlink()
    assert [each.seq for each in read_spool(tmp_path)] == list(range(61, 121))


@pytest.mark.parametrize(("hours", "dropped"), [(23, 0), (25, 2)])
def test_delivered_segments_stay_for_their_hours_and_go_afterwards(
    tmp_path: Path, manual_clock: ManualClock, hours: int, dropped: int
) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_minutes(spool, manual_clock, 2)
    spool.release(10**6)
    manual_clock.sleep(hours * 3600)
    append_minutes(spool, manual_clock, 2)
    assert spool.statistics.dropped_segments == dropped
    assert spool.statistics.dropped_undelivered_segments == 0
    assert gaps_in(tmp_path) == []
    spool.close()


def test_undelivered_segments_outlive_their_hours(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_minutes(spool, manual_clock, 2)
    manual_clock.sleep(1000 * 3600)
    append_minutes(spool, manual_clock, 2)
    assert spool.statistics.dropped_segments == 0
    spool.close()


def test_over_its_quota_the_spool_thins_before_it_drops_and_both_visibly(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    spool = open_spool(tmp_path, manual_clock, limits(max_bytes=45_000))
    append_noise(spool, manual_clock, 10)
    spool.close()
    assert spool.statistics.thinned_segments > 2
    assert spool.statistics.dropped_segments == 0
    later = open_spool(tmp_path, manual_clock, limits(max_bytes=12_000))
    append_noise(later, manual_clock, 10)
    later.close()
    seen = read_spool(tmp_path)
    assert seen[-1].seq == 20 * 60
    assert {each.sweeps for each in seen} > {1}
    assert sum(each.sweeps for each in seen) + later.statistics.dropped_records == 20 * 60
    assert sum(gap.records for gap in gaps_in(tmp_path)) == later.statistics.dropped_records > 0
    assert {gap.reason for gap in gaps_in(tmp_path)} == {"over spool_max_bytes"}


def test_the_newest_segment_is_never_dropped(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock, limits(max_bytes=1, max_hours=0, recorder_max_bytes=1, recorder_hours=0))
    spool.release(10**6)
    append_minutes(spool, manual_clock, 3)
    spool.close()
    assert read_spool(tmp_path)[-1].seq == 180
    assert open_spool(tmp_path, manual_clock).next_seq == 181


def test_on_a_full_disk_sampling_goes_on_and_the_loss_is_recorded(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, MINUTES[0][:10])
    size = (tmp_path / "000000000001.seg").stat().st_size
    with disk_full_at(size + 10):
        lost = append_seconds(spool, manual_clock, MINUTES[0][10:15])
    written = append_seconds(spool, manual_clock, MINUTES[0][15:20])
    assert lost == [None] * 5
    assert written == [11, 12, 13, 14, 15]
    assert spool.statistics.lost_records == 5
    assert [each.seq for each in read_spool(tmp_path)] == list(range(1, 16))
    (gap,) = gaps_in(tmp_path)
    assert gap.records == 5
    assert gap.to_ns - gap.from_ns == 4 * 10**9
    spool.close()


def test_a_full_disk_when_a_segment_begins_is_survived(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    with disk_full_at(20):
        assert append_seconds(spool, manual_clock, MINUTES[0][:3]) == [None] * 3
    assert append_seconds(spool, manual_clock, MINUTES[0][3:5]) == [1, 2]
    assert len(read_spool(tmp_path)) == 2
    spool.close()


def test_on_a_full_disk_the_oldest_delivered_segment_makes_room(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_minutes(spool, manual_clock, 5)
    append_seconds(spool, manual_clock, MINUTES[4][:30])
    spool.release(61)
    size = list_segments(tmp_path)[-1].path.stat().st_size
    with disk_full_at(size + 10):
        append_seconds(spool, manual_clock, MINUTES[5][:1])
    seen = read_spool(tmp_path)
    assert seen[0].seq == 61
    assert spool.statistics.dropped_segments == 1
    assert spool.statistics.dropped_records == 0
    spool.close()


def test_segments_that_could_not_be_compressed_are_read_like_the_others(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_minutes(spool, manual_clock, 3)
    spool.close()
    for segment in list_segments(tmp_path):
        records = read_records(segment, None).records
        segment.path.with_suffix(".seg").write_bytes(MAGIC + b"".join(map(frame, records)))
        segment.path.unlink()
    assert [each.seq for each in read_spool(tmp_path)] == list(range(1, 181))


def test_segments_of_the_version_before_are_read_and_kept(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_minutes(spool, manual_clock, 2)
    spool.close()
    for segment in list_segments(tmp_path):
        records = read_records(segment, None).records
        segment.path.write_bytes(zlib.compress(MAGIC + b"".join(map(frame, records)), 1))
    later = open_spool(tmp_path, manual_clock)
    assert later.next_seq == 121
    assert later.statistics.damaged_segments == 0
    assert [each.seq for each in read_spool(tmp_path)] == list(range(1, 121))
    later.close()


def test_a_reader_leaves_a_segment_that_stays_uncompressed(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    append_seconds(spool, manual_clock, MINUTES[0])
    reader = SpoolReader(tmp_path, 0)
    assert len(reader.read()) == 60
    for second in range(2):
        manual_clock.sleep(1)
        spool.append(sweep(1.0, 1.0), second, second)  # without upkeep
    assert [path.suffix for path in sorted(tmp_path.glob("*.seg*"))] == [".seg", ".seg"]
    seen = [each.seq for _ in range(2 * IDLE_READS) for each in reader.read()]
    assert seen == [61, 62]
    reader.close()
    spool.close()


def test_a_spool_whose_directory_vanishes_begins_it_anew(tmp_path: Path, manual_clock: ManualClock) -> None:
    directory = tmp_path / "epoch"
    directory.mkdir()
    spool = open_spool(directory, manual_clock)
    append_seconds(spool, manual_clock, MINUTES[0])
    shutil.rmtree(directory)
    append_minutes(spool, manual_clock, 2)
    assert len(read_spool(directory)) >= 60
    spool.close()


@pytest.mark.parametrize("delay_rows", [0, 1])
def test_a_reader_follows_a_writer_over_rotations(tmp_path: Path, manual_clock: ManualClock, delay_rows: int) -> None:
    spool = open_spool(tmp_path, manual_clock)
    reader = SpoolReader(tmp_path, 0)
    seen = []
    for at, pair in enumerate(MINUTES[0] + MINUTES[1] + MINUTES[2]):
        append_seconds(spool, manual_clock, [pair])
        if at % (1 + 70 * delay_rows) == 0:
            seen += reader.read()
    seen += read_all(reader)
    assert [each.seq for each in seen] == list(range(1, 181))
    reader.close()
    spool.close()


def test_a_reader_in_another_thread_sees_every_record_once(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    done = threading.Event()
    seen: list[int] = []

    def follow() -> None:
        reader = SpoolReader(tmp_path, 0)
        while not done.is_set():
            seen.extend(each.seq for each in reader.read())
        seen.extend(each.seq for each in read_all(reader))
        reader.close()

    follower = threading.Thread(target=follow)
    follower.start()
    append_minutes(spool, manual_clock, 30)
    done.set()
    follower.join()
    assert seen == list(range(1, 1801))
    spool.close()


def append_minutes(spool: Spool, clock: ManualClock, minutes: int) -> None:
    """Append a sweep a second for a number of minutes."""
    append_seconds(spool, clock, [(float(at), float(at)) for at in range(60 * minutes)])


def append_noise(spool: Spool, clock: ManualClock, minutes: int) -> None:
    """Append a sweep a second of twenty values that cannot be foretold."""
    noise = random.Random(20261125)
    wide = tuple(LOAD.__class__("load", LOAD.metric, (("n", str(n)),)) for n in range(20))
    for _ in range(60 * minutes):
        clock.sleep(1)
        values = sweep(*(noise.random() for _ in wide), columns=wide)
        spool.append(values, int(clock.now().timestamp()) * 10**9, round(clock.monotonic() * 1e9))
        spool.tend()


def test_a_disk_that_fails_otherwise_than_by_being_full_keeps_what_it_has(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    home = tmp_path / "epoch"
    home.mkdir()
    spool = open_spool(home, manual_clock)
    append_seconds(spool, manual_clock, [(1.0, float(at)) for at in range(300)])
    kept = len(read_spool(home))
    away = home.rename(tmp_path / "away")
    home.write_text("in the way")  # opening a segment fails, and no segment is to blame
    assert append_seconds(spool, manual_clock, [(1.0, 1.0)] * 130).count(None) >= 60
    assert spool.statistics.dropped_segments == 0
    home.unlink()
    away.rename(home)
    assert append_seconds(spool, manual_clock, [(1.0, 1.0)]) != [None]
    assert len(read_spool(home)) >= kept


def test_sets_of_columns_that_come_and_go_are_all_read(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock)
    for number in range(120):
        manual_clock.sleep(1)
        columns = (LOAD, replace(READS, labels=(("device", f"disk{number % 40}"),)))
        spool.append(sweep(1.0, float(number), columns=columns), number * 10**9, number * 10**9)
    found = read_spool(tmp_path)
    assert [seen.values[1] for seen in found] == [float(number) for number in range(120)]
    assert [dict(seen.columns[1].labels)["device"] for seen in found] == [f"disk{n % 40}" for n in range(120)]
