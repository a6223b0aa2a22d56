"""The whole life of a consent against the sandbox: a judge that knows nothing of our code."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock
from collectors_dagster.config.spotify import SpotifyApplication
from collectors_dagster.errors import ConsentNeededError
from collectors_dagster.integrations.spotify.oauth.authorization import ask_for_consent
from collectors_dagster.integrations.spotify.oauth.connecting import Connected, Connecting
from collectors_dagster.integrations.spotify.oauth.endpoint import TokenEndpoint
from collectors_dagster.integrations.spotify.oauth.renewal import Renewal
from collectors_dagster.integrations.spotify.oauth.sealed_vault import SealedVault
from collectors_dagster.integrations.spotify.oauth.shared_tokens import SharedTokens
from collectors_dagster.integrations.spotify.oauth.vault import TokenOwner
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.patterns import BreakerPolicy, CircuitBreaker, failed_if_transient
from tests.support.spotify import SpotifySandbox
from tests.support.spotify_tokens import open_vault

SCOPES = ("user-library-read", "user-read-recently-played")


class Tenancy:
    """A tenant with an application at the sandbox, with a secret or without."""

    def __init__(self, sandbox: SpotifySandbox, vault: SealedVault, clock: ManualClock, *, public: bool) -> None:
        self.sandbox, self.vault, self.clock = sandbox, vault, clock
        secret = None if public else SecretStr(sandbox.app.client_secret)
        self.application = SpotifyApplication(
            sandbox.app.client_id, secret, "account", sandbox.accounts_url, sandbox.api_url
        )

    def connect(self, user_id: str) -> Connected:
        """Consent as a user at a browser."""
        request = ask_for_consent(self.application, "http://127.0.0.1:9/callback", SCOPES)
        back = httpx.get(f"{request.url}&sandbox_user={user_id}", follow_redirects=False, trust_env=False)
        assert back.status_code == 302, back.text
        connecting = Connecting(
            "aurora", self.application, SCOPES, vault=self.vault, clock=self.clock, random=lambda: 0.5
        )
        return connecting.redeem(request, request.code(back.headers["Location"]))

    def tokens(self, user_id: str) -> SharedTokens:
        """Return tokens as a process opens them."""
        breaker = CircuitBreaker(
            "accounts",
            BreakerPolicy(failure_threshold=5, recovery_seconds=30),
            classify=failed_if_transient,
            clock=self.clock,
        )
        renewal = Renewal(
            TokenOwner("aurora", user_id),
            self.application.client_id,
            vault=self.vault,
            endpoint=TokenEndpoint(self.application, self.clock),
            breaker=breaker,
            clock=self.clock,
            random=lambda: 0.5,
        )
        return SharedTokens(renewal, account="account", clock=self.clock)

    def reads(self, token: SecretStr) -> int:
        """Return how the API answers to a token."""
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
        return httpx.get(f"{self.sandbox.api_url}/me", headers=headers, trust_env=False).status_code


@pytest.fixture(params=["confidential", "public"])
def tenancy(
    request: pytest.FixtureRequest, spotify_sandbox: SpotifySandbox, store: Store, manual_clock: ManualClock
) -> Tenancy:
    return Tenancy(spotify_sandbox, open_vault(store), manual_clock, public=request.param == "public")


def test_users_consent_and_their_tokens_last_for_six_months(tenancy: Tenancy) -> None:
    users = [tenancy.connect(user_id).user_id for user_id in tenancy.sandbox.users[:2]]
    assert len(set(users)) == 2
    for _ in range(5):
        for user in users:
            assert tenancy.reads(asyncio.run(tenancy.tokens(user).token())) == 200
        tenancy.clock.move(timedelta(days=30).total_seconds())
    counts = tenancy.sandbox.counts()
    assert counts.rotated_reuse == 0
    assert counts.token_requests == 2 + 2 * 4  # a consent each, and a refresh a month
    tenancy.clock.move(timedelta(days=35).total_seconds())
    for user in users:
        with pytest.raises(ConsentNeededError, match="six months"):
            asyncio.run(tenancy.tokens(user).token())
    assert tenancy.sandbox.counts().token_requests == 10
    assert tenancy.reads(_connected(tenancy)) == 200


def test_token_that_ends_early_is_replaced_once_for_all(tenancy: Tenancy) -> None:
    user = tenancy.connect(tenancy.sandbox.users[0]).user_id

    async def refused() -> SecretStr:
        tokens = tenancy.tokens(user)
        old = await tokens.token()
        tenancy.sandbox.expire(old.get_secret_value())
        assert tenancy.reads(old) == 401
        found = await asyncio.gather(*(tokens.rejected(old) for _ in range(8)))
        assert len({token.get_secret_value() for token in found}) == 1
        return found[0]

    assert tenancy.reads(asyncio.run(refused())) == 200
    assert tenancy.sandbox.counts().token_requests == 2


def test_consent_that_is_taken_back_is_noticed_once(tenancy: Tenancy) -> None:
    user = tenancy.connect(tenancy.sandbox.users[0]).user_id
    stored = tenancy.vault.read(TokenOwner("aurora", user))
    assert stored is not None
    assert stored.refresh_token is not None
    tenancy.sandbox.revoke(stored.refresh_token.get_secret_value())
    tenancy.clock.move(3600)
    for _ in range(3):
        with pytest.raises(ConsentNeededError, match="revoked, replaced or too old"):
            asyncio.run(tenancy.tokens(user).token())
    assert tenancy.sandbox.counts().token_requests == 2


def _connected(tenancy: Tenancy) -> SecretStr:
    user = tenancy.connect(tenancy.sandbox.users[0]).user_id
    return asyncio.run(tenancy.tokens(user).token())
