"""Which application a tenant uses at Spotify: its own, or the deployment's."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import SecretStr

from collectors_dagster.config.settings import Settings
from collectors_dagster.config.tenants import secret_behind, shown_tenant_path
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.tenants import Tenant


@dataclass(frozen=True, slots=True)
class SpotifyApplication:
    """An application, and the service it is registered with.

    Attributes
    ----------
    client_secret : SecretStr or None
        None: a public client, which only users' consent (with PKCE) gives access.
    account : str
        Developer account whose quota is used: all tenants with the same one share it.
    accounts_url, api_url : str
        Without a slash at the end.
    sandbox : bool
        Whether it is the local sandbox, whose data are invented.
    """

    client_id: str
    client_secret: SecretStr | None
    account: str
    accounts_url: str
    api_url: str
    sandbox: bool = False


SANDBOX_CLIENT_ID = "5a4db0c5000000000000000000000001"
SANDBOX_CLIENT_SECRET = "5a4db0c55a4db0c55a4db0c55a4db0c5"  # noqa: S105  # opens nothing but invented data on this machine
SANDBOX_ACCOUNT = "sandbox-developer"


def uses_sandbox(tenants: Iterable[Tenant]) -> bool:
    """Return whether somebody's Spotify is the sandbox."""
    return any(tenant.spotify.sandbox for tenant in tenants)


def quota_account(settings: Settings, tenant: Tenant) -> str:
    """Return the name of the developer account whose quota a tenant uses; reads no secret and refuses nothing."""
    if tenant.spotify.sandbox:
        return SANDBOX_ACCOUNT
    return tenant.spotify.account or tenant.spotify.client_id or settings.spotify.client_id or "none"


def spotify_application(settings: Settings, tenant: Tenant) -> SpotifyApplication:
    """Return the application of a tenant.

    Raises
    ------
    ConfigurationError
        If there is none, or its secret is not where the tenant's file says.
    """
    own = tenant.spotify
    if own.sandbox:
        return _sandbox(settings)
    client_id = own.client_id or settings.spotify.client_id
    if client_id is None:
        raise ConfigurationError(
            f"tenant {tenant.id}: there is no Spotify application: set spotify.client_id (SPOTIFY_CLIENT_ID), or "
            f"sources.spotify.client_id in {shown_tenant_path(settings, tenant.id)}"
        )
    return SpotifyApplication(
        client_id=client_id,
        client_secret=_own_secret(settings, tenant) if own.client_id else settings.spotify.client_secret,
        account=own.account or client_id,
        accounts_url=settings.spotify.accounts_url,
        api_url=settings.spotify.api_url,
    )


def _sandbox(settings: Settings) -> SpotifyApplication:
    """Return the application that every sandbox knows; the tenant's own would be unknown there."""
    return SpotifyApplication(
        client_id=SANDBOX_CLIENT_ID,
        client_secret=SecretStr(SANDBOX_CLIENT_SECRET),
        account=SANDBOX_ACCOUNT,
        accounts_url=settings.spotify_sandbox_url,
        api_url=f"{settings.spotify_sandbox_url}/v1",
        sandbox=True,
    )


def _own_secret(settings: Settings, tenant: Tenant) -> SecretStr | None:
    if tenant.spotify.client_secret is None:
        return None
    try:
        return SecretStr(secret_behind(tenant.spotify.client_secret, settings))
    except ConfigurationError as error:
        shown = shown_tenant_path(settings, tenant.id)
        raise ConfigurationError(f"{shown}: sources.spotify.client_secret: {error}") from None
