"""Spotify's tables: a page and its position are one, the same page changes nothing, who leaves is forgotten."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from collectors_dagster.errors import StorageError
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.spotify_pulls import Mark, PullEnd, PullScope
from collectors_dagster.integrations.timescale.spotify_rows import ItemRow, PlaylistRow, PlayRow, SavedRow, TrackRow
from collectors_dagster.strategies.spotify_datasets import DATASETS
from tests.support.spotify_data import connect_user, spotify_tables
from tests.support.store_data import AURORA, BOREALIS

pytestmark = pytest.mark.every_edition

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
USER = "user-1"


@pytest.fixture
def spotify(store: Store, database: SecretStr) -> Store:
    """Return a store in which two users of aurora and one of borealis are connected."""
    store.tenants.sync([AURORA, BOREALIS])
    for tenant_id, user_id in (("aurora", USER), ("aurora", "user-2"), ("borealis", "user-3")):
        connect_user(database, tenant_id, user_id)
    return store


def begun(store: Store, dataset: str, user_id: str = USER, tenant_id: str = "aurora") -> PullScope:
    scope = PullScope(tenant_id, dataset, user_id)
    store.spotify.pulls.begin(scope, DATASETS[dataset], keep_days=DATASETS[dataset].keep_days, sandbox=True)
    return scope


def position(store: Store, scope: PullScope) -> object:
    return store.spotify.pulls.begin(scope, DATASETS[scope.dataset], keep_days=30, sandbox=True).position


def track(number: int, artist: str = "artist-1") -> TrackRow:
    return {
        "track_uri": f"spotify:track:{number}",
        "name": f"Track {number}",
        "artist_ids": [artist],
        "artist_names": [artist.title()],
        "album_id": None,
        "duration_ms": 1000 * number,
        "isrc": None,
    }


def play(number: int) -> PlayRow:
    at = (NOW - timedelta(minutes=number)).isoformat()
    return {"played_at": at, "track_uri": f"spotify:track:{number}", "context_uri": None}


def saved(*numbers: int) -> list[SavedRow]:
    return [{"track_uri": f"spotify:track:{n}", "added_at": (NOW - timedelta(days=n)).isoformat()} for n in numbers]


def item(at: int, number: int | None) -> ItemRow:
    uri = None if number is None else f"spotify:track:{number}"
    return {"position": at, "track_uri": uri, "added_at": "2026-01-01T00:00:00Z", "added_by": USER}


def listed(playlist_id: str = "playlist-1", snapshot_id: str = "snapshot-1") -> PlaylistRow:
    return {
        "playlist_id": playlist_id,
        "owner_id": USER,
        "name": "Mine",
        "public": None,
        "collaborative": False,
        "items_total": 3,
        "snapshot_id": snapshot_id,
    }


def read_playlist(store: Store, mark: Mark, snapshot_id: str, numbers: list[int]) -> object:
    playlists = store.spotify.playlists
    playlists.write_listed(mark, [listed(snapshot_id=snapshot_id)], sweep=mark.at)
    reading = playlists.start(mark, "playlist-1", snapshot_id, anew=True)
    tracks = [track(number) for number in numbers]
    playlists.write_items(mark, reading, tracks, [item(at, number) for at, number in enumerate(numbers)])
    return playlists.finish(mark, reading, snapshot_id, items=len(numbers))


def test_the_same_page_again_changes_nothing(spotify: Store, database: SecretStr) -> None:
    mark = Mark(begun(spotify, "recently_played"), {"newest": "now"}, NOW)
    plays, tracks = [play(n) for n in range(5)], [track(n) for n in range(5)]
    assert spotify.spotify.library.write_plays(mark, tracks, plays) == 5
    before = spotify_tables(database)
    assert spotify.spotify.library.write_plays(mark, tracks, plays) == 0
    assert spotify_tables(database) == before
    assert len(before["spotify_play"]) == 5


def test_a_page_and_its_position_are_stored_together_or_not_at_all(spotify: Store, database: SecretStr) -> None:
    scope = begun(spotify, "saved_tracks")
    library = spotify.spotify.library
    library.write_saved(Mark(scope, {"page": 1}, NOW), [track(1)], saved(1), sweep=NOW)
    before = spotify_tables(database)
    broken = [{"track_uri": "spotify:track:2", "added_at": "no time"}]
    with pytest.raises(Exception, match="no time"):
        library.write_saved(Mark(scope, {"page": 2}, NOW), [track(2)], broken, sweep=NOW)  # type: ignore[arg-type]  # a stand-in, or rows that are wrong on purpose
    assert spotify_tables(database) == before
    assert position(spotify, scope) == {"page": 1}


def test_why_and_how_long_data_are_kept_stands_beside_them(spotify: Store, database: SecretStr) -> None:
    begun(spotify, "recently_played")
    with psycopg.connect(database.get_secret_value()) as connection:
        rows = connection.execute("select purpose, keep_days, sandbox from core.spotify_pull").fetchall()
    assert rows == [(DATASETS["recently_played"].purpose, DATASETS["recently_played"].keep_days, True)]


def test_a_whole_sweep_shows_what_was_removed(spotify: Store) -> None:
    scope = begun(spotify, "saved_tracks")
    library = spotify.spotify.library
    mark = Mark(scope, {}, NOW)
    library.write_saved(mark, [track(n) for n in (1, 2, 3)], saved(1, 2, 3), sweep=NOW)
    later = NOW + timedelta(days=7)
    library.write_saved(replace(mark, at=later), [], saved(1, 3), sweep=later)
    swept = library.end_sweep_of_saved(replace(mark, at=later), sweep=later)
    assert (swept.seen, swept.removed) == (2, 1)
    again = later + timedelta(days=1)
    assert library.write_saved(replace(mark, at=again), [], saved(2), sweep=again) == 0
    assert library.end_sweep_of_saved(replace(mark, at=again), sweep=later).seen == 3


def test_a_playlist_is_stored_with_what_changed(spotify: Store) -> None:
    mark = Mark(begun(spotify, "playlists"), {}, NOW)
    first = read_playlist(spotify, mark, "snapshot-1", [1, 2, 3])
    assert (first.items, first.added, first.first) == (3, 0, True)  # type: ignore[attr-defined]  # the outcome of this dataset has them
    second = read_playlist(spotify, replace(mark, at=NOW + timedelta(1)), "snapshot-2", [3, 1, 4])
    found = (second.added, second.removed, second.moved)  # type: ignore[attr-defined]  # the outcome of this dataset has them
    assert found == (1, 1, 1)
    assert spotify.spotify.playlists.changed(mark) == []


def test_a_reading_that_misses_a_page_is_refused_and_one_that_is_too_long_cut(
    spotify: Store, database: SecretStr
) -> None:
    mark, playlists = Mark(begun(spotify, "playlists"), {}, NOW), spotify.spotify.playlists
    playlists.write_listed(mark, [listed()], sweep=NOW)
    reading = playlists.start(mark, "playlist-1", "snapshot-1", anew=True)
    playlists.write_items(mark, reading, [], [item(0, 1), item(2, None)])
    with pytest.raises(ValueError, match="2 items of 3"):
        playlists.finish(mark, reading, "snapshot-1", items=3)
    assert [row["state"] for row in spotify_tables(database)["spotify_playlist_snapshot"]] == ["loading"]
    playlists.write_items(mark, reading, [], [item(1, 2)])
    assert playlists.finish(mark, reading, "snapshot-1b", items=2).items == 2
    found = spotify_tables(database)
    assert [row["position"] for row in found["spotify_playlist_item"]] == [0, 1]
    assert [row["snapshot_id"] for row in found["spotify_playlist"]] == ["snapshot-1b"]


def test_an_unstable_reading_keeps_its_reason_and_none_of_its_items(spotify: Store, database: SecretStr) -> None:
    mark, playlists = Mark(begun(spotify, "playlists"), {}, NOW), spotify.spotify.playlists
    read_playlist(spotify, mark, "snapshot-1", [1, 2])
    playlists.write_listed(mark, [listed(snapshot_id="snapshot-2")], sweep=NOW)
    reading = playlists.start(mark, "playlist-1", "snapshot-2", anew=True)
    playlists.write_items(mark, reading, [], [item(0, 9)])
    playlists.give_up(mark, reading, "it changed three times")
    found = spotify_tables(database)
    assert [row["track_uri"] for row in found["spotify_playlist_item"]] == ["spotify:track:1", "spotify:track:2"]
    states = {row["snapshot_id"]: (row["state"], row["reason"]) for row in found["spotify_playlist_snapshot"]}
    assert states["snapshot-2"] == ("unstable", "it changed three times")
    assert playlists.changed(mark) == [("playlist-1", "snapshot-2")]


def test_what_was_put_off_waits_with_its_position_until_a_pull_comes_to_its_end(spotify: Store) -> None:
    scope, pulls = begun(spotify, "playlists"), spotify.spotify.pulls
    with pulls.page(Mark(scope, {"page": 7}, NOW)):
        pass
    until = NOW + timedelta(hours=1)
    pulls.put_off(scope, until, "quota", "aurora|2026-11-30")
    assert [(one.user_id, one.until, one.partition) for one in pulls.waiting()] == [(USER, until, "aurora|2026-11-30")]
    assert position(spotify, scope) == {"page": 7}
    pulls.complete(Mark(scope, {}, NOW), PullEnd("extended"))
    assert pulls.waiting() == []
    spotify.tenants.sync([BOREALIS])
    pulls.put_off(scope, until, "rate")
    assert pulls.waiting() == []


def test_a_user_who_leaves_is_forgotten_and_nobody_else(spotify: Store, database: SecretStr) -> None:
    for user_id, tenant_id in ((USER, "aurora"), ("user-2", "aurora"), ("user-3", "borealis")):
        own = int(user_id[-1])
        mark = Mark(begun(spotify, "recently_played", user_id, tenant_id), {}, NOW)
        spotify.spotify.library.write_plays(mark, [track(0), track(own, f"a{own}")], [play(0), play(own)])
        mark = Mark(begun(spotify, "followed_artists", user_id, tenant_id), {}, NOW)
        spotify.spotify.library.write_followed(mark, [{"artist_id": f"f{own}", "name": "F"}], sweep=NOW)
        mark = Mark(begun(spotify, "profile", user_id, tenant_id), {}, NOW)
        nothing = dict.fromkeys(("account_id", "display_name", "country", "product", "followers"))
        spotify.spotify.profiles.write_profile(mark, date(2026, 11, 30), nothing)  # type: ignore[arg-type]  # a stand-in, or rows that are wrong on purpose
    mark = Mark(begun(spotify, "playlists"), {}, NOW)
    read_playlist(spotify, mark, "snapshot-1", [1, 7])
    assert spotify.spotify.forget("aurora", USER) > 6
    found = spotify_tables(database)
    users = {row["user_id"] for rows in found.values() for row in rows if "user_id" in row}
    assert users == {"user-2", "user-3"}
    assert {row["track_uri"][-1] for row in found["spotify_track"]} == {"0", "2", "3"}
    assert spotify.spotify.forget("aurora", USER) == 0
    spotify.spotify.forget("aurora")
    left = spotify_tables(database)
    assert {row["user_id"] for rows in left.values() for row in rows if "user_id" in row} == {"user-3"}


def test_a_pull_in_flight_stores_nothing_for_a_user_who_left(spotify: Store, database: SecretStr) -> None:
    mark = Mark(begun(spotify, "recently_played"), {}, NOW)
    spotify.spotify.forget("aurora", USER)
    with pytest.raises(StorageError, match="not connected any more"):
        spotify.spotify.library.write_plays(mark, [track(1)], [play(1)])
    assert spotify_tables(database)["spotify_play"] == []


def test_nobody_is_pulled_who_is_not_connected(spotify: Store) -> None:
    with pytest.raises(StorageError, match="collectors spotify connect --tenant aurora"):
        begun(spotify, "recently_played", "user-3")


def test_what_is_older_than_its_dataset_is_kept_leaves(spotify: Store, database: SecretStr) -> None:
    mark = Mark(begun(spotify, "recently_played"), {}, NOW)
    library, later = spotify.spotify.library, NOW + timedelta(days=DATASETS["recently_played"].keep_days)
    library.write_plays(mark, [track(0), track(10)], [play(0), play(10)])
    assert spotify.spotify.prune("aurora", later - timedelta(minutes=10)) == 0
    assert (
        spotify.spotify.prune("aurora", later - timedelta(minutes=5)) == 2
    )  # the play, and the track that nothing names
    assert [row["track_uri"] for row in spotify_tables(database)["spotify_track"]] == ["spotify:track:0"]


def test_the_newest_reading_of_a_listed_playlist_stays_whatever_its_age(spotify: Store, database: SecretStr) -> None:
    keep = timedelta(days=DATASETS["playlists"].keep_days)
    mark = Mark(begun(spotify, "playlists"), {}, NOW)
    read_playlist(spotify, mark, "snapshot-1", [1])
    read_playlist(spotify, replace(mark, at=NOW + timedelta(1)), "snapshot-2", [1, 2])
    late = NOW + keep + timedelta(days=30)
    spotify.spotify.playlists.write_listed(replace(mark, at=late), [listed(snapshot_id="snapshot-2")], sweep=late)
    spotify.spotify.prune("aurora", late)
    assert [row["snapshot_id"] for row in spotify_tables(database)["spotify_playlist_snapshot"]] == ["snapshot-2"]
    spotify.spotify.prune("aurora", late + keep + timedelta(days=1))  # not listed for as long: it goes, too
    assert spotify_tables(database)["spotify_playlist_snapshot"] == []


def test_members_see_their_tenants_rows_only(spotify: Store, database: SecretStr) -> None:
    for user_id, tenant_id in ((USER, "aurora"), ("user-3", "borealis")):
        mark = Mark(begun(spotify, "recently_played", user_id, tenant_id), {}, NOW)
        spotify.spotify.library.write_plays(mark, [track(1)], [play(1)])
    login = spotify.sql_roles.grant("aurora")
    assert login.password is not None
    try:
        with psycopg.connect(
            database.get_secret_value(), user=login.role, password=login.password.get_secret_value()
        ) as member:
            rows = member.execute("select tenant_id, user_id, name from api.spotify_plays").fetchall()
            views = [
                row[0]
                for row in member.execute(
                    "select viewname from pg_views where schemaname = 'api' and viewname like 'spotify%' order by 1"
                )
            ]
            for view in views:
                member.execute(sql.SQL("select * from api.{}").format(sql.Identifier(view)))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                member.execute("select from core.spotify_play")
    finally:
        spotify.sql_roles.revoke("aurora", login.role)
    assert rows == [("aurora", USER, "Track 1")]
    assert len(views) == 12


def test_what_the_client_has_learned_is_remembered(spotify: Store) -> None:
    memory = spotify.spotify.memory
    assert memory.load("limit", "account") is None
    memory.save("limit", "account", {"requests": 60})
    memory.save("limit", "account", {"requests": 90})
    assert memory.load("limit", "account") == {"requests": 90}
