"""Renewing tokens on a real database and a real server: what is asked, what is stored, what is said."""

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import (
    CircuitOpenError,
    ConfigurationError,
    ConsentNeededError,
    RateLimitedError,
    RequestRejectedError,
    ServiceFailedError,
    ServiceTimeoutError,
    UnexpectedResponseError,
)
from collectors_dagster.integrations.spotify.oauth.renewal import LATE_SECONDS, PATIENCE_SECONDS
from collectors_dagster.integrations.spotify.oauth.vault import AccountState, Claim, Stored, TokenOwner
from collectors_dagster.integrations.timescale import Store
from tests.support.spotify_tokens import APP, OWNER, connect, open_vault, renewal
from tests.support.store_data import AURORA
from tests.support.token_server import CLIENT_ID, CLIENT_SECRET, Answer, TokenServer, running_token_server

HOUR = 3600.0


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with running_token_server() as running:
        yield running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Case:
    """A tenant with one connected user whose access token has just run out."""

    def __init__(self, store: Store, server: TokenServer, clock: ManualClock) -> None:
        self.vault = open_vault(store)
        self.server, self.clock = server, clock
        self.first = connect(self.vault, server, clock)
        self.renewal = renewal(self.vault, server.url, clock=clock, timeout_seconds=2.0)

    def stored(self) -> Stored:
        found = self.vault.read(OWNER)
        assert found is not None
        return found


@pytest.fixture
def case(store: Store, server: TokenServer, clock: ManualClock) -> Case:
    return Case(store, server, clock)


def test_good_token_is_taken_from_the_vault_without_a_request(case: Case) -> None:
    tokens = connect(case.vault, case.server, case.clock, left_seconds=HOUR)
    assert case.renewal.run().token == tokens.access_token
    assert case.server.requests == 0


def test_token_that_runs_out_within_the_margin_is_renewed(case: Case) -> None:
    tokens = connect(case.vault, case.server, case.clock, left_seconds=59)
    assert case.renewal.run().token != tokens.access_token
    assert case.server.requests == 1


def test_rotated_refresh_token_replaces_the_old_one_with_the_access_token(case: Case) -> None:
    before = case.stored()
    held = case.renewal.run()
    after = case.stored()
    assert after.access_token == held.token
    assert after.version == before.version + 1
    assert after.refresh_token is not None
    assert after.refresh_token.get_secret_value() in case.server.living
    assert after.refresh_token != before.refresh_token
    assert after.consented_at == before.consented_at  # refreshing does not prolong consent


def test_answer_without_a_refresh_token_keeps_the_old_one(case: Case) -> None:
    case.server.rotates = False
    for _ in range(3):
        case.renewal.run(case.stored().access_token)
    assert case.stored().refresh_token == case.first.refresh_token
    assert case.server.refused == []


def test_new_token_is_stored_before_it_is_handed_out(case: Case, store: Store) -> None:
    seen: list[bool] = []
    real_store = case.vault.store

    class Watching:
        """A vault that notes the order of things."""

        def __getattr__(self, name: str) -> object:
            return getattr(case.vault, name)

        def store(self, *given: object, **named: object) -> bool:
            done: bool = real_store(*given, **named)  # type: ignore[arg-type]  # passed through as it came
            seen.append(done)
            return done

    watched = renewal(Watching(), case.server.url, clock=case.clock)  # type: ignore[arg-type]  # all of it is there
    held = watched.run()
    assert seen == [True]
    assert case.stored().access_token == held.token


def test_refused_token_is_renewed_although_it_should_live(case: Case) -> None:
    tokens = connect(case.vault, case.server, case.clock, left_seconds=HOUR)
    other = renewal(case.vault, case.server.url, clock=case.clock)
    new = case.renewal.run(tokens.access_token).token
    assert new != tokens.access_token
    assert other.run(tokens.access_token).token == new  # another process that comes with the same complaint
    assert case.server.requests == 1


def test_invalid_grant_needs_consent_and_is_asked_once(case: Case) -> None:
    case.server.revoke_everything()
    with pytest.raises(ConsentNeededError, match="collectors spotify connect --tenant aurora") as raised:
        case.renewal.run()
    assert (raised.value.tenant, raised.value.user_id, raised.value.transient) == (*_of(OWNER), False)
    for _ in range(3):
        with pytest.raises(ConsentNeededError, match="revoked, replaced or too old"):
            renewal(case.vault, case.server.url, clock=case.clock).run()
    assert case.server.requests == 1
    found = case.stored()
    assert (found.state, found.refresh_token, found.access_token) == (AccountState.NEEDS_CONSENT, None, None)


def test_consent_ends_after_six_months_by_the_calendar_without_a_request(case: Case) -> None:
    case.clock.move(timedelta(days=180).total_seconds())
    case.renewal.run()
    assert case.server.requests == 1
    case.clock.move(timedelta(days=1).total_seconds())  # 1 January + 181 days = 1 July
    with pytest.raises(ConsentNeededError, match="consent ended on 2026-07-01"):
        case.renewal.run()
    assert case.server.requests == 1
    assert case.stored().state is AccountState.NEEDS_CONSENT


def test_new_consent_makes_everything_good_again(case: Case) -> None:
    case.server.revoke_everything()
    with pytest.raises(ConsentNeededError):
        case.renewal.run()
    connect(case.vault, case.server, case.clock)
    assert case.renewal.run().token.get_secret_value() in case.server.access
    assert case.stored().reason is None


def test_account_nobody_connected_and_one_of_another_application_say_so(case: Case) -> None:
    with pytest.raises(ConsentNeededError, match="Spotify account stranger is not connected"):
        renewal(case.vault, case.server.url, TokenOwner("aurora", "stranger")).run()
    with pytest.raises(ConsentNeededError, match="connected with another application"):
        renewal(case.vault, case.server.url, client_id="another-application").run()
    assert case.server.requests == 0


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param((503, {}, b"<html>down</html>"), id="503"),
        pytest.param((500, {}, b""), id="500"),
        pytest.param((200, {"Content-Type": "application/json"}, b'{"access_token": "abc'), id="truncated"),
        pytest.param((200, {}, b"<html>hello</html>"), id="html"),
        pytest.param((200, {}, b""), id="empty"),
        pytest.param((200, {}, b'{"access_token": ""}'), id="empty token"),
        pytest.param((200, {}, b'{"access_token": "a b\\r\\nX: y"}'), id="token no header can hold"),
        pytest.param((200, {}, b'{"access_token": "abc", "token_type": "mac"}'), id="other kind of token"),
        pytest.param((429, {"Retry-After": "2"}, b"Too many requests"), id="429"),
    ],
)
def test_what_may_pass_is_tried_again(case: Case, fault: Answer) -> None:
    case.server.faults += [lambda: fault] * 2
    assert case.renewal.run().token.get_secret_value() in case.server.access
    assert case.server.requests == 3
    assert case.server.refused == []


def test_service_that_stays_away_is_given_up_after_four_requests(case: Case) -> None:
    case.server.faults += [lambda: (503, {}, b"")] * 9
    with pytest.raises(ServiceFailedError, match="failed \\(503\\) at a refreshed token"):
        case.renewal.run()
    assert case.server.requests == 4
    assert case.stored().state is AccountState.CONNECTED


def test_open_breaker_asks_nothing(case: Case) -> None:
    case.server.faults += [lambda: (503, {}, b"")] * 9
    guarded = renewal(case.vault, case.server.url, clock=case.clock, failures=2, draw=lambda: 0.0)
    with pytest.raises(CircuitOpenError):
        guarded.run()
    assert case.server.requests == 2
    with pytest.raises(CircuitOpenError):
        guarded.run()
    assert case.server.requests == 2


def test_pause_that_the_service_asks_for_is_kept_by_every_process(case: Case) -> None:
    case.server.faults.append(lambda: (429, {"Retry-After": "600"}, b"Too many requests"))
    with pytest.raises(RateLimitedError):
        case.renewal.run()
    for seconds, left in ((0, 600), (300, 300)):
        case.clock.move(seconds)
        with pytest.raises(RateLimitedError, match="come back at") as raised:
            renewal(case.vault, case.server.url, clock=case.clock).run()
        assert raised.value.retry_after_seconds == pytest.approx(left, abs=5)
    assert case.server.requests == 1
    case.clock.move(301)
    case.renewal.run()
    assert case.server.requests == 2


def test_redirect_is_refused_and_followed_nowhere(case: Case) -> None:
    with running_token_server() as elsewhere:
        case.server.faults.append(lambda: (307, {"Location": f"{elsewhere.url}/api/token"}, b""))
        with pytest.raises(RequestRejectedError, match="redirect \\(307\\), which is not followed"):
            case.renewal.run()
        assert elsewhere.requests == 0
    assert case.server.requests == 1
    assert case.stored().state is AccountState.CONNECTED


def test_wrong_secret_is_told_with_the_remedy_and_is_no_matter_of_consent(case: Case) -> None:
    wrong = renewal(case.vault, case.server.url, clock=case.clock, secret="a-wrong-secret")
    with pytest.raises(
        RequestRejectedError, match=r"invalid_client.*check spotify.client_id and spotify.client_secret"
    ):
        wrong.run()
    assert case.server.requests == 1
    assert case.stored().state is AccountState.CONNECTED
    assert case.renewal.run().token.get_secret_value() in case.server.access


def test_lost_answer_is_asked_for_again_and_a_lenient_service_gives_it(case: Case) -> None:
    case.server.grace = 1
    case.server.faults.append(lambda: None)
    assert case.renewal.run().token.get_secret_value() in case.server.access
    assert case.server.requests == 2


def test_lost_answer_of_a_strict_service_needs_consent_and_says_why(case: Case) -> None:
    case.server.faults.append(lambda: None)
    with pytest.raises(ConsentNeededError, match="an earlier request got no whole answer"):
        case.renewal.run()
    assert case.server.requests == 2


def test_answer_that_never_ends_is_given_up_in_time(case: Case) -> None:
    case.server.answer_gate.clear()
    with pytest.raises(ServiceTimeoutError, match=r"no whole answer to a refreshed token within 0\.3 s"):
        renewal(case.vault, case.server.url, clock=case.clock, timeout_seconds=0.3).run()
    case.server.answer_gate.set()


def test_late_good_answer_beats_a_conclusion_from_a_bad_one(case: Case) -> None:
    """A process that was thought dead has the next refresh token: what it stores undoes "needs consent"."""
    slow = case.vault.claim(OWNER, case.stored().version, 0.0)  # its claim ends at once
    assert slow is not None
    case.server.revoke_everything()
    with pytest.raises(ConsentNeededError):
        case.renewal.run()
    late = connect(case.vault, case.server, case.clock, TokenOwner("aurora", "else"), left_seconds=HOUR)
    assert case.vault.store(OWNER, slow, late)
    assert case.renewal.run().token == late.access_token
    assert not case.vault.store(OWNER, slow, late)  # but never twice


def test_nobody_asks_while_another_request_may_be_under_way(case: Case) -> None:
    assert case.vault.claim(OWNER, case.stored().version, 3600.0) is not None
    with pytest.raises(ServiceTimeoutError, match="another process has asked for tokens"):
        case.renewal.run()
    assert case.clock.monotonic() >= PATIENCE_SECONDS
    assert case.server.requests == 0


def test_process_that_was_stopped_since_it_claimed_asks_nothing_with_what_it_read(case: Case) -> None:
    """A machine that slept between claim and question would send a token that others have replaced meanwhile."""

    class Slow:
        """A vault whose first claim takes as long as somebody else's whole renewal."""

        slept = False

        def __getattr__(self, name: str) -> object:
            return getattr(case.vault, name)

        def claim(self, owner: TokenOwner, version: int, seconds: float) -> Claim | None:
            claim = case.vault.claim(owner, version, 0.0)
            if not self.slept:
                self.slept = True
                renewal(case.vault, case.server.url, clock=case.clock).run()
                case.clock.suspend(LATE_SECONDS + 1)
            return claim

    stopped = renewal(Slow(), case.server.url, clock=case.clock)  # type: ignore[arg-type]  # all of it is there
    assert stopped.run().token == case.stored().access_token
    assert (case.server.requests, case.server.reused) == (1, 0)


def test_application_gets_one_token_for_all_and_another_after_the_application_is_changed(case: Case) -> None:
    first = renewal(case.vault, case.server.url, APP, clock=case.clock).run().token
    assert renewal(case.vault, case.server.url, APP, clock=case.clock).run().token == first
    assert case.server.forms == [{"grant_type": "client_credentials"}]
    with pytest.raises(RequestRejectedError, match="invalid_client"):
        renewal(case.vault, case.server.url, APP, clock=case.clock, client_id="other", secret="other").run()
    assert case.vault.read(APP) is not None
    assert renewal(case.vault, case.server.url, APP, clock=case.clock).run().token != first


def test_application_without_a_secret_is_told_what_to_set(case: Case) -> None:
    with pytest.raises(ConfigurationError, match="SPOTIFY_CLIENT_SECRET"):
        renewal(case.vault, case.server.url, APP, secret=None).run()
    assert case.server.requests == 0


def test_public_client_names_itself_and_sends_no_secret(case: Case) -> None:
    public = renewal(case.vault, case.server.url, clock=case.clock, secret=None)
    assert public.run().token.get_secret_value() in case.server.access
    assert set(case.server.forms[0]) == {"grant_type", "refresh_token", "client_id"}


@pytest.mark.parametrize("lifetime", [None, "3600", 3600.7, -5, "soon", True, [1]])
def test_strange_lifetimes_are_lived_with(case: Case, lifetime: object) -> None:
    case.server.lifetime = lifetime  # type: ignore[assignment]  # what a service might say
    held = case.renewal.run()
    assert case.clock.now() < held.use_until <= case.clock.now() + timedelta(days=1)


def test_short_lived_tokens_are_not_asked_for_at_every_call(case: Case) -> None:
    case.server.lifetime = 20
    case.renewal.run()
    case.renewal.run()
    case.clock.move(14)
    case.renewal.run()
    assert case.server.requests == 1
    case.clock.move(2)
    case.renewal.run()
    assert case.server.requests == 2


def test_no_secret_is_in_errors_representations_or_logs(
    case: Case, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    secrets = [CLIENT_SECRET, *case.server.living, *case.server.access]
    said = [repr(case.first), repr(case.stored()), repr(case.renewal), str(case.vault)]
    echo = json.dumps({"error": "invalid_request", "error_description": f"bad {next(iter(case.server.living))} !"})
    answers: list[Answer] = [(status, {}, echo.encode()) for status in (400, 418, 503)]
    for answer in (*answers, (200, {}, b"{}")):
        case.server.faults = [partial(_given, answer)] * 9
        with pytest.raises((RequestRejectedError, UnexpectedResponseError, ServiceFailedError)) as raised:
            case.renewal.run()
        error: BaseException | None = raised.value
        while error is not None:
            said += [str(error), repr(error), repr(error.__dict__)]
            error = error.__cause__ or error.__context__
    case.server.faults = []
    case.renewal.run()
    secrets += [*case.server.living, *case.server.access]
    whole = "\n".join([*said, caplog.text, *capfd.readouterr()])
    assert "invalid_request: bad" in whole
    assert [secret for secret in secrets if secret in whole] == []


def _given(answer: Answer) -> Answer:
    return answer


def _of(owner: TokenOwner) -> tuple[str, str]:
    return owner.tenant_id, owner.user_id


def test_rows_of_two_tenants_are_apart(case: Case) -> None:
    other = TokenOwner("borealis", OWNER.user_id)
    connect(case.vault, case.server, case.clock, other)
    case.server.revoke_everything()
    with pytest.raises(ConsentNeededError):
        case.renewal.run()
    found = case.vault.read(other)
    assert found is not None
    assert (found.state, found.client_id) == (AccountState.CONNECTED, CLIENT_ID)
    assert AURORA.id == OWNER.tenant_id
    assert isinstance(found.refresh_token, SecretStr)
