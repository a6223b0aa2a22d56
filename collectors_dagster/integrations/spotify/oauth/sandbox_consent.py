"""Connecting users of the local sandbox, who need no browser: for the sample tenants of a fresh stack."""

import json
from collections.abc import Callable, Iterator, Sequence

from collectors_dagster.clock import Clock
from collectors_dagster.config import Settings
from collectors_dagster.config.spotify import SpotifyApplication, spotify_application
from collectors_dagster.errors import SecurityError, UnexpectedResponseError
from collectors_dagster.integrations.spotify.oauth import SERVICE
from collectors_dagster.integrations.spotify.oauth.asking import ask
from collectors_dagster.integrations.spotify.oauth.authorization import ask_for_consent
from collectors_dagster.integrations.spotify.oauth.connecting import Connected
from collectors_dagster.integrations.spotify.oauth.opening import open_connecting
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.tenants import Tenant

USERS_OF_A_TENANT = 2


def connect_sandbox_users(
    settings: Settings, tenant: Tenant, place: int, *, store: Store, clock: Clock, random: Callable[[], float]
) -> Iterator[Connected]:
    """Let the sandbox's users consent for a tenant that has no consent that lives; yield who is connected now.

    Parameters
    ----------
    place : int
        Among the tenants that ask the sandbox: the next one gets the next users.

    Raises
    ------
    SecurityError
        If the tenant asks the real service: nobody consents there but its users.
    IntegrationError
        If the sandbox does not answer as it should; `collectors status` says whether it runs.
    """
    application = spotify_application(settings, tenant)
    if not application.sandbox:
        raise SecurityError(f"tenant {tenant.id}: its Spotify is not the sandbox; use `collectors spotify connect`")
    store.tenants.introduce(tenant)
    if not all(account.needs_consent for account in store.spotify_accounts.of_tenant(tenant.id)):
        return
    connecting = open_connecting(settings, tenant, store=store, clock=clock, random=random)
    users = _users(application)
    for number in range(min(USERS_OF_A_TENANT, len(users))):
        user = users[(place * USERS_OF_A_TENANT + number) % len(users)]
        request = ask_for_consent(application, "http://127.0.0.1/callback", settings.spotify.scopes)
        reply = ask("GET", f"{request.url}&sandbox_user={user}", operation="consent of a sandbox user", headers={})
        yield connecting.redeem(request, request.code(reply.headers.get("location", "?")))


def _users(application: SpotifyApplication) -> Sequence[str]:
    """Return the sandbox's users but for the last, who may not use applications in development mode."""
    reply = ask("GET", f"{application.accounts_url}/sandbox", operation="the sandbox's users", headers={})
    try:
        users = json.loads(reply.body)["users"]
        return [str(user) for user in users[:-1]]
    except (ValueError, KeyError, TypeError) as error:
        text = f"{SERVICE}: {application.accounts_url} is not the sandbox: it does not tell its users"
        raise UnexpectedResponseError(text, service=SERVICE, operation="connect") from error
