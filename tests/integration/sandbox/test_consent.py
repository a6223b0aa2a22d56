"""The sample tenants' users consent by themselves, once, through the real dance; nobody does for the real service."""

import base64
from collections.abc import Iterator

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.config.spotify import (
    SANDBOX_ACCOUNT,
    SANDBOX_CLIENT_ID,
    SANDBOX_CLIENT_SECRET,
    quota_account,
    spotify_application,
)
from collectors_dagster.errors import SecurityError, ServiceUnreachableError
from collectors_dagster.integrations.spotify.oauth.connecting import Connected
from collectors_dagster.integrations.spotify.oauth.sandbox_consent import connect_sandbox_users
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.integrations.timescale.spotify_accounts import TokenOwner
from collectors_dagster.sandbox import SandboxApp
from collectors_dagster.tenants import SpotifySource, Tenant
from tests.support.postgres import free_port
from tests.support.spotify import SpotifySandbox, running_spotify_sandbox

AURORA = Tenant("aurora", "Aurora", spotify=SpotifySource(sandbox=True, client_id="f" * 32, account="of-its-own"))
BOREALIS = Tenant("borealis", "Borealis", spotify=SpotifySource(sandbox=True))
REAL = Tenant("real", "Real", spotify=SpotifySource(client_id="f" * 32))


@pytest.fixture
def settings() -> Settings:
    key = base64.b64encode(bytes(range(32))).decode()
    return load_settings(ports={"spotify_sandbox": free_port()}, spotify={"token_keys": key})


@pytest.fixture
def sandbox(settings: Settings, manual_clock: ManualClock) -> Iterator[SpotifySandbox]:
    with running_spotify_sandbox(clock=manual_clock, port=settings.ports.spotify_sandbox) as running:
        yield running


def connect(settings: Settings, tenant: Tenant, place: int, store: Store, clock: ManualClock) -> list[Connected]:
    return list(connect_sandbox_users(settings, tenant, place, store=store, clock=clock, random=lambda: 0.5))


def test_each_tenant_gets_users_of_its_own_once(
    sandbox: SpotifySandbox, settings: Settings, store: Store, manual_clock: ManualClock
) -> None:
    first = connect(settings, AURORA, 0, store, manual_clock)
    second = connect(settings, BOREALIS, 1, store, manual_clock)
    found = {each.user_id for each in (*first, *second)}
    assert (len(first), len(second), len(found)) == (2, 2, 4)
    assert all(each.missing == () for each in first)
    assert {each.user_id for each in store.spotify_accounts.of_tenant("aurora")} == {each.user_id for each in first}
    asked = sandbox.counts().total
    assert connect(settings, AURORA, 0, store, manual_clock) == []
    assert sandbox.counts().total == asked


def test_users_whose_consents_are_gone_consent_again(
    sandbox: SpotifySandbox, settings: Settings, store: Store, manual_clock: ManualClock
) -> None:
    first = connect(settings, AURORA, 0, store, manual_clock)
    for each in first:
        owner = TokenOwner("aurora", each.user_id)
        account = store.spotify_accounts.read(owner)
        assert account is not None
        assert store.spotify_accounts.expire(owner, account.version, "the sandbox forgot it")
    assert all(account.needs_consent for account in store.spotify_accounts.of_tenant("aurora"))
    again = connect(settings, AURORA, 0, store, manual_clock)
    assert [each.user_id for each in again] == [each.user_id for each in first]
    assert not any(account.needs_consent for account in store.spotify_accounts.of_tenant("aurora"))


def test_nobody_consents_to_the_real_service(settings: Settings, store: Store, manual_clock: ManualClock) -> None:
    with pytest.raises(SecurityError, match="tenant real: its Spotify is not the sandbox"):
        connect(settings, REAL, 0, store, manual_clock)


def test_a_sandbox_that_does_not_run_is_said(settings: Settings, store: Store, manual_clock: ManualClock) -> None:
    with pytest.raises(ServiceUnreachableError):
        connect(settings, AURORA, 0, store, manual_clock)


def test_a_tenant_of_the_sandbox_uses_the_sandboxs_application_and_quota_alone(settings: Settings) -> None:
    application = spotify_application(settings, AURORA)
    assert application.sandbox
    assert application.client_secret is not None
    assert SandboxApp() == SandboxApp(SANDBOX_CLIENT_ID, SANDBOX_CLIENT_SECRET, SANDBOX_ACCOUNT)
    assert application.client_id == SANDBOX_CLIENT_ID
    assert application.client_secret.get_secret_value() == SANDBOX_CLIENT_SECRET
    assert application.accounts_url == settings.spotify_sandbox_url
    assert application.api_url == f"{settings.spotify_sandbox_url}/v1"
    assert quota_account(settings, AURORA) == application.account == SANDBOX_ACCOUNT
    assert quota_account(settings, REAL) == "f" * 32
