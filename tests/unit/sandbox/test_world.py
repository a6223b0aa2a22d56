"""The invented world: identifiers that hold their index, lists that drift, fields that cut."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.sandbox.drifting import Change, DriftingList, Entry
from collectors_dagster.sandbox.fields import FieldsError, Selection
from collectors_dagster.sandbox.ids import ALPHABET, LENGTH, Identifiers, is_base62
from collectors_dagster.sandbox.invention import MARK
from collectors_dagster.sandbox.options import Quota, RateLimit, WorldOptions
from collectors_dagster.sandbox.world import FIRST_DAY, World

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_an_identifier_leads_back_to_its_index_and_to_no_other_kind(index: int, seed: int) -> None:
    tracks = Identifiers(seed, "track")
    identifier = tracks.of(index)
    assert is_base62(identifier)
    assert tracks.index_of(identifier) == index
    assert Identifiers(seed, "album").index_of(identifier) is None
    assert Identifiers(seed + 1, "track").index_of(identifier) is None


@given(st.text(ALPHABET, min_size=LENGTH, max_size=LENGTH) | st.text())
def test_a_guessed_identifier_is_nobodys(text: str) -> None:
    assert Identifiers(1, "artist").index_of(text) is None


def test_the_catalogue_hangs_together() -> None:
    world = World(3, WorldOptions(artists=40))
    today = FIRST_DAY + timedelta(days=200)
    for artist in map(world.artist, range(40)):
        albums = world.albums_of(artist, today)
        assert albums == sorted(albums, key=lambda album: album.released, reverse=True)
        for album in albums:
            assert world.album_of(album.id, today) is album
            assert album.artist is artist
            assert album.released <= today
            tracks = world.tracks_of(album)
            assert [track.number for track in tracks] == list(range(1, album.total_tracks + 1))
            assert all(world.track_of(track.id, today) is track for track in tracks)
            assert all(name.endswith(MARK) for name in (artist.name, album.name, *(track.name for track in tracks)))


def test_an_album_is_out_from_its_day_on_and_among_the_new_ones_for_a_while() -> None:
    world = World(1, WorldOptions(artists=40))
    today = FIRST_DAY + timedelta(days=90)
    album = world.new_albums(today, days=90)[0]
    eve = album.released - timedelta(days=1)
    assert world.album_of(album.id, eve) is None
    assert world.track_of(world.tracks_of(album)[0].id, eve) is None
    assert album not in world.new_albums(eve)
    assert album in world.new_albums(album.released)
    assert album not in world.new_albums(album.released + timedelta(days=60))


@given(st.integers(0, 39), st.integers(0, 2000))
def test_popularity_stays_a_percentage_and_followers_grow(artist: int, days: int) -> None:
    world = World(1, WorldOptions(artists=40))
    someone, day = world.artist(artist), FIRST_DAY + timedelta(days=days)
    assert 0 <= world.popularity(someone, day) <= 100
    assert world.followers(someone, day) < world.followers(someone, day + timedelta(days=1))


def test_a_world_without_drift_stands_still() -> None:
    world = World(1, WorldOptions(artists=5, drift=False))
    later = date(2027, 5, 1)
    assert world.popularity(world.artist(1), later) == world.artist(1).popularity
    assert world.followers(world.artist(1), later) == world.artist(1).followers


def changes() -> st.SearchStrategy[list[Change]]:
    change = st.builds(
        Change,
        at=st.just(NOON),
        remove=st.lists(st.integers(0, 12), max_size=3).map(tuple),
        move=st.none() | st.tuples(st.integers(0, 12), st.integers(0, 12)),
        add=st.lists(
            st.tuples(st.integers(0, 15), st.builds(Entry, st.integers(100, 999), st.just(NOON))), max_size=2
        ).map(tuple),
    )
    return st.lists(change, max_size=12)


@given(changes())
def test_each_change_of_a_list_makes_a_new_snapshot_and_loses_nothing_else(made: list[Change]) -> None:
    changing = DriftingList("a list", lambda: [Entry(number, NOON) for number in range(8)])
    snapshots = {changing.snapshot_id}
    for change in made:
        before = list(changing.at(NOON))
        changing.change(change)
        after = changing.at(NOON)
        removed = len({position for position in change.remove if position < len(before)})
        assert len(after) == len(before) - removed + len(change.add)
        assert changing.snapshot_id not in snapshots
        snapshots.add(changing.snapshot_id)


def test_the_days_of_a_list_are_applied_in_order_however_seldom_one_looks() -> None:
    def daily(day: date, length: int) -> list[Change]:
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        return [Change(at, add=((length, Entry(day.toordinal(), at)),)), Change(at + timedelta(hours=6), remove=(0,))]

    often, seldom = (DriftingList("a list", lambda: [Entry(1, NOON)], daily) for _ in range(2))
    for hours in range(0, 240, 5):
        seen = list(often.at(NOON + timedelta(hours=hours)))
    assert seen == seldom.at(NOON + timedelta(hours=235))
    assert often.snapshot_id == seldom.snapshot_id
    assert len(seldom.at(NOON + timedelta(days=10))) == 2


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("a", {"a": 1}),
        ("a,b(c,d.e)", {"a": 1, "b": {"c": 2, "d": {"e": 3}}}),
        ("b.d", {"b": {"d": {"e": 3, "f": 4}}}),
        ("list.x", {"list": [{"x": 1}, {}, None]}),
        ("!b,list", {"a": 1}),
        ("b(!d)", {"b": {"c": 2}}),
        ("nothing", {}),
    ],
)
def test_fields_choose(fields: str, expected: object) -> None:
    value = {"a": 1, "b": {"c": 2, "d": {"e": 3, "f": 4}}, "list": [{"x": 1, "y": 2}, {"y": 3}, None]}
    assert Selection.parsed(fields).of(value) == expected


@pytest.mark.parametrize("fields", ["a(", "a)", "a,,b", ",", "a.", "()", "a(b", "a b(c))", "!", "a!b"])
def test_malformed_fields_are_refused(fields: str) -> None:
    with pytest.raises(FieldsError):
        Selection.parsed(fields)


@given(st.text("ab(),.! "))
def test_no_text_breaks_the_reader_of_fields(text: str) -> None:
    try:
        Selection.parsed(text).of({"a": {"b": [1]}})
    except FieldsError as error:
        assert str(error)  # noqa: PT017  # either outcome is right; another exception fails the test


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateLimit(requests=0),
        lambda: RateLimit(window_seconds=0),
        lambda: RateLimit(lockout_seconds=-1),
        lambda: Quota(0),
        lambda: WorldOptions(artists=0),
    ],
)
def test_options_out_of_range_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="at least one"):
        make()
