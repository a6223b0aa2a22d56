"""What an accounts service may answer: read, or refused in plain words; never a crash, never an echo of a secret."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from collectors_dagster.errors import (
    CollectorsError,
    RateLimitedError,
    RequestRejectedError,
    ServiceFailedError,
    UnexpectedResponseError,
)
from collectors_dagster.integrations.spotify.oauth.answers import TokenRefusedError, read_tokens, refusal

SENT = SecretStr("the-refresh-token-that-was-sent")
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["access_token", "token_type", "expires_in", "refresh_token", "scope", "error", "more"])


@given(st.binary(max_size=200) | st.dictionaries(FIELDS, JSON).map(lambda values: json.dumps(values).encode()))
def test_any_body_is_tokens_or_an_unexpected_response(body: bytes) -> None:
    try:
        found = read_tokens(body, "a test")
    except UnexpectedResponseError:
        return
    token = found.access_token.get_secret_value()
    assert token.isascii()
    assert token.isprintable()
    assert " " not in token
    assert 0 < found.lifetime_seconds <= 86_400
    assert math.isfinite(found.lifetime_seconds)


@given(
    st.integers(201, 599),
    st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(["error", "error_description"]), JSON).map(
        lambda values: json.dumps(values).encode()
    ),
)
def test_any_refusal_is_one_of_our_errors_in_one_line(status: int, body: bytes) -> None:
    error = refusal(status, body, "a test", retry_after=None, sent=(SENT,))
    assert isinstance(error, CollectorsError)
    assert str(error).isprintable()
    assert len(str(error)) < 600
    assert error.transient == (status in {408, 429} or status >= 500)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (
            400,
            b'{"error":"invalid_grant","error_description":"Refresh token revoked"}',
            TokenRefusedError,
            "invalid_grant",
        ),
        (400, b'{"error":"invalid_client"}', TokenRefusedError, "check spotify.client_id"),
        (
            401,
            b'{"error":{"status":401,"message":"The access token expired"}}',
            TokenRefusedError,
            "401: The access token",
        ),
        (403, b"<html>", TokenRefusedError, "without a reason"),
        (403, b"User not registered in the Developer Dashboard", TokenRefusedError, "403, User not registered in"),
        (301, b"", RequestRejectedError, "not followed"),
        (429, b"Too many requests", RateLimitedError, "come back later"),
        (502, b"<html>", ServiceFailedError, "failed \\(502\\)"),
    ],
)
def test_known_refusals_are_told_apart(status: int, body: bytes, kind: type[Exception], said: str) -> None:
    error = refusal(status, body, "a test", retry_after=7.0, sent=())
    assert type(error) is kind
    with pytest.raises(kind, match=said):
        raise error


@pytest.mark.parametrize("form", ["{}", "x{}y", "Basic {}", '"{}"'])
def test_what_was_sent_does_not_come_back_in_a_message(form: str) -> None:
    words = form.format(SENT.get_secret_value())
    body = json.dumps({"error": "invalid_request", "error_description": words}).encode()
    plain = refusal(400, words.encode(), "a test", retry_after=None, sent=(SENT,))
    assert SENT.get_secret_value() not in str(plain)
    error = refusal(400, body, "a test", retry_after=None, sent=(SENT,))
    assert SENT.get_secret_value() not in str(error)
    assert "invalid_request" in str(error)


def test_pause_of_a_refusal_is_kept() -> None:
    assert refusal(429, b"", "a test", retry_after=12.0, sent=()).retry_after_seconds == 12.0


def test_absent_null_and_empty_refresh_tokens_mean_the_old_one_stays() -> None:
    for more in ({}, {"refresh_token": None}, {"refresh_token": ""}, {"refresh_token": 7}):
        assert read_tokens(json.dumps({"access_token": "abc", **more}).encode(), "a test").refresh_token is None


def test_scopes_are_none_where_the_answer_does_not_say() -> None:
    assert read_tokens(b'{"access_token": "abc"}', "a test").scopes is None
    assert read_tokens(b'{"access_token": "abc", "scope": "b  a"}', "a test").scopes == ("b", "a")
    assert read_tokens(b'{"access_token": "abc", "scope": ""}', "a test").scopes == ()
