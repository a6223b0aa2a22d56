"""Pulls from the sandbox into the store: complete, once, and on from where they stopped."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.spotify.runner import Ending
from collectors_dagster.errors import CollectorsError, SpotifyRejectedError
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.patterns import CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.breaker_policy import Phase, configured
from collectors_dagster.sandbox import Fault, PlaylistChange, SandboxOptions, WorldOptions
from collectors_dagster.strategies.spotify_datasets import DATASETS
from tests.support.spotify import SpotifySandbox, running_spotify_sandbox
from tests.support.spotify_data import spotify_tables
from tests.support.spotify_pulls import Listening, spotify_settings

UNLIMITED = SandboxOptions(
    limit=None, world=WorldOptions(artists=60, listeners=2, playlists=2, large_playlist_items=160)
)


@pytest.fixture
def listening(store: Store, manual_clock: ManualClock) -> Iterator[Listening]:
    """Yield a tenant with one connected user of an unlimited extended application."""
    with running_spotify_sandbox(UNLIMITED, manual_clock) as sandbox:
        yield connected(sandbox, store, manual_clock)


def connected(sandbox: SpotifySandbox, store: Store, clock: ManualClock) -> Listening:
    listening = Listening(sandbox, store, clock, spotify_settings(sandbox))
    listening.connect(sandbox.users[0])
    return listening


async def library(listening: Listening) -> set[str]:
    """Return the tracks that the service says are saved."""
    user = listening.store.spotify_accounts.of_tenant("aurora")[0].user_id
    async with listening.puller().opening(listening.tenant, user, urgent=False) as client:
        pages = [page.items async for page in client.pages("me/tracks", limit=50)]
    return {item["track"]["uri"] for items in pages for item in items if item}


class StopError(Exception):
    """A pull is killed here."""


def killed_after(pages: int) -> object:
    """Return a listener to progress that raises after so many pages."""
    told = iter(range(pages))

    def listener(what: str, done: int, total: int | None) -> None:
        if next(told, None) is None:
            raise StopError

    return listener


def test_every_dataset_is_stored_and_booked(listening: Listening, database: SecretStr) -> None:
    for name in DATASETS:
        outcome = listening.pull(name)
        assert outcome.ending is Ending.STORED, (name, outcome.said)
    found = spotify_tables(database)
    assert [table for table, rows in found.items() if not rows and table != "spotify_playlist_change"] == []
    states = {row["dataset"]: row for row in found["spotify_pull"]}
    assert set(states) == set(DATASETS)
    assert all(row["completed_at"] and row["purpose"] and row["keep_days"] for row in states.values())
    assert states["artists"]["mode"] == "extended"


def test_plays_of_a_user_are_stored_once_and_a_gap_is_said(listening: Listening, database: SecretStr) -> None:
    first = listening.pull("recently_played")
    again = listening.pull("recently_played")
    assert (first.pulled.new > 0, first.pulled.gap, again.pulled.new, again.pulled.gap) == (True, False, 0, False)
    for minute in range(60):
        listening.sandbox.add_play(
            listening.sandbox.users[0], played_at=listening.clock.now() + timedelta(minutes=minute)
        )
    listening.clock.move(3600)
    lost = listening.pull("recently_played")
    assert (lost.pulled.new, lost.pulled.gap) == (50, True)
    states = spotify_tables(database)["spotify_pull"]
    assert [row["gap_at"] is not None for row in states] == [True]


@pytest.mark.parametrize("dataset", ["saved_tracks", "playlists", "followed_artists", "artists", "top_items"])
def test_a_pull_that_is_killed_at_any_page_goes_on_there(
    listening: Listening, database: SecretStr, dataset: str
) -> None:
    if dataset == "artists":
        listening.pull_all(["followed_artists", "top_items"])
    whole = undisturbed(listening, database, dataset)
    for pages in (0, 1, 2):
        forget(database, dataset)
        if not killed_once(listening, dataset, pages):
            break
        before = listening.sandbox.counts().total
        assert listening.pull(dataset).ending is Ending.STORED
        assert listening.sandbox.counts().total - before <= whole[1]
        assert content(database) == whole[0]


def forget(database: SecretStr, dataset: str) -> None:
    """Delete a dataset's rows as if it had never been pulled."""
    tables = {
        "artists": "spotify_artist",
        "followed_artists": "spotify_followed_artist",
        "top_items": "spotify_top_item",
    }
    own = {
        "saved_tracks": "spotify_saved_track",
        "playlists": "spotify_playlist, core.spotify_playlist_snapshot cascade",
    }
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute(f"truncate core.{(tables | own)[dataset]}".encode())
        connection.execute("delete from core.spotify_pull where dataset = %s", [dataset])


def undisturbed(listening: Listening, database: SecretStr, dataset: str) -> tuple[dict[str, object], int]:
    before = listening.sandbox.counts().total
    listening.pull(dataset)
    return content(database), listening.sandbox.counts().total - before


def killed_once(listening: Listening, dataset: str, pages: int) -> bool:
    try:
        listening.pull(dataset, progress=killed_after(pages))  # type: ignore[arg-type]  # a stand-in, or rows that are wrong on purpose
    except StopError:
        return True
    return False


def content(database: SecretStr) -> dict[str, object]:
    """Return all rows without what says when they came."""
    when = {"seen_at", "first_seen_at", "started_at", "ended_at", "moved_at", "completed_at", "snapshot_key", "detail"}
    return {
        table: sorted(({key: row[key] for key in row if key not in when} for row in rows), key=str)
        for table, rows in spotify_tables(database).items()
        if table != "spotify_pull"
    }


def test_an_unchanged_playlist_costs_nothing_but_its_place_in_the_list(listening: Listening) -> None:
    listening.pull("playlists")
    listening.clock.move(60)
    again = listening.pull("playlists")
    assert again.pulled.detail["read"] == 0
    assert again.usage["requests"] == 1


def test_what_changed_in_a_playlist_is_stored(listening: Listening, database: SecretStr) -> None:
    listening.pull("playlists")
    playlist = listening.sandbox.large_playlist_id
    new = listening.sandbox.world.track_ids(300)[-1]
    listening.sandbox.change_playlist(PlaylistChange(playlist, remove=[5], move=(20, 0), add=[new], at=3))
    listening.clock.move(60)
    outcome = listening.pull("playlists")
    changes = spotify_tables(database)["spotify_playlist_change"]
    assert sorted(row["kind"] for row in changes) == ["added", "moved", "removed"]
    assert outcome.pulled.changed == 3


def test_a_playlist_that_never_rests_is_unstable_and_never_a_mixture(listening: Listening, database: SecretStr) -> None:
    listening.pull("playlists")
    whole = content(database)["spotify_playlist_item"]
    playlist = listening.sandbox.large_playlist_id
    change = PlaylistChange(playlist, move=(150, 10))
    listening.sandbox.change_playlist(change)
    listening.sandbox.fault(Fault("change", path=f"/v1/playlists/{playlist}/items*", times=None, change=change))
    outcome = listening.pull("playlists")
    assert outcome.pulled.detail["unstable"] == 1
    assert any(playlist in note and "unstable" in note for note in outcome.pulled.notes)
    assert content(database)["spotify_playlist_item"] == whole
    states = [row["state"] for row in spotify_tables(database)["spotify_playlist_snapshot"] if row["reason"]]
    assert states == ["unstable"]
    listening.sandbox.clear_faults()
    assert listening.pull("playlists").pulled.detail["unstable"] == 0


def test_saved_tracks_are_read_from_the_newest_and_weekly_all(listening: Listening, database: SecretStr) -> None:
    first = listening.pull("saved_tracks")
    listening.clock.move(60)
    newest = listening.pull("saved_tracks")
    assert first.pulled.new > 0
    assert (newest.pulled.new, newest.usage["requests"]) == (0, 1)
    listening.clock.move(8 * 86_400)
    whole = listening.pull("saved_tracks")
    assert whole.pulled.removed > 0
    rows = spotify_tables(database)["spotify_saved_track"]
    assert {row["track_uri"] for row in rows if not row["removed_at"]} == asyncio.run(library(listening))


def test_a_ban_puts_off_at_once_and_keeps_what_came(listening: Listening, database: SecretStr) -> None:
    listening.connect(listening.sandbox.users[1])
    listening.pull("profile")
    listening.sandbox.ban(3600, "QUOTA_EXCEEDED")
    before = listening.sandbox.counts().total
    outcomes = listening.pull_all(["playlists"])
    assert [one.ending for one in outcomes] == [Ending.PUT_OFF, Ending.PUT_OFF]
    assert outcomes[0].until is not None
    assert abs((outcomes[0].until - listening.clock.now()).total_seconds() - 3600) < 5
    assert listening.sandbox.counts().total - before <= 2  # whoever finds out, and nobody else
    waiting = listening.store.spotify.pulls.waiting()
    assert {(one.dataset, one.partition) for one in waiting} == {("playlists", "aurora")}
    assert len(waiting) == 2
    listening.pull("top_items")
    assert listening.sandbox.counts().during_retry_after == 0
    listening.clock.move(3700)
    assert {one.ending for one in listening.pull_all(["playlists"])} == {Ending.STORED}
    assert [one.dataset for one in listening.store.spotify.pulls.waiting()] == ["top_items", "top_items"]


def test_what_development_mode_lacks_is_no_failure(
    store: Store, manual_clock: ManualClock, database: SecretStr
) -> None:
    options = replace(UNLIMITED, mode="development")
    with running_spotify_sandbox(options, manual_clock) as sandbox:
        listening = connected(sandbox, store, manual_clock)
        for name in DATASETS:
            assert listening.pull(name).ending in {Ending.STORED, Ending.UNAVAILABLE}, name
    found = spotify_tables(database)
    assert {row["popularity"] for row in found["spotify_artist"]} == {None}
    unreadable = [row for row in found["spotify_playlist"] if row["unreadable"]]
    assert unreadable
    assert all("not available in this mode" in row["unreadable"] for row in unreadable)
    assert {row["mode"] for row in found["spotify_pull"] if row["dataset"] == "artists"} == {"development"}


def test_a_broken_page_loses_nothing(listening: Listening, database: SecretStr) -> None:
    undisturbed_rows = undisturbed(listening, database, "saved_tracks")[0]
    for kind in ("truncated_json", "empty", "html", "short_body", "reset_midway", "text_429"):
        listening.store.spotify.forget("aurora")
        listening.sandbox.fault(Fault(kind, path="/v1/me/tracks*", after=1))
        try:
            ending = listening.pull("saved_tracks").ending
        except CollectorsError:
            ending = listening.pull("saved_tracks").ending
        assert ending is Ending.STORED
        assert content(database) == undisturbed_rows, kind
        listening.sandbox.clear_faults()


def test_artists_within_their_max_age_cost_no_request(listening: Listening, database: SecretStr) -> None:
    listening.pull_all(["followed_artists", "top_items"])
    first = listening.pull("artists")
    forget(database, "artists")
    listening.clock.move(600)
    again = listening.pull("artists")
    assert first.usage["requests"] > 0
    assert (again.usage["requests"], again.pulled.new) == (0, first.pulled.new)
    assert again.usage["cache_hits"] > 0


def test_who_revoked_consent_is_named_and_others_are_pulled(listening: Listening, database: SecretStr) -> None:
    other = listening.connect(listening.sandbox.users[1])
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute(
            "update core.spotify_account set state = 'needs_consent', reason = 'revoked' where user_id <> %s", [other]
        )
    endings = {one.user_id: one.ending for one in listening.pull_all(["profile"])}
    assert endings[other] is Ending.STORED
    assert sorted(endings.values()) == [Ending.NEEDS_CONSENT, Ending.STORED]


@pytest.mark.parametrize(
    ("dataset", "path", "column"),
    [
        ("recently_played", "/v1/me/player/recently-played*", "spotify_play.played_at"),
        ("saved_tracks", "/v1/me/tracks*", "spotify_saved_track.track_uri"),
        ("playlists", "/v1/me/playlists*", "spotify_playlist.playlist_id"),
        ("followed_artists", "/v1/me/following*", "spotify_followed_artist.artist_id"),
    ],
)
def test_an_entry_that_cannot_be_stored_is_counted_and_what_was_stored_is_not_taken_for_removed(
    listening: Listening, database: SecretStr, dataset: str, path: str, column: str
) -> None:
    table, key = column.split(".")
    listening.pull(dataset)
    before = {row[key] for row in spotify_tables(database)[table]}
    listening.clock.move(8 * 86_400)
    listening.sandbox.fault(Fault("nulls", path=path, count=2, times=None))
    outcome = listening.pull(dataset)
    assert outcome.ending is Ending.STORED
    assert outcome.pulled.removed == 0
    assert outcome.pulled.detail["left_out"] >= 2
    assert any("could not be stored" in note for note in outcome.pulled.notes)
    assert before <= {row[key] for row in spotify_tables(database)[table]}


def test_an_accounts_service_that_is_down_is_known_to_all_processes(listening: Listening) -> None:
    """Each pull opens everything anew, as a process does; the circuit lies in shared state."""
    name = f"spotify-accounts.{listening.sandbox.app.client_id}"
    circuit = CircuitBreaker(
        name,
        configured(listening.settings.patterns.circuit_breaker),
        classify=failed_if_transient,
        clock=listening.clock,
        store=listening.shared,
    )
    assert circuit.report().phase is Phase.CLOSED
    listening.clock.move(7200)  # the token is old
    listening.sandbox.fault(Fault("status", path="/api/token", status=503, times=None))
    for _ in range(2):
        with pytest.raises(CollectorsError):
            listening.pull("profile")
    assert circuit.report().phase is Phase.OPEN


@pytest.mark.parametrize(("dataset", "path"), [("saved_tracks", "/v1/me/tracks"), ("top_items", "/v1/me/top/tracks")])
def test_a_first_page_that_holds_less_than_it_says_is_not_the_whole(
    listening: Listening, dataset: str, path: str
) -> None:
    listening.pull(dataset)  # of saved tracks, the next pull reads from the newest
    listening.clock.move(86_400)
    listening.sandbox.fault(Fault("edit", path=path, edits={"/items": [], "/next": None}, times=None))
    with pytest.raises(CollectorsError, match="holds 0 of"):
        listening.pull(dataset)
    listening.sandbox.clear_faults()
    listening.clock.move(60)
    assert listening.pull(dataset).ending is Ending.STORED


def test_a_list_that_changes_below_the_newest_is_read_as_far_again(listening: Listening, database: SecretStr) -> None:
    listening.pull("saved_tracks")
    mark = spotify_tables(database)["spotify_pull"][0]["position"]["newest"]
    with psycopg.connect(database.get_secret_value()) as connection:  # all tracks are newer than what is known
        connection.execute("update core.spotify_pull set position = jsonb_set(position, '{newest}', '\"2000\"')")
    listening.sandbox.fault(Fault("edit", path="/v1/me/tracks", edits={"/total": 1000}))
    outcome = listening.pull("saved_tracks")
    assert any("the list changed while it was read" in note for note in outcome.pulled.notes)
    assert spotify_tables(database)["spotify_pull"][0]["position"]["newest"] == "2000"
    assert not listening.pull("saved_tracks").pulled.notes
    assert spotify_tables(database)["spotify_pull"][0]["position"]["newest"] == mark


def test_a_list_that_grows_above_its_cursor_is_read_once_more(listening: Listening) -> None:
    grown = {"/artists/total": 1000, "/artists/next": None, "/artists/cursors/after": None}  # the end, before its total
    listening.sandbox.fault(Fault("edit", path="/v1/me/following", edits=grown, times=5))
    outcome = listening.pull("followed_artists")
    assert outcome.ending is Ending.STORED
    assert outcome.usage["requests"] > 5


@pytest.mark.parametrize(
    ("dataset", "path"), [("playlists", "/v1/playlists/*/items"), ("artist_albums", "/v1/artists/*/albums")]
)
def test_a_token_that_is_refused_makes_nothing_unreadable(listening: Listening, dataset: str, path: str) -> None:
    listening.pull_all(["followed_artists", "top_items"])
    listening.sandbox.fault(Fault("status", path=path, status=401, times=2))
    with pytest.raises(SpotifyRejectedError):
        listening.pull(dataset)
    assert not listening.pull(dataset).pulled.notes


def test_an_accounts_service_that_asks_for_a_pause_puts_off(listening: Listening) -> None:
    listening.clock.move(7200)  # the token is old
    listening.sandbox.fault(Fault("retry_after", path="/api/token", retry_after="7000", times=None))
    outcome = listening.pull("profile")
    assert outcome.ending is Ending.PUT_OFF
    assert outcome.until == listening.clock.now() + timedelta(seconds=7000)
    listening.sandbox.reset_counts()
    assert listening.pull("profile").ending is Ending.PUT_OFF
    assert listening.sandbox.counts().total == 0


@pytest.mark.parametrize("at", ["not a time", "2026-13-45T99:00:00Z", "2026-01-01T00:00:00", 5])
@pytest.mark.parametrize(
    ("dataset", "path", "pointer"),
    [
        ("recently_played", "/v1/me/player/recently-played", "/items/0/played_at"),
        ("saved_tracks", "/v1/me/tracks", "/items/0/added_at"),
    ],
)
def test_a_time_that_is_none_costs_its_entry_and_not_the_page(
    listening: Listening, dataset: str, path: str, pointer: str, at: object
) -> None:
    listening.sandbox.fault(Fault("edit", path=path, edits={pointer: at}, times=None))
    outcome = listening.pull(dataset)
    assert outcome.pulled.detail["left_out"] >= 1
    assert outcome.pulled.new > 0
