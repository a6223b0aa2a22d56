"""Every answer of every endpoint fits the Web API's own description, in both quota modes."""

from collections.abc import Iterator

import httpx
import pytest

from collectors_dagster.sandbox import Fault, SandboxApp, SandboxOptions, WorldOptions
from collectors_dagster.sandbox.endpoints import ROUTES, closed
from tests.support.spotify import SpotifySandbox, running_spotify_sandbox
from tests.support.web_api_schema import WebApiSchema

DEVELOPMENT = SandboxApp(client_id="d" * 32, account="small", mode="development")
OPTIONS = SandboxOptions(
    apps=(SandboxApp(), DEVELOPMENT), limit=None, world=WorldOptions(artists=60, large_playlist_items=120)
)

ASKED = [  # the path as the description writes it, and what is asked for
    ("/artists", "artists?ids={artists},0000000000000000000000"),
    ("/artists/{id}", "artists/{artist}"),
    ("/artists/{id}/albums", "artists/{artist}/albums?limit=10"),
    ("/artists/{id}/top-tracks", "artists/{artist}/top-tracks?market=US"),
    ("/albums", "albums?ids={albums},0000000000000000000000"),
    ("/albums/{id}", "albums/{album}"),
    ("/albums/{id}", "albums/{album}?market=DE"),
    ("/albums/{id}/tracks", "albums/{album}/tracks"),
    ("/tracks", "tracks?ids={tracks},0000000000000000000000"),
    ("/tracks/{id}", "tracks/{track}"),
    ("/tracks/{id}", "tracks/{track}?market=from_token"),
    ("/browse/new-releases", "browse/new-releases?limit=50"),
    ("/search", "search?q=sandbox&type=artist,album,track,playlist,show,episode,audiobook&limit=10"),
    ("/playlists/{playlist_id}", "playlists/{playlist}"),
    ("/playlists/{playlist_id}/items", "playlists/{playlist}/items?limit=50"),
    ("/playlists/{playlist_id}/items", "playlists/{large}/items?limit=50&offset=50&market=SE"),
    ("/playlists/{playlist_id}/tracks", "playlists/{playlist}/tracks?limit=100"),
    ("/me", "me"),
    ("/me/playlists", "me/playlists?limit=50"),
    ("/me/tracks", "me/tracks?limit=50"),
    ("/me/albums", "me/albums?limit=50"),
    ("/me/following", "me/following?type=artist&limit=50"),
    ("/me/following", "me/following?type=artist&limit=10"),
    ("/me/top/artists", "me/top/artists?time_range=short_term"),
    ("/me/top/tracks", "me/top/tracks?time_range=long_term&limit=50"),
    ("/me/player/recently-played", "me/player/recently-played?limit=50"),
    ("/me/player/recently-played", "me/player/recently-played?before=1"),
]


CLOSED_IN_DEVELOPMENT = {
    "/artists",
    "/artists/{id}/top-tracks",
    "/albums",
    "/tracks",
    "/browse/new-releases",
    "/playlists/{playlist_id}/tracks",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SpotifySandbox]:
    with running_spotify_sandbox(OPTIONS) as running:
        yield running


@pytest.fixture(scope="module", params=["extended", "development"])
def mode(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def schema(mode: str) -> WebApiSchema:
    return WebApiSchema(development=mode == "development")


@pytest.fixture(scope="module")
def token(sandbox: SpotifySandbox, mode: str) -> str:
    return sandbox.token(sandbox.users[0], app=DEVELOPMENT if mode == "development" else None)


def asked_for(sandbox: SpotifySandbox, path: str) -> str:
    world = sandbox.world
    own = sandbox.playlist_ids(sandbox.users[0], own=True)
    return f"{sandbox.api_url}/" + path.format(
        artist=world.artist_ids(1)[0],
        artists=",".join(world.artist_ids(20)),
        album=world.album_ids(1)[0],
        albums=",".join(world.album_ids(19)),
        track=world.track_ids(1)[0],
        tracks=",".join(world.track_ids(49)),
        playlist=own[0],
        large=sandbox.large_playlist_id,
    )


@pytest.mark.parametrize("operation", ASKED, ids=[asked for _, asked in ASKED])
def test_an_answer_fits_the_description(
    sandbox: SpotifySandbox, schema: WebApiSchema, token: str, mode: str, operation: tuple[str, str]
) -> None:
    path, asked = operation
    reply = httpx.get(asked_for(sandbox, asked), headers={"authorization": f"Bearer {token}"}, verify=False)
    if mode == "development" and path in CLOSED_IN_DEVELOPMENT:
        assert reply.status_code == 403
    else:
        assert reply.status_code == 200, reply.text
    assert schema.problems(path, reply.status_code, reply.json()) == []


def test_every_endpoint_is_among_them() -> None:
    patterns = {route.pattern for route in ROUTES} - {route.pattern for route in closed.ROUTES}
    served = {each.removeprefix("/v1").replace("/playlists/{id}", "/playlists/{playlist_id}") for each in patterns}
    assert served == {path for path, _ in ASKED}


def test_every_playlist_fits_with_its_removed_tracks_and_local_files(
    sandbox: SpotifySandbox, schema: WebApiSchema, token: str
) -> None:
    kinds = set()
    for playlist in sandbox.playlist_ids(sandbox.users[0], own=True):
        path = f"{sandbox.api_url}/playlists/{playlist}/items?limit=50"
        page = httpx.get(path, headers={"authorization": f"Bearer {token}"}, verify=False).json()
        assert schema.problems("/playlists/{playlist_id}/items", 200, page) == []
        kinds |= {
            "gone" if each["item"] is None else "local" if each["is_local"] else "track" for each in page["items"]
        }
    assert kinds == {"gone", "local", "track"}


def test_refusals_fit_too(sandbox: SpotifySandbox, schema: WebApiSchema, token: str) -> None:
    url = asked_for(sandbox, "artists/{artist}")
    sandbox.fault(Fault("status", status=429), Fault("closed"))
    for headers, status in (
        ({}, 401),
        ({"authorization": f"Bearer {token}"}, 429),
        ({"authorization": f"Bearer {token}"}, 429),
    ):
        reply = httpx.get(url, headers=headers, verify=False)
        assert reply.status_code == status
        assert schema.problems("/artists/{id}", status, reply.json()) == []


def test_the_judge_finds_what_is_wrong(schema: WebApiSchema) -> None:
    page = {
        "href": "",
        "items": [{"added_at": 5, "track": {"nmae": "x"}}],
        "limit": 1,
        "next": 7,
        "offset": 0,
        "total": 1,
    }
    found = " ".join(schema.problems("/me/tracks", 200, page))
    for sign in (
        "'previous' is a required property",
        "5 is not of type 'string'",
        "7 is not of type",
        "nmae: is not described",
    ):
        assert sign in found
    assert schema.problems("/artists/{id}", 200, {"popularity": "high"})
