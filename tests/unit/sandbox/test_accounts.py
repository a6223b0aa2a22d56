"""The state of consents and tokens, as any sequence of refreshes leaves it."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from collectors_dagster.clock import ManualClock
from collectors_dagster.sandbox.accounts import Accounts, GrantError, TokenReply
from collectors_dagster.sandbox.options import CLIENT_ID, SandboxOptions
from collectors_dagster.sandbox.shifted_clock import ShiftedClock
from tests.support.effort import times

DAY = 86_400


def accounts(clock: ManualClock, options: SandboxOptions | None = None) -> Accounts:
    return Accounts(options or SandboxOptions(), ShiftedClock(clock))


class Rotation(RuleBasedStateMachine):
    """However tokens are refreshed, revoked and aged: each works once, and only while its consent lives."""

    valid = Bundle("valid")
    dead = Bundle("dead")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.accounts = accounts(self.clock)
        self.consented: dict[str, float] = {}
        self.reused = 0

    def now(self) -> float:
        return self.clock.monotonic()

    @rule(target=valid)
    def consent(self) -> str:
        return self.consented_now()

    def consented_now(self) -> str:
        token = self.accounts.grant(CLIENT_ID, "somebody", (), rotates=True).refresh_token
        assert token is not None
        self.consented[token] = self.now()
        return token

    @rule(target=valid, token=consumes(valid))
    def refresh(self, token: str) -> str:
        consented = self.consented[token]
        if self.now() >= consented + 182 * DAY:
            with pytest.raises(GrantError, match="invalid_grant"):
                self.accounts.refresh(CLIENT_ID, token, with_secret=False)
            return self.consented_now()
        fresh = self.accounts.refresh(CLIENT_ID, token, with_secret=False).refresh_token
        assert fresh is not None
        assert fresh != token
        self.consented[fresh] = consented
        with pytest.raises(GrantError, match="Invalid refresh token"):
            self.accounts.refresh(CLIENT_ID, token, with_secret=False)
        self.reused += 1
        return fresh

    @rule(target=dead, token=consumes(valid))
    def revoke(self, token: str) -> str:
        self.accounts.revoke(token)
        return token

    @rule(token=dead)
    def a_revoked_consent_stays_revoked(self, token: str) -> None:
        with pytest.raises(GrantError, match="Invalid refresh token"):
            self.accounts.refresh(CLIENT_ID, token, with_secret=False)

    @rule(days=st.integers(0, 120))
    def wait(self, days: int) -> None:
        self.clock.move(days * DAY)

    @invariant()
    def every_reuse_was_noticed(self) -> None:
        assert self.accounts.rotated_reuse == self.reused


TestRotation = Rotation.TestCase
TestRotation.settings = settings(max_examples=times(15), stateful_step_count=25, deadline=None)


@pytest.fixture
def reply(manual_clock: ManualClock) -> tuple[Accounts, TokenReply]:
    state = accounts(manual_clock)
    return state, state.grant(CLIENT_ID, "somebody", ("user-top-read",), rotates=False)


def test_a_consent_with_a_secret_keeps_its_refresh_token(reply: tuple[Accounts, TokenReply]) -> None:
    state, first = reply
    assert first.refresh_token is not None
    for _ in range(3):
        again = state.refresh(CLIENT_ID, first.refresh_token, with_secret=True)
        assert again.refresh_token is None
        assert "refresh_token" not in again.as_json()
    with pytest.raises(GrantError, match="invalid_client"):
        state.refresh(CLIENT_ID, first.refresh_token, with_secret=False)


def test_a_refresh_token_is_of_one_application(reply: tuple[Accounts, TokenReply]) -> None:
    state, first = reply
    with pytest.raises(GrantError, match="invalid_grant"):
        state.refresh(SandboxOptions().apps[1].client_id, str(first.refresh_token), with_secret=True)


def test_refreshing_does_not_prolong_a_consent(manual_clock: ManualClock) -> None:
    state = accounts(manual_clock)
    token = str(state.grant(CLIENT_ID, "somebody", (), rotates=True).refresh_token)
    for _ in range(181):
        manual_clock.move(DAY)
        token = str(state.refresh(CLIENT_ID, token, with_secret=False).refresh_token)
    manual_clock.move(DAY)
    with pytest.raises(GrantError, match="Refresh token expired"):
        state.refresh(CLIENT_ID, token, with_secret=False)


def test_an_access_token_lives_an_hour(manual_clock: ManualClock) -> None:
    state = accounts(manual_clock)
    token = state.token(state.issue(CLIENT_ID, None, ()))
    assert token is not None
    manual_clock.move(3599)
    assert state.is_valid(token)
    manual_clock.move(1)
    assert not state.is_valid(token)


def test_consents_outlast_a_restart(manual_clock: ManualClock, tmp_path: Path) -> None:
    options = SandboxOptions(state_file=tmp_path / "state.json")
    before = accounts(manual_clock, options)
    kept = before.grant(CLIENT_ID, "somebody", ("user-top-read",), rotates=True)
    rotated = before.refresh(CLIENT_ID, str(kept.refresh_token), with_secret=False)
    after = accounts(manual_clock, options)
    token = after.token(rotated.access_token)
    assert token is not None
    assert (token.user_id, token.scopes) == ("somebody", frozenset({"user-top-read"}))
    with pytest.raises(GrantError, match="Invalid refresh token"):
        after.refresh(CLIENT_ID, str(kept.refresh_token), with_secret=False)
    assert after.refresh(CLIENT_ID, str(rotated.refresh_token), with_secret=False).refresh_token
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["", "{", '{"grants": ['])
def test_a_file_cut_off_by_a_crash_is_begun_anew(manual_clock: ManualClock, tmp_path: Path, content: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(content)
    state = accounts(manual_clock, SandboxOptions(state_file=path))
    assert state.grant(CLIENT_ID, "somebody", (), rotates=True).refresh_token


def test_no_token_is_in_a_representation(reply: tuple[Accounts, TokenReply]) -> None:
    state, first = reply
    shown = f"{first!r} {state.token(first.access_token)!r} {SandboxOptions()!r}"
    assert first.access_token not in shown
    assert str(first.refresh_token) not in shown
    assert SandboxOptions().apps[0].client_secret not in shown
