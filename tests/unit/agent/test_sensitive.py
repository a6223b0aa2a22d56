"""Sensitive series: sealed on disk wherever they are, and read back as if nothing had been."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from collectors_dagster.agent.form import Form
from collectors_dagster.agent.packed import _blocks, pack, summarised, unpack
from collectors_dagster.agent.protection import Guard, Unpacked, cut_part, opened
from collectors_dagster.agent.records import CONTROL, MAGIC, PARTED, SEALED, Record, scan, schema_payload
from collectors_dagster.agent.segments import list_segments
from collectors_dagster.agent.sensitive import Sensitive
from collectors_dagster.agent.spool import Spool
from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.runner import Column
from collectors_dagster.errors import SpoolError
from collectors_dagster.patterns.compression import CompressionPolicy, Compressor, unpacked
from collectors_dagster.samples import Kind, Metric
from collectors_dagster.security.sealing import Sealer, UnknownKeyError
from tests.support.spools import LOAD, READS, append_seconds, limits, open_spool, read_spool

KEY = Sealer([bytes(range(32))])
NAMES = Sensitive(["process.user", "disk_reads_total"])
THREADS = Metric("process_threads", Kind.GAUGE, "threads", "", peak=True)
ADA = Column("process", THREADS, (("executable", "engine"), ("user", "ada-lovelace")))
BOB = Column("process", THREADS, (("executable", "engine"), ("user", "bob-babbage!")))
SHARED = Column("process", THREADS, (("executable", "kernel"),))
COLUMNS = (LOAD, ADA, READS, SHARED)
BITS = st.integers(0, 2**64 - 1)


def form(*, whole: bool = False, sensitive: Sensitive = NAMES) -> Form:
    return Form(KEY, sensitive=sensitive, whole=whole)


def rows(seconds: int, user: float = 1.0, reads: float = 7.0) -> list[tuple[float, ...]]:
    """Rows for `COLUMNS`: what is public is the same whatever the sensitive values are."""
    return [(at / 7, user / (at + 3), reads * at, 2.0 * at) for at in range(seconds)]


def readable(directory: Path) -> list[bytes]:
    """Return everything on disk that no seal protects, piece by piece."""
    return [piece for segment in list_segments(directory) for piece in _pieces(segment.path.read_bytes())]


def _pieces(data: bytes) -> Iterator[bytes]:
    if data.startswith(MAGIC):
        yield from _plain_parts(scan(data, len(MAGIC)).records)
        return
    for block in _blocks(data):
        assert block is not None
        if block.mark == b"BLOK":
            body = unpacked(block.body, 10**8)
            yield from _plain_parts(scan(body, 1).records) if not body[0] else (body,)
        elif block.mark == b"PART":
            yield unpacked(cut_part(block.body)[0][4:], 10**8)


def _plain_parts(records: list[Record]) -> Iterator[bytes]:
    for record in records:
        if record.schema & PARTED:
            yield cut_part(record.payload)[0]
        elif not record.schema & SEALED:
            yield record.payload


def wrote(directory: Path, clock: ManualClock, columns: tuple[Column, ...], values: list[tuple[float, ...]]) -> Spool:
    spool = open_spool(directory, clock, form=form())
    append_seconds(spool, clock, values, columns)
    return spool


def test_nothing_sensitive_is_on_the_disk_at_any_moment(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock, form=form())
    for row in rows(150, user=1234.5678, reads=77_777.0):
        append_seconds(spool, manual_clock, [row], COLUMNS)
        secrets = [b"ada", b"disk_reads", b"vda", *(struct.pack("<d", row[at]) for at in (1, 2) if row[at])]
        on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert not [secret for secret in secrets if secret in on_disk or secret in b"".join(readable(tmp_path))]
        assert struct.pack("<d", row[0]) in on_disk  # the rest is as it always was
    spool.close()
    assert b"load1" in b"".join(readable(tmp_path))
    assert b"kernel" in b"".join(readable(tmp_path))
    seen = read_spool(tmp_path, sealer=KEY)
    assert [each.values for each in seen] == rows(150, user=1234.5678, reads=77_777.0)
    assert [column.labels for column in seen[0].columns] == [column.labels for column in COLUMNS]


@pytest.mark.parametrize("packed", [False, True])
def test_what_can_be_read_without_the_key_does_not_depend_on_what_is_sensitive(tmp_path: Path, *, packed: bool) -> None:
    for name, user, column in (("one", 3.0, ADA), ("other", 1e-9, BOB)):
        (tmp_path / name).mkdir()
        spool = wrote(tmp_path / name, ManualClock(), (LOAD, column, READS, SHARED), rows(50, user, 100 * user))
        if packed:
            spool.close()
    assert readable(tmp_path / "one") == readable(tmp_path / "other") != []


def test_a_reader_without_the_key_is_told_which_one_it_needs(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = wrote(tmp_path, manual_clock, COLUMNS, rows(70))
    for _ in ("the newest is being written", "all are packed"):
        for key in (None, Sealer([bytes(32)])):
            with pytest.raises(SpoolError, match=r"agent\.spool_keys"):
                read_spool(tmp_path, sealer=key)
        spool.close()


def test_a_reader_follows_a_segment_that_is_being_written(tmp_path: Path, manual_clock: ManualClock) -> None:
    wrote(tmp_path, manual_clock, COLUMNS, rows(5))
    assert [each.values for each in read_spool(tmp_path, sealer=KEY)] == rows(5)


def test_what_is_thinned_stays_sealed_and_right(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock, limits(max_bytes=2500), form=form())
    append_seconds(spool, manual_clock, rows(200), COLUMNS)
    spool.close()
    assert spool.statistics.thinned_segments
    assert not [secret for secret in (b"ada", b"disk_reads", b"vda") if secret in b"".join(readable(tmp_path))]
    reads = [each.values[2] for each in read_spool(tmp_path, sealer=KEY)]
    assert set(reads) <= {row[2] for row in rows(200)}
    thinned = next(each for each in read_spool(tmp_path, sealer=KEY) if each.sweeps > 1)
    assert [column.metric.name for column in thinned.columns[4:]] == [
        "load1_max",
        "process_threads_max",
        "process_threads_max",
    ]


def test_what_was_encrypted_whole_keeps_its_sensitive_part_sealed_when_it_is_written_anew(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    open_whole = open_spool(tmp_path, manual_clock, form=form(whole=True))
    append_seconds(open_whole, manual_clock, rows(130), COLUMNS)
    open_whole.close()
    before = len(list_segments(tmp_path))
    spool = open_spool(tmp_path, manual_clock, limits(max_bytes=1), form=form())
    for _ in range(20):
        spool.tend()
    assert spool.statistics.thinned_segments
    assert before == 3
    assert not [secret for secret in (b"ada", b"disk_reads", b"vda") if secret in b"".join(readable(tmp_path))]
    assert read_spool(tmp_path, sealer=KEY)


def test_what_an_agent_without_the_setting_left_open_is_sealed_when_it_is_packed(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    append_seconds(open_spool(tmp_path, manual_clock), manual_clock, rows(20), COLUMNS)
    assert b"ada" in b"".join(readable(tmp_path))
    open_spool(tmp_path, manual_clock, form=form()).close()
    assert [segment.compressed for segment in list_segments(tmp_path)] == [True]
    assert b"ada" not in b"".join(readable(tmp_path))
    assert [each.values for each in read_spool(tmp_path, sealer=KEY)] == rows(20)


def test_what_was_sensitive_stays_so_when_the_setting_is_taken_back(tmp_path: Path, manual_clock: ManualClock) -> None:
    wrote(tmp_path, manual_clock, COLUMNS, rows(20))
    open_spool(tmp_path, manual_clock, form=form(sensitive=Sensitive(["load"]))).close()
    assert not [secret for secret in (b"ada", b"disk_reads", b"load1") if secret in b"".join(readable(tmp_path))]
    assert [each.values for each in read_spool(tmp_path, sealer=KEY)] == rows(20)


def test_where_everything_is_sealed_nothing_is_sealed_twice(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock, form=form(whole=True))
    append_seconds(spool, manual_clock, rows(70), COLUMNS)
    live = scan(list_segments(tmp_path)[-1].path.read_bytes(), len(MAGIC)).records
    assert {record.schema & (SEALED | PARTED) for record in live} == {SEALED}
    spool.close()
    data = list_segments(tmp_path)[0].path.read_bytes()
    assert {block.mark for block in _blocks(data) if block} == {b"SEAL"}
    assert not readable(tmp_path)


def test_the_rest_of_a_spool_costs_no_more_than_before(tmp_path: Path, manual_clock: ManualClock) -> None:
    wide = tuple(replace(LOAD, labels=(("n", str(n)),)) for n in range(100))
    values = [tuple(float(n * at) for n in range(101)) for at in range(60)]
    sizes = []
    for name, one in (("plain", Form()), ("parted", form())):
        (tmp_path / name).mkdir()
        spool = open_spool(tmp_path / name, manual_clock, form=one)
        append_seconds(spool, manual_clock, values, (*wide, ADA))
        spool.close()
        sizes.append(sum(segment.path.stat().st_size for segment in list_segments(tmp_path / name)))
    assert sizes[1] - sizes[0] < 600


@st.composite
def minutes(draw: st.DrawFn) -> tuple[list[Record], tuple[str, ...]]:
    """Records of schemas whose columns, and which of them are sensitive, are drawn; any bits as values."""
    names = draw(st.lists(st.sampled_from("abcd"), max_size=3, unique=True))
    records, seq = [], 1
    for schema in range(1, draw(st.integers(1, 3)) + 1):
        drawn = draw(
            st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=6, unique_by=lambda x: x[0])
        )
        columns = [Column(name, replace(THREADS, name=f"{name}_1", peak=peak)) for name, peak in drawn]
        thinned = draw(st.booleans())
        width = len(columns) + (2 + sum(column.metric.peak for column in columns)) * thinned
        records.append(Record(seq, 0, 0, CONTROL, schema_payload(schema, columns, thinned=thinned)))
        for _ in range(draw(st.integers(0, 4))):
            payload = struct.pack(f"<{width}Q", *(draw(BITS) for _ in range(width)))
            records.append(Record(seq, seq, seq, schema, payload))
            seq += 1
    return records, tuple(names)


@given(minutes())
def test_any_records_come_back_to_the_last_bit(drawn: tuple[list[Record], tuple[str, ...]]) -> None:
    records, names = drawn
    one = Form(KEY, Compressor(CompressionPolicy(())), Sensitive(names), whole=False)
    guard = Guard(one)
    live = [guard.protected(record) for record in records]
    joined = opened(live, KEY)
    assert joined.damaged == 0
    samples = [record for record in joined.records if record.schema != CONTROL]
    assert samples == [record for record in records if record.schema != CONTROL]
    summary = summarised([*records, Record(99, 0, 0, 1, b"")])
    assert summary is not None
    whole = pack(1, records, summary, one)
    assert unpack(1, whole, KEY) == Unpacked(joined.records, 0)
    if names and any(record.schema & PARTED for record in live):
        with pytest.raises(UnknownKeyError):
            unpack(1, whole, None)


@given(minutes(), st.data())
def test_a_sealed_part_tells_of_every_change(drawn: tuple[list[Record], tuple[str, ...]], data: st.DataObject) -> None:
    records, names = drawn
    guard = Guard(Form(KEY, sensitive=Sensitive((*names, "a")), whole=False))
    parted = [one for one in map(guard.protected, records) if one.schema & PARTED]
    for record in parted:
        changed = bytearray(record.payload)
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
        with suppress(UnknownKeyError):  # the key's name was changed, or the place where it stands
            assert opened([record._replace(payload=bytes(changed))], KEY) == Unpacked([], 1)
        assert opened([record._replace(wall_ns=10**15)], KEY) == Unpacked([], 1)


def test_a_control_record_that_is_not_understood_is_sealed_whole() -> None:
    guard = Guard(form())
    assert guard.protected(Record(1, 1, 1, CONTROL, b'{"later": "ada"}')).schema == SEALED
    assert guard.protected(Record(1, 1, 1, 3, bytes(8))).schema == 3 | SEALED


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("process", [False, True, False, True]),
        ("process_threads", [False, True, False, True]),
        ("process_threads_max", [False, True, False, True]),
        ("process.user", [False, True, False, False]),
        ("*.user", [False, True, False, False]),
        ("disk.user", [False] * 4),
        ("disk_reads_per_second", [False, False, True, False]),
    ],
)
def test_series_are_named_by_source_metric_or_label(name: str, covered: list[bool]) -> None:
    assert [Sensitive([name]).covers(column) for column in COLUMNS] == covered


def test_a_label_that_no_series_carries_is_warned_of_once(tmp_path: Path, manual_clock: ManualClock) -> None:
    spool = open_spool(tmp_path, manual_clock, form=form(sensitive=Sensitive(["process.usr", "process.user"])))
    with capture_logs() as lines:
        append_seconds(spool, manual_clock, rows(130), COLUMNS)
    told = [line for line in lines if "sensitive" in line["event"]]
    assert [(line["log_level"], line["name"]) for line in told] == [("warning", "process.usr")]
