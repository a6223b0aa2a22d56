"""The accounts service over HTTP: the whole dance, its refusals, and races."""

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.sandbox.accounts import challenge_of
from tests.support.spotify import SpotifySandbox

CALLBACK = "http://127.0.0.1:43821/callback?kept=1"
VERIFIER = "v" * 64
SCOPE = "user-top-read user-library-read"


def authorize(sandbox: SpotifySandbox, **changed: str) -> httpx.Response:
    asked = {
        "client_id": sandbox.app.client_id,
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "state": "st&te",
        "scope": SCOPE,
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }
    parameters = {name: value for name, value in (asked | changed).items() if value}
    return httpx.get(f"{sandbox.accounts_url}/authorize", params=parameters, verify=False)


def returned(reply: httpx.Response) -> dict[str, str]:
    assert reply.status_code == 302, reply.text
    return dict(parse_qsl(urlsplit(reply.headers["location"]).query))


def token(sandbox: SpotifySandbox, form: dict[str, str], status: int = 200, *, secret: bool = False) -> Any:
    auth = (sandbox.app.client_id, sandbox.app.client_secret) if secret else None
    fields = form if secret else {"client_id": sandbox.app.client_id} | form
    reply = httpx.post(f"{sandbox.accounts_url}/api/token", data=fields, auth=auth, verify=False)
    assert reply.status_code == status, reply.text
    return reply.json()


def redeemed(sandbox: SpotifySandbox, **changed: str) -> dict[str, str]:
    code = returned(authorize(sandbox))["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return {name: value for name, value in (form | changed).items() if value}


def test_the_dance_with_pkce_ends_with_a_token_of_the_user(spotify_sandbox: SpotifySandbox) -> None:
    reply = authorize(spotify_sandbox, sandbox_user=spotify_sandbox.users[1])
    back = returned(reply)
    assert reply.headers["location"].startswith("http://127.0.0.1:43821/callback?kept=1&")
    assert back["state"] == "st&te"
    form = {"grant_type": "authorization_code", "code": back["code"], "redirect_uri": CALLBACK}
    found = token(spotify_sandbox, form | {"code_verifier": VERIFIER})
    assert (found["token_type"], found["expires_in"]) == ("Bearer", 3600)
    assert set(found["scope"].split()) == set(SCOPE.split())
    me = httpx.get(
        f"{spotify_sandbox.api_url}/me", headers={"authorization": f"Bearer {found['access_token']}"}, verify=False
    )
    assert me.json()["id"] == spotify_sandbox.users[1]
    refresh = {"grant_type": "refresh_token", "refresh_token": found["refresh_token"]}
    refreshed = token(spotify_sandbox, refresh)
    assert refreshed["refresh_token"] != found["refresh_token"]
    refused = token(spotify_sandbox, refresh, 400)
    assert refused == {"error": "invalid_grant", "error_description": "Invalid refresh token"}
    assert spotify_sandbox.counts().rotated_reuse == 1


def test_an_application_with_its_secret_needs_no_verifier_and_keeps_its_refresh_token(
    spotify_sandbox: SpotifySandbox,
) -> None:
    code = returned(authorize(spotify_sandbox, code_challenge="", code_challenge_method=""))["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    found = token(spotify_sandbox, form, secret=True)
    refresh = {"grant_type": "refresh_token", "refresh_token": found["refresh_token"]}
    again = token(spotify_sandbox, refresh, secret=True)
    assert "refresh_token" not in again


def test_client_credentials_give_a_token_without_a_user(spotify_sandbox: SpotifySandbox) -> None:
    found = token(spotify_sandbox, {"grant_type": "client_credentials"}, secret=True)
    assert set(found) == {"access_token", "token_type", "expires_in"}
    reply = httpx.get(
        f"{spotify_sandbox.api_url}/me", headers={"authorization": f"Bearer {found['access_token']}"}, verify=False
    )
    assert reply.status_code == 401


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code": "stolen"}, "Invalid authorization code"),
        ({"redirect_uri": "http://127.0.0.1:43822/callback"}, "Invalid redirect URI"),
        ({"code_verifier": "w" * 64}, "code_verifier was incorrect"),
    ],
)
def test_a_code_is_redeemed_once_and_only_by_who_asked_for_it(
    spotify_sandbox: SpotifySandbox, changed: dict[str, str], error: str
) -> None:
    form = redeemed(spotify_sandbox)
    assert token(spotify_sandbox, form | changed, 400)["error_description"] == error
    form = redeemed(spotify_sandbox)
    token(spotify_sandbox, form)
    assert token(spotify_sandbox, form, 400)["error"] == "invalid_grant"


def test_a_code_grows_old(spotify_sandbox: SpotifySandbox, manual_clock: ManualClock) -> None:
    form = redeemed(spotify_sandbox)
    manual_clock.move(600)
    assert token(spotify_sandbox, form, 400)["error_description"] == "Authorization code expired"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "nobody"}, "invalid_client"),
        ({"grant_type": "client_credentials", "client_secret": "wrong"}, "invalid_client"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "unknown"}, "invalid_grant"),
    ],
)
def test_the_token_endpoint_refuses_in_the_words_of_the_rfc(
    spotify_sandbox: SpotifySandbox, form: dict[str, str], error: str
) -> None:
    assert token(spotify_sandbox, form, 400)["error"] == error


def test_a_wrong_secret_and_a_wrong_kind_of_body_are_refused(spotify_sandbox: SpotifySandbox) -> None:
    url = f"{spotify_sandbox.accounts_url}/api/token"
    wrong = httpx.post(
        url, data={"grant_type": "client_credentials"}, auth=(spotify_sandbox.app.client_id, "x"), verify=False
    )
    assert wrong.json() == {"error": "invalid_client", "error_description": "Invalid client secret"}
    garbled = httpx.post(
        url, data={"grant_type": "client_credentials"}, headers={"authorization": "Basic %%"}, verify=False
    )
    assert garbled.json()["error"] == "invalid_client"
    assert httpx.post(url, json={"grant_type": "client_credentials"}, verify=False).json()["error"] == "invalid_request"
    assert httpx.get(url, verify=False).status_code == 405


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:8888/callback",
        "http://10.0.0.1/callback",
        "https://127.0.0.1/callback",
        "https://evil.invalid/",
        "",
    ],
)
def test_a_code_is_never_sent_to_an_unregistered_address(spotify_sandbox: SpotifySandbox, address: str) -> None:
    reply = authorize(spotify_sandbox, redirect_uri=address)
    assert (reply.status_code, reply.text) == (400, "INVALID_CLIENT: Invalid redirect URI")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/callback", "http://[::1]:65535/x"])
def test_this_machine_by_number_is_registered_with_any_port(spotify_sandbox: SpotifySandbox, address: str) -> None:
    assert "code" in returned(authorize(spotify_sandbox, redirect_uri=address))


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "user-modify-everything"}, "invalid_scope"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"sandbox_consent": "no"}, "access_denied"),
    ],
)
def test_what_is_wrong_with_a_request_for_consent_goes_back_to_the_application(
    spotify_sandbox: SpotifySandbox, changed: dict[str, str], error: str
) -> None:
    back = returned(authorize(spotify_sandbox, **changed))
    assert (back["error"], back["state"]) == (error, "st&te")


def test_the_page_of_consent_says_what_it_is_and_keeps_what_was_asked(spotify_sandbox: SpotifySandbox) -> None:
    page = authorize(spotify_sandbox, show_dialog="true", state='"><script>')
    assert page.status_code == 200
    assert "This is the local sandbox, not Spotify" in page.text
    assert "<script>" not in page.text
    assert all(user in page.text for user in spotify_sandbox.users)
    assert "code" in returned(authorize(spotify_sandbox, show_dialog="true", sandbox_consent="yes"))


async def race(sandbox: SpotifySandbox, refresh_token: str, racers: int) -> list[httpx.Response]:
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": sandbox.app.client_id}
    async with httpx.AsyncClient(verify=False, limits=httpx.Limits(max_connections=racers)) as client:
        return await asyncio.gather(
            *(client.post(f"{sandbox.accounts_url}/api/token", data=form) for _ in range(racers))
        )


def test_of_many_refreshes_with_one_token_exactly_one_wins(spotify_sandbox: SpotifySandbox) -> None:
    refresh_token = str(spotify_sandbox.grant(spotify_sandbox.users[0]).refresh_token)
    for _ in range(5):
        replies = asyncio.run(race(spotify_sandbox, refresh_token, 16))
        won = [reply for reply in replies if reply.status_code == 200]
        lost = [reply.json()["error"] for reply in replies if reply.status_code != 200]
        assert (len(won), set(lost)) == (1, {"invalid_grant"})
        refresh_token = won[0].json()["refresh_token"]
    assert spotify_sandbox.counts().rotated_reuse == 5 * 15
    assert spotify_sandbox.counts().token_requests == 5 * 16
