"""Putting it together: from the settings to tokens."""

from collections.abc import Callable
from typing import Protocol

from collectors_dagster.clock import Clock
from collectors_dagster.config import Settings
from collectors_dagster.config.spotify import SpotifyApplication, spotify_application
from collectors_dagster.integrations.spotify.oauth.connecting import Connecting
from collectors_dagster.integrations.spotify.oauth.endpoint import TokenEndpoint
from collectors_dagster.integrations.spotify.oauth.journal import TokenJournal
from collectors_dagster.integrations.spotify.oauth.keys import token_sealer
from collectors_dagster.integrations.spotify.oauth.renewal import Renewal
from collectors_dagster.integrations.spotify.oauth.sealed_vault import SealedVault
from collectors_dagster.integrations.spotify.oauth.shared_tokens import SharedTokens
from collectors_dagster.integrations.spotify.oauth.vault import TokenOwner
from collectors_dagster.integrations.spotify.tokens import AccessTokens
from collectors_dagster.integrations.timescale.spotify_accounts import SpotifyAccountTable
from collectors_dagster.patterns import CircuitBreaker, failed_if_transient
from collectors_dagster.patterns.breaker_policy import configured
from collectors_dagster.patterns.shared_state import SharedStore
from collectors_dagster.tenants import Tenant


class HoldsAccounts(Protocol):
    """The store, as far as tokens lie in it."""

    @property
    def spotify_accounts(self) -> SpotifyAccountTable:
        """Accounts and their sealed tokens."""
        ...


def open_tokens(
    settings: Settings,
    tenant: Tenant,
    user_id: str | None,
    *,
    store: HoldsAccounts,
    shared: SharedStore | None,
    clock: Clock,
    random: Callable[[], float],
) -> AccessTokens:
    """Return the access tokens of a connected user of a tenant or, without a user, of its application.

    Parameters
    ----------
    user_id : str or None
        As ``store.spotify_accounts.of_tenant`` tells; None gives a token for the catalogue only.
    shared : SharedStore or None
        Where all processes keep the circuit of the accounts service; None: this process has its own.
    random : callable
        Like ``random.Random().random``: the jitter.

    Raises
    ------
    ConfigurationError
        If the tenant has no application, or tokens cannot be sealed.
    """
    application = spotify_application(settings, tenant)
    sealer = token_sealer(settings)
    renewal = Renewal(
        TokenOwner(tenant.id, user_id or ""),
        application.client_id,
        vault=SealedVault(store.spotify_accounts, sealer),
        endpoint=TokenEndpoint(application, clock),
        breaker=_breaker(settings, application, shared, clock),
        clock=clock,
        random=random,
        journal=TokenJournal(settings.home / "run" / "spotify-tokens", sealer),
    )
    return SharedTokens(renewal, account=application.account, clock=clock)


def open_connecting(
    settings: Settings, tenant: Tenant, *, store: HoldsAccounts, clock: Clock, random: Callable[[], float]
) -> Connecting:
    """Return what connects users to a tenant; raises as :func:`open_tokens`."""
    return Connecting(
        tenant.id,
        spotify_application(settings, tenant),
        settings.spotify.scopes,
        vault=SealedVault(store.spotify_accounts, token_sealer(settings)),
        clock=clock,
        random=random,
    )


def _breaker(
    settings: Settings, application: SpotifyApplication, shared: SharedStore | None, clock: Clock
) -> CircuitBreaker:
    return CircuitBreaker(
        f"spotify-accounts.{application.client_id}",
        configured(settings.patterns.circuit_breaker),
        classify=failed_if_transient,
        clock=clock,
        store=shared,
    )
