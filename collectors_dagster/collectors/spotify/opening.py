"""Clients for pulls: the tenant's application and tokens, the shared quota, what was learned before."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectors_dagster.clock import AsyncClock
from collectors_dagster.config import Settings
from collectors_dagster.tenants import Tenant

if TYPE_CHECKING:
    from collectors_dagster.integrations.spotify.client import SpotifyClient
    from collectors_dagster.integrations.spotify.kept_replies import KeptReplies
    from collectors_dagster.integrations.timescale import Store
    from collectors_dagster.patterns.shared_state import SharedStore

_RANDOM = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens a client per tenant and user; nothing is connected before its first request.

    Attributes
    ----------
    shared : SharedStore
        Where all processes keep limits and bans.
    """

    settings: Settings
    store: "Store"
    shared: "SharedStore"
    clock: AsyncClock

    def __call__(self, tenant: Tenant, user_id: str | None, *, urgent: bool) -> "SpotifyClient":
        """Return a client that the caller enters; without a user it sees the catalogue only.

        Raises
        ------
        ConfigurationError
            If the tenant has no application, or its secret is not where its file says.
        """
        from collectors_dagster.config.spotify import spotify_application  # noqa: PLC0415 - pydantic
        from collectors_dagster.integrations.spotify.client import SpotifyClient  # noqa: PLC0415  # httpx
        from collectors_dagster.integrations.spotify.oauth.opening import open_tokens  # noqa: PLC0415  # httpx
        from collectors_dagster.integrations.spotify.options import client_options  # noqa: PLC0415  # loaded with the first pull

        application = spotify_application(self.settings, tenant)
        whose = user_id if user_id or application.client_secret else self._somebody(tenant)
        tokens = open_tokens(
            *(self.settings, tenant, whose),
            store=self.store,
            shared=self.shared,
            clock=self.clock,
            random=_RANDOM.random,
        )
        return SpotifyClient(
            tokens,
            tenant=tenant.id,
            clock=self.clock,
            random=_RANDOM.random,
            store=self.shared,
            user=f"user:{whose}" if whose else "app",
            options=client_options(self.settings.spotify, api_url=application.api_url),
            memory=self.store.spotify.memory,
            cache=None if whose else self._replies(tenant),
            urgent=urgent,
        )

    def _replies(self, tenant: Tenant) -> "KeptReplies":
        from collectors_dagster.integrations.spotify.kept_replies import KeptReplies  # noqa: PLC0415  # loaded with the first pull
        from collectors_dagster.patterns.byte_cache import ByteCache  # noqa: PLC0415  # loaded with the first pull
        from collectors_dagster.patterns.cache_policy import cache_limits  # noqa: PLC0415  # loaded with the first pull
        from collectors_dagster.patterns.metrics import process_metrics  # noqa: PLC0415  # loaded with the first pull

        limits = cache_limits(self.settings.patterns.cache)
        cache = ByteCache(
            "spotify",
            store=self.shared,
            clock=self.clock,
            tenant=tenant.id,
            limits=limits,
            metrics=process_metrics(),
        )
        return KeptReplies(cache)

    def _somebody(self, tenant: Tenant) -> str | None:
        """Return a user who can be asked in the place of an application that has no secret, and so no tokens."""
        accounts = self.store.spotify_accounts.of_tenant(tenant.id)
        return next((account.user_id for account in accounts if not account.needs_consent), None)
