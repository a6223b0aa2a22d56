"""Pulls in tests: a tenant, its users and the sandbox, put together as a run does it."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import SecretStr

from collectors_dagster.clock import ManualClock
from collectors_dagster.collectors.spotify.opening import Opener
from collectors_dagster.collectors.spotify.pulling import Progress, unheard
from collectors_dagster.collectors.spotify.runner import Outcome, Puller
from collectors_dagster.config import Settings, load_settings
from collectors_dagster.integrations.spotify.oauth.answers import TokenAnswer
from collectors_dagster.integrations.spotify.oauth.opening import open_connecting
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.sandbox import SandboxApp
from collectors_dagster.strategies.spotify_datasets import DATASETS
from collectors_dagster.tenants import SpotifySource, Tenant
from tests.support.spotify import SpotifySandbox

KEY = base64.b64encode(bytes(range(32))).decode()
LISTENER = Tenant("aurora", "Aurora", spotify=SpotifySource(enabled=True, max_artists=40))


def spotify_settings(sandbox: SpotifySandbox, **spotify: Any) -> Settings:
    """Return settings that take the sandbox for Spotify."""
    ours = {
        "client_id": sandbox.app.client_id,
        "client_secret": sandbox.app.client_secret,
        "accounts_url": sandbox.accounts_url,
        "api_url": sandbox.api_url,
        "token_keys": KEY,
    }
    return load_settings(spotify={**ours, **spotify})


@dataclass
class Listening:
    """A tenant whose users are connected to the sandbox."""

    sandbox: SpotifySandbox
    store: Store
    clock: ManualClock
    settings: Settings
    tenant: Tenant = LISTENER
    shared: MemoryStore = field(init=False)

    def __post_init__(self) -> None:
        self.shared = MemoryStore(self.clock)

    def connect(self, user_id: str, tenant: Tenant | None = None, app: SandboxApp | None = None) -> str:
        """Connect a user as `collectors spotify connect` does; return its id."""
        of = tenant or self.tenant
        self.store.tenants.introduce(of)
        reply = self.sandbox.grant(user_id, self.settings.spotify.scopes, pkce=False, app=app)
        answer = TokenAnswer(SecretStr(reply.access_token), 3600.0, SecretStr(reply.refresh_token or ""))
        connecting = open_connecting(self.settings, of, store=self.store, clock=self.clock, random=lambda: 0.5)
        return connecting.store(user_id, answer, self.clock.now()).user_id

    def puller(self, *, whole: bool = False, progress: Progress = unheard, tenant: Tenant | None = None) -> Puller:
        """Return what a run makes for the tenant."""
        return Puller(
            tenant=tenant or self.tenant,
            store=self.store,
            opening=Opener(self.settings, self.store, self.shared, self.clock),
            clock=self.clock,
            day=self.clock.now().date(),
            partition=self.tenant.id,
            whole=whole,
            progress=progress,
        )

    def pull(self, *datasets: str, whole: bool = False, progress: Progress = unheard) -> Outcome:
        """Pull datasets one after the other; return the last one's first outcome."""
        return self.pull_all(datasets, whole=whole, progress=progress)[0]

    def pull_all(self, datasets: Sequence[str], *, whole: bool = False, progress: Progress = unheard) -> list[Outcome]:
        """Pull datasets one after the other; return the last one's outcomes."""
        outcomes: list[Outcome] = []
        for name in datasets:
            outcomes = asyncio.run(self.puller(whole=whole, progress=progress).pull(DATASETS[name]))
        return outcomes

    def limited_to(self, **spotify: Any) -> None:
        """Change the tenant's section."""
        self.tenant = replace(self.tenant, spotify=replace(self.tenant.spotify, **spotify))
