"""The sandbox answers as the Web API does: paging, limits of parameters, nulls, validators, both quota modes."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.sandbox import PlaylistChange, SandboxApp, SandboxOptions, WorldOptions
from tests.support.spotify import SpotifySandbox, running_spotify_sandbox

DEVELOPMENT = SandboxApp(client_id="d" * 32, mode="development")
OPTIONS = SandboxOptions(
    apps=(SandboxApp(), DEVELOPMENT), limit=None, world=WorldOptions(artists=60, large_playlist_items=130)
)
UNKNOWN = "0" * 22


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SpotifySandbox]:
    """Yield one sandbox for all: what these tests ask changes nothing."""
    with running_spotify_sandbox(OPTIONS) as running:
        yield running


class Caller:
    """Asks the sandbox with one token."""

    def __init__(self, sandbox: SpotifySandbox, token: str) -> None:
        self._url = httpx.URL(f"{sandbox.api_url}/")
        self._token = {"authorization": f"Bearer {token}"}

    def __call__(self, path: str, status: int = 200, **headers: str) -> Any:
        reply = self.reply(path, **headers)
        assert reply.status_code == status, reply.text
        return reply.json()

    def reply(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self._url.join(path.removeprefix("/")), headers=self._token | headers, verify=False)

    def all(self, path: str, key: str | None = None) -> list[Any]:
        """Follow `next` to the end."""
        found: list[Any] = []
        page = self(path)
        while True:
            page = page[key] if key else page
            found += page["items"]
            if page["next"] is None:
                return found
            page = self(page["next"])


@pytest.fixture
def user(sandbox: SpotifySandbox) -> Caller:
    return Caller(sandbox, sandbox.token(sandbox.users[0]))


@pytest.fixture
def development(sandbox: SpotifySandbox) -> Caller:
    return Caller(sandbox, sandbox.token(sandbox.users[0], app=DEVELOPMENT))


def message(reply: Any) -> str:
    text: str = reply["error"]["message"]
    return text


PAGED = [
    ("/me/playlists", None),
    ("/me/tracks", None),
    ("/me/albums", None),
    ("/me/following?type=artist", "artists"),
    ("/me/top/artists", None),
    ("/me/top/tracks?time_range=short_term", None),
    ("/browse/new-releases", "albums"),
    ("/search?q=sandbox&type=album", "albums"),
]


@pytest.mark.parametrize(("path", "key"), PAGED)
def test_pages_of_any_size_hold_the_same_items_once(user: Caller, path: str, key: str | None) -> None:
    mark = "&" if "?" in path else "?"
    whole = user.all(f"{path}{mark}limit=50", key)
    assert whole == user.all(f"{path}{mark}limit=7", key)
    first = user(f"{path}{mark}limit=7")
    assert (first[key] if key else first)["total"] == len(whole)


def test_a_playlist_is_paged_from_both_ends(user: Caller, sandbox: SpotifySandbox) -> None:
    path = f"/playlists/{sandbox.large_playlist_id}/items"
    items = user.all(f"{path}?limit=50")
    last = user(f"{path}?limit=50&offset=100")
    assert len(items) == 130
    assert (last["next"], len(last["items"])) == (None, 30)
    before = user(last["previous"])
    assert (before["offset"], before["items"]) == (50, items[50:100])


@pytest.mark.parametrize("name", ["limit=0", "limit=51", "limit=x", "limit=1e1", "limit=", "offset=-1", "offset=x"])
@pytest.mark.parametrize("path", ["/me/tracks", "/me/playlists", "/browse/new-releases", "/me/top/tracks"])
def test_a_page_out_of_bounds_is_refused(user: Caller, path: str, name: str) -> None:
    assert message(user(f"{path}?{name}", 400)) == f"Invalid {name.split('=', maxsplit=1)[0]}"


def test_an_offset_beyond_the_end_is_an_empty_page(user: Caller) -> None:
    page = user("/me/tracks?offset=100000")
    assert (page["items"], page["next"]) == ([], None)


@pytest.mark.parametrize(("kind", "most"), [("artists", 50), ("albums", 20), ("tracks", 50)])
def test_a_batch_has_its_limit_and_a_null_for_each_unknown(
    user: Caller, sandbox: SpotifySandbox, kind: str, most: int
) -> None:
    ids = getattr(sandbox.world, f"{kind.removesuffix('s')}_ids")(most)
    found = user(f"/{kind}?ids={','.join([*ids[:-1], UNKNOWN])}")[kind]
    assert [each and each["id"] for each in found] == [*ids[:-1], None]
    assert message(user(f"/{kind}?ids={','.join([*ids, UNKNOWN])}", 400)) == "Too many ids requested"
    assert message(user(f"/{kind}?ids=short", 400)) == "Invalid base62 id"
    assert message(user(f"/{kind}", 400)) == "Missing required field: ids"


@pytest.mark.parametrize("kind", ["artists", "albums", "tracks", "playlists"])
def test_one_that_does_not_exist_is_not_found(user: Caller, kind: str) -> None:
    assert message(user(f"/{kind}/{UNKNOWN}", 404)) == "Resource not found"
    assert message(user(f"/{kind}/not-an-id", 400)) == "Invalid base62 id"


def test_playlists_hold_removed_tracks_and_local_files(user: Caller, sandbox: SpotifySandbox) -> None:
    items = [item for each in sandbox.playlist_ids(sandbox.users[0]) for item in user.all(f"/playlists/{each}/items")]
    gone = [item for item in items if item["item"] is None]
    local = [item for item in items if item["is_local"]]
    assert gone
    assert local
    assert {(item["item"]["id"], item["item"]["href"], item["item"]["album"]["id"]) for item in local} == {(None,) * 3}


def test_search_finds_nulls_among_playlists_and_is_bounded(user: Caller) -> None:
    found = user("/search?q=sandbox&type=playlist,artist,show&limit=50")
    assert None in found["playlists"]["items"]
    assert found["shows"] == found["shows"] | {"items": [], "total": 0}
    assert message(user("/search?q=a&type=playlist&offset=1001", 400)) == "Invalid offset"
    assert message(user("/search?q=a&type=song", 400)) == "Bad search type field song"
    assert message(user("/search?q=a", 400)) == "Missing parameter type"
    assert message(user("/search?type=track", 400)) == "No search query"


def test_recently_played_goes_back_fifty_plays_and_no_further(user: Caller) -> None:
    plays = user.all("/me/player/recently-played?limit=20")
    instants = [play["played_at"] for play in plays]
    assert len(set(instants)) == 50
    assert instants == sorted(instants, reverse=True)
    oldest = user("/me/player/recently-played?limit=50")["cursors"]["before"]
    beyond = user(f"/me/player/recently-played?before={oldest}")
    assert (beyond["items"], beyond["cursors"], beyond["next"]) == ([], None, None)
    newest = user("/me/player/recently-played")["cursors"]["after"]
    assert user(f"/me/player/recently-played?after={newest}")["items"] == []
    assert "Only one of" in message(user("/me/player/recently-played?after=1&before=2", 400))


def test_a_market_takes_the_list_of_markets_away_and_says_what_can_be_played(
    user: Caller, sandbox: SpotifySandbox
) -> None:
    path = f"/playlists/{sandbox.large_playlist_id}/items?limit=50"
    tracks = [item["item"] for item in user(f"{path}&market=SE")["items"]]
    assert not any("available_markets" in track for track in tracks)
    assert {track["is_playable"] for track in tracks} <= {True, False}
    assert all("available_markets" in item["item"] for item in user(path)["items"])
    assert message(user(f"{path}&market=XX", 400)) == "Invalid market code"


def test_an_answer_that_did_not_change_is_a_304(user: Caller, sandbox: SpotifySandbox) -> None:
    path = f"/artists/{sandbox.world.artist_ids(1)[0]}"
    first = user.reply(path)
    again = user.reply(path, **{"if-none-match": first.headers["etag"]})
    assert first.headers["cache-control"] == "public, max-age=3600"
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert user.reply(path, **{"if-none-match": '"other"'}).status_code == 200
    assert user.reply("/me").headers["cache-control"] == "private, max-age=0"


def test_fields_cut_the_answer(user: Caller, sandbox: SpotifySandbox) -> None:
    path = f"/playlists/{sandbox.large_playlist_id}"
    found = user(f"{path}?fields=snapshot_id,name,items.total")
    assert found == {"snapshot_id": found["snapshot_id"], "name": "The long one (sandbox)", "items": {"total": 130}}
    page = user(f"{path}/items?limit=2&fields=items(added_at,item(id,album(!images,href))),total")
    assert set(page) == {"items", "total"}
    assert set(page["items"][0]) == {"added_at", "item"}
    assert not {"images", "href"} & set(page["items"][0]["item"]["album"])
    assert "Invalid fields" in message(user(f"{path}?fields=items(", 400))


CLOSED = ["/artists?ids={artist}", "/albums?ids={album}", "/tracks?ids={track}", "/browse/new-releases"]


@pytest.mark.parametrize("path", CLOSED)
def test_development_mode_has_no_batches_and_no_new_releases(
    user: Caller, development: Caller, sandbox: SpotifySandbox, path: str
) -> None:
    world = sandbox.world
    asked = path.format(artist=world.artist_ids(1)[0], album=world.album_ids(1)[0], track=world.track_ids(1)[0])
    user(asked)
    assert message(development(asked, 403)) == "Forbidden"


@pytest.mark.parametrize(
    "path",
    ["/audio-features?ids=x", "/recommendations?seed_genres=x", "/artists/x/related-artists", "/audio-analysis/x"],
)
def test_what_was_closed_in_2024_is_closed_in_both_modes(user: Caller, development: Caller, path: str) -> None:
    assert message(user(path, 403)) == message(development(path, 403)) == "Forbidden"


def test_an_artists_top_tracks_are_ranked_and_need_a_market(user: Caller, sandbox: SpotifySandbox) -> None:
    path = f"/artists/{sandbox.world.artist_ids(1)[0]}/top-tracks"
    popularity = [track["popularity"] for track in user(f"{path}?market=SE")["tracks"]]
    assert len(popularity) == 10
    assert popularity == sorted(popularity, reverse=True)
    assert message(user(path, 400)) == "Missing required field: market"


def test_development_mode_pages_albums_and_search_by_ten(development: Caller, sandbox: SpotifySandbox) -> None:
    path = f"/artists/{sandbox.world.artist_ids(1)[0]}/albums"
    assert development(path)["limit"] == 5
    assert message(development(f"{path}?limit=11", 400)) == "Invalid limit"
    assert message(development("/search?q=a&type=artist&limit=11", 400)) == "Invalid limit"


def test_development_mode_shows_items_only_to_owner_and_collaborator(
    user: Caller, development: Caller, sandbox: SpotifySandbox
) -> None:
    shown = {
        each["id"]: each["owner"]["id"] == sandbox.users[0] or each["collaborative"]
        for each in user.all("/me/playlists?limit=50")
    }
    assert set(shown.values()) == {True, False}
    for playlist, expected in shown.items():
        assert ("items" in development(f"/playlists/{playlist}")) is expected
        development(f"/playlists/{playlist}/items", 200 if expected else 403)
        development(f"/playlists/{playlist}/tracks", 403)
        user(f"/playlists/{playlist}/items")


def test_development_mode_knows_only_users_on_its_list(sandbox: SpotifySandbox) -> None:
    stranger = Caller(sandbox, sandbox.token(sandbox.users[-1], app=DEVELOPMENT))
    assert message(stranger("/me", 403)) == "User not registered in the Developer Dashboard"
    Caller(sandbox, sandbox.token(sandbox.users[-1]))("/me")


def test_scopes_and_users_are_asked_for(sandbox: SpotifySandbox) -> None:
    bare = Caller(sandbox, sandbox.token(sandbox.users[0], scopes=[]))
    for path in ("/me/tracks", "/me/albums", "/me/following?type=artist", "/me/top/artists"):
        assert message(bare(path, 403)) == "Insufficient client scope"
    assert "email" not in bare("/me")
    private = len(Caller(sandbox, sandbox.token(sandbox.users[0])).all("/me/playlists"))
    assert len(bare.all("/me/playlists")) < private
    nobody = Caller(sandbox, sandbox.token())
    assert message(nobody("/me", 401)) == "Valid user authentication required"
    nobody(f"/artists/{sandbox.world.artist_ids(1)[0]}")


@pytest.mark.parametrize(
    ("header", "status", "said"),
    [
        ({}, 401, "No token provided"),
        ({"authorization": "Basic abc"}, 400, "Only valid bearer authentication supported"),
        ({"authorization": "Bearer nobody"}, 401, "Invalid access token"),
    ],
)
def test_a_request_without_a_good_token_is_refused(
    sandbox: SpotifySandbox, header: dict[str, str], status: int, said: str
) -> None:
    reply = httpx.get(f"{sandbox.api_url}/me", headers=header)
    assert (reply.status_code, message(reply.json())) == (status, said)


def test_every_answer_says_that_it_is_a_sandbox(user: Caller, sandbox: SpotifySandbox) -> None:
    replies = [
        user.reply("/me"),
        user.reply("/nothing"),
        httpx.get(f"{sandbox.url}/"),
        httpx.get(f"{sandbox.url}/open/x"),
    ]
    assert [reply.headers["x-spotify-sandbox"] for reply in replies] == ["1"] * 4
    for reply in (
        user.reply("/me/tracks?limit=50"),
        user.reply("/me/playlists"),
        user.reply("/me/following?type=artist"),
    ):
        for name, value in walk(reply.json()):
            if name in {"href", "url", "spotify", "next"} and value is not None:
                assert value.startswith(f"{sandbox.url}/")
            if name in {"name", "display_name"}:
                assert value.endswith(" (sandbox)")


def walk(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from walk(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each, name)
    else:
        yield name, value


def test_the_same_seed_and_time_give_the_same_world(user: Caller) -> None:
    def answers(options: SandboxOptions) -> list[str]:
        with running_spotify_sandbox(options, ManualClock()) as other:
            caller = Caller(other, other.token(other.users[0]))
            texts = [
                caller.reply(path).text for path in ("/me/tracks", "/me/top/artists", "/me/player/recently-played")
            ]
            return [text.replace(other.url, "") for text in texts]

    small = WorldOptions(artists=20)
    assert answers(SandboxOptions(world=small)) == answers(SandboxOptions(world=small))
    assert answers(SandboxOptions(world=small)) != answers(SandboxOptions(world=small, seed=2))


def test_days_bring_plays_changes_and_other_popularity(
    spotify_sandbox: SpotifySandbox, manual_clock: ManualClock
) -> None:
    spotify_sandbox.set_limit(None)

    def look() -> dict[str, Any]:
        caller = Caller(spotify_sandbox, spotify_sandbox.token(spotify_sandbox.users[0]))
        playlists = {each["id"]: each["snapshot_id"] for each in caller.all("/me/playlists?limit=50")}
        artists = caller("/me/top/artists?limit=50&time_range=long_term")["items"]
        return {
            "plays": [play["played_at"] for play in caller("/me/player/recently-played?limit=50")["items"]],
            "playlists": playlists,
            "popularity": {artist["id"]: artist["popularity"] for artist in artists},
            "saved": caller("/me/tracks")["items"][0],
            "releases": [each["id"] for each in caller("/browse/new-releases?limit=50")["albums"]["items"]],
        }

    first = look()
    assert look() == first
    manual_clock.move(3 * 86_400)
    later = look()
    assert {name for name in first if first[name] != later[name]} == set(first)
    assert max(later["plays"]) > max(first["plays"])
    changed = {each for each in first["playlists"] if first["playlists"][each] != later["playlists"][each]}
    assert 0 < len(changed) < len(first["playlists"])
    assert spotify_sandbox.large_playlist_id not in changed


def test_a_snapshot_changes_with_each_change_and_with_nothing_else(spotify_sandbox: SpotifySandbox) -> None:
    caller = Caller(spotify_sandbox, spotify_sandbox.token(spotify_sandbox.users[0]))
    playlist = spotify_sandbox.large_playlist_id

    def look() -> tuple[str, list[str]]:
        found = caller(f"/playlists/{playlist}")
        return found["snapshot_id"], [item["item"]["id"] for item in found["items"]["items"]]

    seen = [look()]
    assert look() == seen[0]
    first, second, *rest = seen[0][1]
    for change in (
        PlaylistChange(playlist, remove=[0]),
        PlaylistChange(playlist, move=(0, 1)),
        PlaylistChange(playlist, add=[first], at=0),
    ):
        snapshot = spotify_sandbox.change_playlist(change)
        seen.append(look())
        assert seen[-1][0] == snapshot
    assert len({snapshot for snapshot, _ in seen}) == 4
    assert seen[-1][1][:3] == [first, rest[0], second]
