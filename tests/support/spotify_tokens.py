"""Vault, endpoint and renewals of a test's own."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from collectors_dagster.clock import Clock, SystemClock
from collectors_dagster.config.spotify import SpotifyApplication
from collectors_dagster.integrations.spotify.oauth.endpoint import TokenEndpoint
from collectors_dagster.integrations.spotify.oauth.journal import TokenJournal
from collectors_dagster.integrations.spotify.oauth.renewal import CLAIM_SECONDS, Renewal
from collectors_dagster.integrations.spotify.oauth.sealed_vault import SealedVault
from collectors_dagster.integrations.spotify.oauth.vault import TokenOwner, Tokens, TokenVault
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.patterns import BreakerPolicy, CircuitBreaker, failed_if_transient
from collectors_dagster.security.sealing import Sealer
from tests.support.store_data import AURORA, BOREALIS
from tests.support.token_server import CLIENT_ID, CLIENT_SECRET, USER, TokenServer

KEY = bytes(range(32))
OWNER = TokenOwner("aurora", USER)
APP = TokenOwner("aurora")


def application(url: str, *, secret: str | None = CLIENT_SECRET) -> SpotifyApplication:
    """Return the application that the token server knows."""
    return SpotifyApplication(
        client_id=CLIENT_ID,
        client_secret=SecretStr(secret) if secret else None,
        account=CLIENT_ID,
        accounts_url=url,
        api_url=url,
    )


def open_vault(store: Store, *keys: bytes) -> SealedVault:
    """Return a vault on a store that knows two tenants."""
    store.tenants.sync([AURORA, BOREALIS])
    return SealedVault(store.spotify_accounts, Sealer(keys or (KEY,)))


def connect(
    vault: TokenVault,
    server: TokenServer,
    clock: Clock,
    owner: TokenOwner = OWNER,
    *,
    left_seconds: float = 0.0,
    client_id: str = CLIENT_ID,
) -> Tokens:
    """Store a consent as of now, whose access token lives for so long yet."""
    now = clock.now()
    tokens = Tokens(
        access_token=SecretStr(server.new_access_token()),
        issued_at=now - timedelta(seconds=3600 - left_seconds),
        expires_at=now + timedelta(seconds=left_seconds),
        refresh_token=SecretStr(server.new_refresh_token()),
        scopes=("user-library-read",),
    )
    vault.consent(owner, client_id, tokens, ("user-library-read",), now)
    return tokens


def renewal(
    vault: TokenVault,
    url: str,
    owner: TokenOwner = OWNER,
    *,
    clock: Clock | None = None,
    client_id: str = CLIENT_ID,
    secret: str | None = CLIENT_SECRET,
    timeout_seconds: float = 10.0,
    claim_seconds: float = CLAIM_SECONDS,
    draw: Callable[[], float] = random.random,
    failures: int = 1000,
    journal: Path | None = None,
) -> Renewal:
    """Return a renewal as a process has one; its breaker opens after so many failures."""
    clock = clock or SystemClock()
    return Renewal(
        owner,
        client_id,
        vault=vault,
        endpoint=TokenEndpoint(application(url, secret=secret), clock, timeout_seconds=timeout_seconds),
        breaker=CircuitBreaker(
            "accounts",
            BreakerPolicy(failure_threshold=failures, recovery_seconds=30),
            classify=failed_if_transient,
            clock=clock,
        ),
        clock=clock,
        random=draw,
        claim_seconds=claim_seconds,
        journal=None if journal is None else TokenJournal(journal, Sealer([KEY])),
    )
