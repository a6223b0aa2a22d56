"""Whatever is asked, the sandbox answers, in the shape of the Web API; and it counts what it was asked."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.clock import ManualClock
from collectors_dagster.sandbox import Fault, PlaylistChange, RateLimit, SandboxApp, SandboxOptions, WorldOptions
from collectors_dagster.sandbox.endpoints import ROUTES
from collectors_dagster.sandbox.http import Answer, Request
from collectors_dagster.sandbox.service import Sandbox

DEVELOPMENT = SandboxApp(client_id="d" * 32, account="small", mode="development")
SMALL = SandboxOptions(
    apps=(SandboxApp(), DEVELOPMENT), limit=None, world=WorldOptions(artists=8, large_playlist_items=5, playlists=3)
)
URL = "http://127.0.0.1:1"


def small(options: SandboxOptions = SMALL) -> Sandbox:
    return Sandbox(options, ManualClock(), URL)


SHARED = small()
IDS = [
    *SHARED.everything.world.artist_ids(2),
    *SHARED.everything.world.album_ids(2),
    *SHARED.everything.world.track_ids(2),
    *(each.id for each in SHARED.everything.playlists.public()[:2]),
    "0" * 22,
    "not an id",
]
USERS = [listener.id for listener in SHARED.everything.listeners.all]
VALUES = (
    st.sampled_from(
        ["0", "1", "50", "51", "-1", "", "artist", "album,track", "medium_term", "DE", "items(track.name)", "(", "!"]
    )
    | st.integers().map(str)
    | st.text(max_size=8)
    | st.lists(st.sampled_from(IDS), min_size=1, max_size=60).map(",".join)
)
NAMES = st.sampled_from(
    ["limit", "offset", "ids", "after", "before", "type", "q", "market", "fields", "time_range", "include_groups", "x"]
)


def ask(sandbox: Sandbox, path: str, token: str, query: dict[str, str] | None = None, method: str = "GET") -> Answer:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return asyncio.run(sandbox.respond(Request(method, path, "", query or {}, headers)))


@given(
    st.sampled_from([route.pattern for route in ROUTES]) | st.text(max_size=20).map(lambda text: f"/v1/{text}"),
    st.sampled_from(IDS),
    st.dictionaries(NAMES, VALUES, max_size=5),
    st.sampled_from([None, *USERS]),
    st.sampled_from([SandboxApp(), DEVELOPMENT]),
)
def test_no_request_is_left_without_a_proper_answer(
    pattern: str, identifier: str, query: dict[str, str], user: str | None, app: SandboxApp
) -> None:
    answer = ask(SHARED, pattern.replace("{id}", identifier), SHARED.token(user, client_id=app.client_id), query)
    assert answer.status in {200, 400, 401, 403, 404}
    found = json.loads(answer.body)
    assert isinstance(found, dict)
    assert (set(found) == {"error"}) is (answer.status != 200)
    if answer.status != 200:
        assert found["error"]["status"] == answer.status
        assert found["error"]["message"]
    assert answer.headers["x-spotify-sandbox"] == "1"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_only_reads(method: str) -> None:
    assert ask(SHARED, "/v1/me", SHARED.token(USERS[0]), method=method).status == 405


def test_requests_are_counted_by_route_account_status_token_and_fault() -> None:
    sandbox = small()
    first, second, other = sandbox.token(USERS[0]), sandbox.token(USERS[1]), sandbox.token(None, client_id="d" * 32)
    artists = sandbox.everything.world.artist_ids(2)
    sandbox.faults.arm(Fault("status", path="/v1/me/tracks", status=500))
    for path, token in (
        *((f"/v1/artists/{each}", first) for each in artists),
        (f"/v1/artists/{artists[0]}", other),
        ("/v1/me/tracks", second),
        ("/v1/me", ""),
        ("/v1/nowhere", first),
    ):
        ask(sandbox, path, token)
    counts = sandbox.counts()
    assert counts.total == 6
    assert counts.by_route == {
        "GET /v1/artists/{id}": 3,
        "GET /v1/me/tracks": 1,
        "GET /v1/me": 1,
        "GET unknown": 1,
    }
    assert counts.of("GET /v1/artists/{id}") == 3
    assert counts.by_account == {"sandbox-developer": 4, "small": 1}
    assert counts.by_status == {200: 3, 500: 1, 401: 1, 404: 1}
    assert sorted(counts.by_token.values()) == [1, 1, 3]
    assert counts.by_fault == {"status": 1}
    shown = repr(sandbox.requests()) + repr(counts)
    assert not any(token in shown for token in (first, second, other))
    sandbox.reset_counts()
    assert (sandbox.counts().total, sandbox.requests()) == (0, [])


def test_a_fault_that_does_not_fit_is_said() -> None:
    sandbox = small()
    token = sandbox.token(USERS[0])
    sandbox.arm(Fault("edit", edits={"/items/0/track": None}))
    answer = ask(sandbox, "/v1/me", token)
    assert (answer.status, b"does not fit this answer: /items/0/track" in answer.body) == (500, True)
    playlist = sandbox.everything.playlists.large.id
    for change, said in (
        (PlaylistChange("nowhere"), "there is no playlist 'nowhere'"),
        (PlaylistChange(playlist, add=["nothing"]), "there is no track 'nothing'"),
    ):
        with pytest.raises(ValueError, match=said):
            sandbox.arm(Fault("reset"), Fault("change", change=change))
    assert ask(sandbox, "/v1/me", token).status == 200


def test_applications_of_one_account_share_its_limit_and_other_accounts_do_not() -> None:
    apps = (SandboxApp(), SandboxApp(client_id="2" * 32), SandboxApp(client_id="3" * 32, account="other"))
    sandbox = small(SandboxOptions(apps=apps, limit=RateLimit(2, 30.0), world=SMALL.world))
    tokens = [sandbox.token(USERS[0], client_id=app.client_id) for app in apps]
    assert [ask(sandbox, "/v1/me", token).status for token in (tokens[0], tokens[1], tokens[0], tokens[1])] == [
        200,
        200,
        429,
        429,
    ]
    assert ask(sandbox, "/v1/me", tokens[2]).status == 200


def test_a_ban_says_its_reason_and_the_rest_of_its_time() -> None:
    sandbox = small()
    sandbox.ban("sandbox-developer", 90.0, "QUOTA_EXCEEDED")
    sandbox.clock.move(30)
    answer = ask(sandbox, "/v1/me", sandbox.token(USERS[0]))
    found: Any = json.loads(answer.body)
    assert (answer.status, answer.headers["retry-after"], found["error"]["reason"]) == (429, "60", "QUOTA_EXCEEDED")


def test_pictures_and_pages_behind_the_addresses_exist() -> None:
    artist = json.loads(ask(SHARED, f"/v1/artists/{IDS[0]}", SHARED.token(USERS[0])).body)
    picture = ask(SHARED, artist["images"][0]["url"].removeprefix(URL), "")
    page = ask(SHARED, artist["external_urls"]["spotify"].removeprefix(URL), "")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/svg+xml")
    assert (page.status, b"everything in it is invented" in page.body) == (200, True)
