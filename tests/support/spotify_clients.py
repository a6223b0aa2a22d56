"""Spotify clients against a server of a test's, with all time by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from collectors_dagster.clock import AsyncClock, ManualClock
from collectors_dagster.integrations.spotify.client import SpotifyClient
from collectors_dagster.integrations.spotify.memory import JsonObject
from collectors_dagster.integrations.spotify.options import ClientOptions
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.shared_state import SharedStore
from collectors_dagster.patterns.window_limiter import WindowPolicy

TOKEN = "token-that-nobody-may-see"


class Tokens:
    """One access token after the other."""

    def __init__(self, account: str = "account", first: str = TOKEN) -> None:
        self.account = account
        self.current = first
        self.refreshed = 0

    async def token(self) -> SecretStr:
        return SecretStr(self.current)

    async def rejected(self, token: SecretStr) -> SecretStr:
        if token.get_secret_value() == self.current:
            self.refreshed += 1
            self.current = f"{TOKEN}-{self.refreshed}"
        return SecretStr(self.current)


class RememberedHere:
    """A client's memory, as a database would keep it."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], JsonObject] = {}

    def load(self, kind: str, name: str) -> JsonObject | None:
        return self.documents.get((kind, name))

    def save(self, kind: str, name: str, document: JsonObject) -> None:
        self.documents[kind, name] = document


class Bytes:
    """A cache that never forgets."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        self.kept[key] = value


@asynccontextmanager
async def client_of(
    url: str, *, clock: AsyncClock | None = None, store: SharedStore | None = None, **others: Any
) -> AsyncIterator[SpotifyClient]:
    """Yield a client; by default it asks for as much as it likes, and waits by hand."""
    clock = clock or ManualClock()
    settings = {"window": WindowPolicy(30.0, limit=1000), "read_seconds": 2.0, **others.pop("options", {})}
    client = SpotifyClient(
        others.pop("tokens", None) or Tokens(),
        tenant=others.pop("tenant", "acme"),
        clock=clock,
        random=lambda: 0.5,
        store=store or MemoryStore(clock),
        options=ClientOptions(api_url=url, **settings),
        **others,
    )
    async with client:
        yield client
