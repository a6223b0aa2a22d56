"""Which minutes around an incident are delivered, piece by piece."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.agent.shipping import WindowPolicy, next_piece
from collectors_dagster.integrations.timescale.details import DueWindow

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECONDS = st.integers(0, 4 * 3600).map(lambda seconds: timedelta(seconds=seconds))
POLICIES = st.builds(
    lambda before, after, most: WindowPolicy(before * MINUTE, after * MINUTE, most * MINUTE, timedelta(hours=24)),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(1, 120),
)


def is_whole_minute(instant: datetime) -> bool:
    return instant.second == instant.microsecond == 0


@given(POLICIES, SECONDS, st.none() | SECONDS, st.lists(SECONDS, min_size=1, max_size=20).map(sorted))
def test_the_pieces_cover_the_window_once_in_whole_settled_minutes(
    policy: WindowPolicy, opened: timedelta, lasted: timedelta | None, looks: list[timedelta]
) -> None:
    due = DueWindow(1, "aurora", NOON + opened, None, None)
    resolved_at = None if lasted is None else due.opened_at + lasted
    end = due.opened_at - policy.before
    complete = False
    for look in [*looks, timedelta(hours=9)]:
        settled = NOON + look
        if resolved_at is not None and settled >= resolved_at:
            due = replace(due, resolved_at=resolved_at)
        while not complete and (piece := next_piece(due, policy, settled)):
            start = piece.window.start
            assert start == due.shipped_until or (due.shipped_until is None and end - MINUTE < start <= end)
            assert is_whole_minute(start)
            assert is_whole_minute(piece.window.end)
            assert start <= piece.window.end <= max(start, settled)
            due, complete = replace(due, shipped_until=piece.window.end), piece.complete
    assert complete == (lasted is not None or due.shipped_until is not None)
    first = (due.opened_at - policy.before).replace(second=0)
    assert due.shipped_until is not None
    assert due.shipped_until <= first + policy.most
    if resolved_at is not None and resolved_at + policy.after <= first + policy.most:
        assert due.shipped_until >= resolved_at + policy.after or due.shipped_until == first + policy.most


def test_an_open_incident_is_delivered_as_it_goes_and_ends_at_the_limit() -> None:
    policy = WindowPolicy(5 * MINUTE, 5 * MINUTE, 30 * MINUTE, timedelta(hours=24))
    due = DueWindow(1, "aurora", NOON, None, None)
    piece = next_piece(due, policy, NOON + timedelta(seconds=30))
    assert piece is not None
    assert (piece.window.start, piece.complete) == (NOON - 5 * MINUTE, False)
    assert next_piece(replace(due, shipped_until=NOON), policy, NOON + timedelta(seconds=59)) is None
    last = next_piece(replace(due, shipped_until=NOON + 24 * MINUTE), policy, NOON + timedelta(hours=5))
    assert last is not None
    assert (last.window.end, last.complete) == (NOON + 25 * MINUTE, True)
