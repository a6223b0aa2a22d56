"""Chunks: how long they are, and when one is compressed."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.strategies.chunks import (
    ROW_BYTES,
    STEPS,
    Chunk,
    CompressionRule,
    Verdict,
    chunk_interval,
    verdict,
)

HOUR = timedelta(hours=1)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
RULE = CompressionRule(after=6 * HOUR, quiet=2 * HOUR, patience=168 * HOUR)
AGES = st.timedeltas(timedelta(0), 400 * HOUR)
CHUNKS = st.builds(
    lambda ended, changed, compressed, partial: Chunk(
        "c", NOON - ended - 24 * HOUR, NOON - ended, compressed, compressed and partial, 9, 9, NOON - changed
    ),
    AGES,
    AGES,
    st.booleans(),
    st.booleans(),
)


@given(chunk=CHUNKS, later=AGES)
def test_what_is_due_stays_due_while_nobody_writes(chunk: Chunk, later: timedelta) -> None:
    due = {Verdict.COMPRESS, Verdict.COMPRESS_AGAIN}
    if verdict(chunk, RULE, NOON) in due:
        assert verdict(chunk, RULE, NOON + later) in due


@given(chunk=CHUNKS)
def test_a_chunk_that_is_written_to_is_left_alone_until_patience_ends(chunk: Chunk) -> None:
    judged, age = verdict(chunk, RULE, NOON), NOON - chunk.ends_at
    if chunk.compressed and not chunk.partial:
        assert judged is Verdict.DONE
    elif age < RULE.after:
        assert judged is Verdict.OPEN
    elif age >= RULE.patience:
        assert judged in {Verdict.COMPRESS, Verdict.COMPRESS_AGAIN}
    else:
        assert (judged is Verdict.BUSY) == (NOON - chunk.changed_at < RULE.quiet)


@given(rows=st.floats(1, 1e11), series=st.integers(1, 10_000_000), memory=st.integers(10**7, 10**12))
def test_a_chunk_fits_into_memory_unless_an_hour_is_too_much(rows: float, series: int, memory: int) -> None:
    interval = chunk_interval(rows, series, memory)
    assert interval in STEPS
    if interval > STEPS[0]:
        assert rows * (interval / timedelta(days=1)) * ROW_BYTES <= memory


@given(
    rows=st.floats(1, 1e11), factor=st.floats(1, 1e4), series=st.integers(1, 10**7), memory=st.integers(10**7, 10**12)
)
def test_more_rows_never_make_longer_chunks(rows: float, factor: float, series: int, memory: int) -> None:
    assert chunk_interval(rows * factor, series, memory) <= chunk_interval(rows, series, memory)


def test_a_rewritten_chunk_is_compressed_as_a_whole() -> None:
    late = Chunk("c", NOON, NOON, compressed=True, partial=True, bytes=100, loose_bytes=25, changed_at=NOON)
    rewritten = Chunk("c", NOON, NOON, compressed=True, partial=True, bytes=100, loose_bytes=26, changed_at=NOON)
    assert (late.mostly_loose, rewritten.mostly_loose) == (False, True)
