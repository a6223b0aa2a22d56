"""Asking for consent, and what may come back."""

import re
import socket
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.errors import (
    ConfigurationError,
    RequestRejectedError,
    SecurityError,
    ServiceTimeoutError,
)
from collectors_dagster.integrations.spotify.oauth.authorization import ConsentRequest, ask_for_consent
from collectors_dagster.integrations.spotify.oauth.consent import ConsentPhase, consent_ends, consent_phase
from collectors_dagster.integrations.spotify.oauth.listener import listening
from collectors_dagster.integrations.spotify.oauth.pkce import challenge, new_state, new_verifier
from tests.support.spotify_tokens import application

CALLBACK = "http://127.0.0.1:8888/callback"


def asked(*, show_dialog: bool = False) -> ConsentRequest:
    return ask_for_consent(application("https://accounts.example"), CALLBACK, ("a", "b"), show_dialog=show_dialog)


def test_address_says_everything_and_nothing_secret() -> None:
    request = asked()
    query = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
    assert query == {
        "response_type": "code",
        "client_id": "client-of-tests",
        "redirect_uri": CALLBACK,
        "scope": "a b",
        "state": request.state,
        "code_challenge_method": "S256",
        "code_challenge": challenge(request.verifier),
    }
    assert request.verifier.get_secret_value() not in request.url
    assert request.state not in repr(request)[len(request.url) + 20 :].replace(request.url, "")
    assert "show_dialog=true" in asked(show_dialog=True).url


def test_verifiers_and_states_are_of_the_length_that_is_asked_for_and_never_the_same() -> None:
    verifiers = {new_verifier().get_secret_value() for _ in range(100)}
    assert len(verifiers) == len({new_state() for _ in range(100)}) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", each) for each in verifiers)  # RFC 7636, 4.1


def test_code_is_taken_from_an_address_or_its_query() -> None:
    request = asked()
    query = urlencode({"code": "abc", "state": request.state})
    for form in (f"{CALLBACK}?{query}", f"?{query}", query):
        assert request.code(form).get_secret_value() == "abc"


@given(
    st.text(max_size=100)
    | st.dictionaries(st.sampled_from(["code", "state", "error"]), st.text(max_size=20)).map(urlencode)
)
def test_whatever_else_comes_back_is_refused(text: str) -> None:
    with pytest.raises(SecurityError, match="start again"):
        asked().code(text)


@pytest.mark.parametrize("more", ["&code=two", "&error=x&error=y", "&state=other"])
def test_parameter_that_is_there_twice_counts_as_not_there(more: str) -> None:
    request = asked()
    query = urlencode({"state": request.state, **({} if "error" in more else {"code": "abc"})}) + more
    with pytest.raises(SecurityError):
        request.code(query)


@pytest.mark.parametrize(
    ("error", "said"), [("access_denied", "the user declined"), ("<b>", "an error without a name")]
)
def test_refusal_of_the_user_or_the_service_is_told(error: str, said: str) -> None:
    request = asked()
    with pytest.raises(RequestRejectedError, match=said):
        request.code(urlencode({"state": request.state, "error": error}))


def test_listener_takes_any_free_port_on_both_loopbacks() -> None:
    addresses = ["http://127.0.0.1/callback"]
    if socket.has_ipv6 and _has_loopback6():
        addresses.append("http://[::1]/callback")
    for address in addresses:
        with listening(address) as listener:
            host = address.removesuffix("/callback")
            assert re.fullmatch(re.escape(host) + r":\d+/callback", listener.redirect_uri)
            request = ask_for_consent(application("https://accounts.example"), listener.redirect_uri, ())
            back = f"{listener.redirect_uri}?{urlencode({'code': 'abc', 'state': request.state})}"
            with pytest.raises(ServiceTimeoutError):
                listener.wait(request, 0.01)
            assert httpx.get(back, trust_env=False).status_code == 200
            assert listener.wait(request, 5).get_secret_value() == "abc"


def test_port_that_is_taken_and_addresses_elsewhere_are_told_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match="leave the port out"), listening(f"http://127.0.0.1:{port}/x"):
            pass
    for address in ("https://127.0.0.1/x", "https://collectors.example/x"):
        with pytest.raises(ConfigurationError, match="--manual"), listening(address):
            pass


def _has_loopback6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@given(st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # see timezones
def test_consent_goes_from_valid_to_ending_to_ended_and_lasts_half_a_year(consented: datetime) -> None:
    ends = consent_ends(consented)
    assert timedelta(days=181) <= ends - consented <= timedelta(days=184)
    moments = [consented, consented + timedelta(days=150, seconds=-1), consented + timedelta(days=150), ends]
    phases = [consent_phase(consented, moment) for moment in moments]
    assert phases == [ConsentPhase.VALID, ConsentPhase.VALID, ConsentPhase.ENDING, ConsentPhase.ENDED]
    assert consent_phase(consented, ends - timedelta(microseconds=1)) is ConsentPhase.ENDING
