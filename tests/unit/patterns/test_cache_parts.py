"""The parts of a cache: entries as bytes, codecs, times, copies, flights."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collectors_dagster.patterns.background import Background
from collectors_dagster.patterns.cache_codecs import BYTES, JSON
from collectors_dagster.patterns.cache_entry import Entry, codec_of, parsed, written
from collectors_dagster.patterns.cache_policy import (
    CacheLimits,
    CachePolicy,
    History,
    Tier,
    changes_expected,
    refresh_early,
    stale_if_transient,
)
from collectors_dagster.patterns.compression import Codec, CompressionPolicy, Compressor
from collectors_dagster.patterns.flights import Flights, Landing, Seat
from collectors_dagster.patterns.local_copies import Copy, LocalCopies
from tests.support.waiting import wait_until

MOST = 100_000
histories = st.builds(
    lambda reloads, share, watched: History(reloads, int(reloads * share), watched),
    *(st.integers(0, 32), st.floats(0, 1), st.floats(0, 1e7)),
)
entries = st.builds(
    Entry,
    st.one_of(st.none(), st.binary(max_size=3_000), st.integers(0, 3_000).map(lambda size: b"ab" * size)),
    st.sampled_from(Tier),
    st.integers(0, 10**6).map(lambda number: number / 1000),
    st.builds(lambda history: history._replace(watched_seconds=float(int(history.watched_seconds))), histories),
    st.binary(min_size=8, max_size=8),
)
COMPRESSORS = [Compressor(CompressionPolicy(each)) for each in ((), (Codec.GZIP,), (Codec.LZ4,), (Codec.ZSTD,))]


@given(entries, st.sampled_from(COMPRESSORS))
def test_an_entry_is_read_as_it_was_written(entry: Entry, compressor: Compressor) -> None:
    data = written(entry, compressor, "k")
    assert parsed(data, MOST) == entry
    assert codec_of(data) in Codec


@given(entries, st.sampled_from(COMPRESSORS), st.data())
def test_damaged_entries_are_none_or_read_as_something_of_the_same_kind(
    entry: Entry, compressor: Compressor, data: st.DataObject
) -> None:
    whole = bytearray(written(entry, compressor, "k"))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    found = parsed(bytes(whole[: data.draw(st.integers(0, len(whole)))]), MOST)
    assert found is None or (found.value is None or len(found.value) <= MOST)


@given(st.binary(max_size=200))
@example(b"")
def test_any_bytes_are_an_entry_or_none(data: bytes) -> None:
    assert parsed(data, MOST) is None or isinstance(parsed(data, MOST), Entry)


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_what_would_unpack_to_too_much_is_none(compressor: Compressor) -> None:
    data = written(Entry(bytes(50_000)), compressor, "k")
    assert parsed(data, 50_000) is not None
    assert parsed(data, 49_999) is None


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**30), 10**30)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
@example("\ud800")
def test_json_is_read_as_it_was_written_or_refused(value: Any) -> None:
    try:
        data = JSON.dumps(value)
    except ValueError:
        assert "\ud800" in repr(value) or "\\ud" in repr(value)
    else:
        assert JSON.loads(data) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"\xff\xfe",
        b"nul",
        b'{"a": 1} x',
        b"[" * 100_000,
        b"1" * 10_000,
        b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01a\x94.",  # a pickle
    ],
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own errors are of this kind and say different things
        JSON.loads(data)


def test_deep_values_are_refused_before_they_are_kept() -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(ValueError, match="100"):
        JSON.dumps(deep)
    with pytest.raises(TypeError, match="codec"):
        BYTES.dumps("text")  # type: ignore[arg-type]  # on purpose
    assert json.loads(JSON.dumps({"a": (1, 2)})) == {"a": [1, 2]}


@given(histories, st.sampled_from(Tier))
def test_times_lie_between_hot_and_cold(history: History, tier: Tier) -> None:
    policy = CachePolicy(tier)
    assert policy.hot_seconds <= policy.fresh_seconds(history) <= policy.cold_seconds
    assert policy.fresh_seconds(History()) == policy.seconds(tier)
    assert policy.tier_of(policy.fresh_seconds(history)) in Tier


@given(histories, st.floats(0, 1e6))
def test_more_changes_make_times_shorter_and_more_time_without_one_longer(history: History, more: float) -> None:
    policy = CachePolicy()
    longer = history._replace(watched_seconds=history.watched_seconds + more)
    assert policy.fresh_seconds(longer) >= policy.fresh_seconds(history)
    if history.changes < history.reloads:
        restless = history._replace(changes=history.changes + 1)
        assert changes_expected(restless) > changes_expected(history)
        assert policy.fresh_seconds(restless) <= policy.fresh_seconds(history)


def test_without_staleness_times_are_the_tiers_own() -> None:
    assert CachePolicy(staleness=0.0).fresh_seconds(History(30, 30, 1e6)) == 3600.0


def test_the_past_is_forgotten_by_halves() -> None:
    history = History()
    for _ in range(1_000):
        history = history.after(changed=False, seconds=10.0)
    assert history.reloads <= 32
    for _ in range(40):
        history = history.after(changed=True, seconds=10.0)
    assert history.changes / history.reloads > 0.7


def test_early_refreshes_come_as_often_as_the_paper_says() -> None:
    lucks = [number / 10_000 for number in range(10_000)]
    for left in (0.5, 1.0, 2.0):
        share = sum(refresh_early(1.0, left, 1.0, luck) for luck in lucks) / len(lucks)
        assert share == pytest.approx(math.exp(-left), abs=1e-3)
    assert not refresh_early(1.0, 1.0, 0.0, 0.999)


def test_which_errors_let_an_older_answer_stand() -> None:
    assert stale_if_transient(ConnectionResetError())
    assert stale_if_transient(TimeoutError())
    assert not stale_if_transient(KeyError("k"))


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"hot_seconds": 0.0}, "hot_seconds"),
        ({"hot_seconds": 4000.0}, "warm_seconds"),
        ({"cold_seconds": math.inf}, "cold_seconds"),
        ({"jitter": 1.0}, "jitter"),
        ({"staleness": -0.1}, "staleness"),
        ({"negative_seconds": -1.0}, "negative_seconds"),
        ({"early_refresh_beta": math.nan}, "early_refresh_beta"),
        ({"stale_if_error_seconds": math.inf}, "stale_if_error_seconds"),
        ({"max_wait_seconds": -1.0}, "max_wait_seconds"),
    ],
)
def test_an_impossible_policy_is_refused_by_its_key(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        CachePolicy(**values)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"tenant_bytes": 0}, "sizes"),
        ({"value_bytes": 64 * 1024**2}, "value_bytes"),
        ({"local_seconds": -1.0}, "local_seconds"),
        ({"lease_seconds": 0.0}, "lease_seconds"),
    ],
)
def test_impossible_limits_are_refused_by_their_key(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        CacheLimits(**values)


# --- copies --------------------------------------------------------------------------------------------------------


def copy_of(size: int, tags: tuple[str, ...] | None = ()) -> Copy:
    entry = Entry(b"x" * size)
    return Copy(entry, believed_until=1, early_from=1, stored_at=0, fresh_until=1, kept_until=1, tags=tags)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(0, 2_000)), max_size=60))
def test_copies_are_bounded_in_all_and_per_tenant(puts: list[tuple[str, int, int]]) -> None:
    copies = LocalCopies(10_000, 6_000)
    for tenant, key, size in puts:
        copies.of(tenant).put(("n", str(key)), copy_of(size))
        in_use = [copies.of(each).bytes_in_use for each in "abc"]
        assert sum(in_use) <= 10_000
        assert max(in_use) <= 6_000


def test_what_was_used_longest_ago_goes_first_and_the_tenant_with_most_gives() -> None:
    copies = LocalCopies(10_000, 8_000)
    small, large = copies.of("small"), copies.of("large")
    small.put(("n", "1"), copy_of(1_000))
    for number in range(5):
        large.put(("n", str(number)), copy_of(1_000))
        large.get(("n", "0"))
    large.put(("n", "5"), copy_of(1_000))
    assert small.get(("n", "1")) is not None
    assert large.get(("n", "0")) is not None
    assert large.get(("n", "1")) is None
    large.put(("n", "huge"), copy_of(9_000))
    assert large.get(("n", "huge")) is None


def test_copies_go_by_tag_and_by_cache() -> None:
    mine = LocalCopies(100_000, 100_000).of("acme")
    mine.put(("a", "1"), copy_of(1, ("x",)))
    mine.put(("a", "2"), copy_of(1, ("y",)))
    mine.put(("a", "3"), copy_of(1, None))
    mine.put(("b", "1"), copy_of(1, ("x",)))
    mine.pop_all("a", "x")
    assert [mine.get(("a", each)) is not None for each in "123"] == [False, True, False]
    mine.pop_all("a", None)
    assert mine.get(("a", "2")) is None
    assert mine.get(("b", "1")) is not None


# --- flights -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "land", "detach"]), st.integers(0, 9)), max_size=60))
def test_a_flight_always_has_exactly_one_leader_until_it_lands(story: list[tuple[str, int]]) -> None:
    flights: Flights[int] = Flights()
    seats: list[Seat[int]] = []
    for what, number in story:
        if what == "join":
            seats.append(flights.join("k"))
        elif what == "detach":
            flights.detach("k")
        elif seats:
            seat = seats.pop(number % len(seats))
            if what == "land" and seat.leads:
                flights.land(seat, Landing(number))
            flights.leave(seat)
        under_way = [each for each in seats if each.landing is None]
        for token in {each.token for each in under_way}:
            assert sum(each.leads for each in under_way if each.token == token) == 1
    for seat in seats:
        flights.leave(seat)
    assert len(flights) == 0


def test_work_in_the_background_is_bounded_and_its_thread_ends() -> None:
    import threading

    background = Background(most_waiting=2)
    may_go, done = threading.Event(), []

    def job() -> None:
        may_go.wait(20)
        done.append(1)
        raise ValueError("of this job alone")

    started = [background.start(job)]
    wait_until(lambda: not background._jobs, seconds=20)
    started += [background.start(job) for _ in range(3)]
    assert started == [True, True, True, False]
    assert len([each for each in threading.enumerate() if each is background._thread]) == 1
    may_go.set()
    wait_until(lambda: len(done) == 3 and background._thread is None, seconds=20)
