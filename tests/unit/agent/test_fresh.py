"""Where a lane ends, no record stands for sweeps on both sides: each is delivered by exactly one lane."""

from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.fresh import fresh_start, look_back_records
from collectors_dagster.agent.reader import Observation
from collectors_dagster.agent.records import CONTROL, Record, Schema, schema_payload
from collectors_dagster.agent.rows import row_of
from collectors_dagster.agent.thinning import LEVELS, thinned
from tests.support.spools import COLUMNS, sweep

SECOND = 10**9
START = 1_767_225_600 * SECOND
SCHEMA = schema_payload(1, COLUMNS)
HISTORIES = st.lists(
    st.tuples(
        st.integers(1, 120),
        st.sampled_from([0.0, 0.0, 0.0, 7.0, 90.0]),
        st.sampled_from([0.0, 0.0, 0.0, -0.7, -8.0, -70.0, 45.0]),
    ),
    min_size=2,
    max_size=8,
)
"""Sweeps in a row, the pause after them, and how far the wall clock is set in it."""


def recorded(history: list[tuple[int, float, float]], offset: float) -> list[Record]:
    mono, off, records = 0.0, offset, [Record(1, 0, 0, CONTROL, SCHEMA)]
    for sweeps, pause, jump in history:
        for _ in range(sweeps):
            mono += 1.0
            wall_ns = START + round((mono + off) * SECOND)
            payload = sweep(1.0, mono).values.tobytes()
            records.append(Record(len(records), wall_ns, round(mono * SECOND), 1, payload))
        mono, off = mono + pause, off + jump
    return records


def seen(records: list[Record]) -> list[Observation]:
    return [Observation(one.seq, one.wall_ns, one.mono_ns, "boot", COLUMNS, (1.0, 1.0)) for one in records[1:]]


def sweeps_by_side(records: list[Record], start: int) -> tuple[int, int]:
    """Return for how many sweeps the records stand that one lane delivers, and the other."""
    schema = Schema(1, COLUMNS, thinned=True)
    rows = [row_of(record, schema) for record in records if record.schema != CONTROL]
    return (
        sum(row.sweeps for row in rows if row.record.seq <= start),
        sum(row.sweeps for row in rows if row.record.seq > start),
    )


@given(HISTORIES, st.floats(0.0, 60.0), st.sampled_from([0.5, 1.0, 5.0, 7.0, 10.0, 15.0, 30.0, 60.0, 90.0]))
def test_however_much_is_thinned_each_sweep_is_delivered_by_exactly_one_lane(
    history: list[tuple[int, float, float]], offset: float, resolution: float
) -> None:
    records = recorded(history, offset)
    start = fresh_start(seen(records), round(resolution * SECOND))
    if start is None:
        return
    once = [thinned(records, level, 1.0, None) for level in LEVELS]
    twice = thinned(once[0], LEVELS[1], 1.0, None)
    for found in (*once, twice):
        assert sweeps_by_side(found, start) == (start, len(records) - 1 - start)


@given(st.integers(0, 59), st.sampled_from([1.0, 5.0, 7.0, 10.0, 15.0, 30.0, 60.0, 90.0, 120.0, 300.0]))
def test_a_border_is_found_in_what_is_looked_back_at(offset: int, resolution: float) -> None:
    looked_back = look_back_records(resolution, 1.0)
    records = recorded([(looked_back, 0.0, 0.0)], float(offset))
    assert fresh_start(seen(records), round(resolution * SECOND)) is not None
