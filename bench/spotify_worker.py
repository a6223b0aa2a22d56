"""One pull in a fresh process, by our client or by a peer's: says what came, how long it took and what it cost."""

import asyncio
import json
import random
import resource
import sys
import time
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import structlog
from pydantic import SecretStr

PATIENCE_SECONDS = 120.0


class OneToken:
    """A token that needs no renewal."""

    def __init__(self, account: str, token: str) -> None:
        self.account = account
        self._token = SecretStr(token)

    async def token(self) -> SecretStr:
        """Return it."""
        return self._token

    async def rejected(self, token: SecretStr) -> SecretStr:
        """Return it again: the request fails."""
        return self._token


class Kept:
    """A cache in a file's place: this process only."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        """Return what was set."""
        return self._kept.get(key)

    async def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep it."""
        self._kept[key] = value


async def ours(told: dict[str, Any]) -> dict[str, Any]:
    """Pull with our client."""
    from collectors_dagster.clock import SystemClock
    from collectors_dagster.config.redis_address import parse_address
    from collectors_dagster.errors import SpotifyPutOffError
    from collectors_dagster.integrations.redis import RedisStore
    from collectors_dagster.integrations.redis.links import LinkOptions
    from collectors_dagster.integrations.spotify.client import SpotifyClient
    from collectors_dagster.integrations.spotify.consistency import playlist_read
    from collectors_dagster.integrations.spotify.options import ClientOptions
    from collectors_dagster.patterns.window_limiter import WindowPolicy

    found: dict[str, Any] = {"items": 0}
    with ExitStack() as open_:
        patient = LinkOptions(connect_seconds=2.0, answer_seconds=2.0)
        store = open_.enter_context(RedisStore(parse_address(told["redis"]), prefix=told["prefix"], options=patient))
        options = ClientOptions(
            api_url=told["api_url"],
            window=WindowPolicy(told["window"], told["limit"]),
            attempts=told.get("attempts", 5),
        )
        client = SpotifyClient(
            OneToken(told["account"], told["token"]),
            tenant="bench",
            clock=SystemClock(),
            random=random.random,
            store=store,
            options=options,
            cache=None if "playlist" in told else Kept(),  # as in a pull: lists of users are not kept
        )
        ready()
        began = time.monotonic()
        async with client:
            try:
                if "playlist" in told:
                    _, read = await playlist_read(client, told["playlist"])
                    async for page in read:
                        found["items"] += len(page.items)
                    assert read.verdict is not None
                    found["stable"] = read.verdict.stable
                    before = client.usage.requests
                    _, again = await playlist_read(client, told["playlist"], known_version=read.verdict.version)
                    async for page in again:
                        found["items"] += len(page.items)
                    found["unchanged_requests"] = client.usage.requests - before
                elif told.get("many"):
                    found["items"] = len([name async for name, each in client.many("artists", told["ids"]) if each])
                    before = client.usage.requests
                    found["again"] = len([name async for name, each in client.many("artists", told["ids"]) if each])
                    found["again_requests"] = client.usage.requests - before
                else:
                    answers = await asyncio.gather(*(client.get(f"artists/{name}") for name in told["ids"]))
                    found["items"] = len([answer for answer in answers if answer["id"] in told["ids"]])
            except SpotifyPutOffError as error:
                found["put_off"] = error.reason
        found["seconds"] = time.monotonic() - began
        found["usage"] = client.usage.as_dict()
    return found


def with_spotipy(told: dict[str, Any]) -> dict[str, Any]:
    """Pull as spotipy's manual shows it."""
    client = import_module("spotipy").Spotify(auth=told["token"])
    client.prefix = told["api_url"] + "/"
    ready()
    began = time.monotonic()
    items = 0
    if "playlist" in told:
        page = client._get(f"playlists/{told['playlist']}/items", limit=50)  # noqa: SLF001 - it has no method for it yet
        while page:
            items += len(page["items"])
            page = client.next(page) if page["next"] else None
    else:
        items = len([1 for name in told["ids"] if client.artist(name)])
    return {"items": items, "seconds": time.monotonic() - began}


async def with_tekore(told: dict[str, Any]) -> dict[str, Any]:
    """Pull with tekore's asynchronous client that repeats."""
    tekore: Any = import_module("tekore")
    base: Any = import_module("tekore._client.base")
    base.prefix = told["api_url"] + "/"  # it knows no other address
    sender = tekore.RetryingSender(retries=100, sender=tekore.AsyncSender())
    client = tekore.Spotify(told["token"], sender=sender, asynchronous=True)
    ready()
    began = time.monotonic()
    places = asyncio.Semaphore(8)

    async def one(name: str) -> int:
        async with places:
            return int((await client.artist(name)).id == name)

    items = 0
    if "playlist" in told:
        first = await client.playlist_items(told["playlist"], limit=50)
        async for page in client.all_pages(first):
            items += len(page.items)
    else:
        items = sum(await asyncio.gather(*(one(name) for name in told["ids"])))
    return {"items": items, "seconds": time.monotonic() - began}


async def bare(told: dict[str, Any]) -> dict[str, Any]:
    """Read a playlist's pages, eight at once, and make sure of nothing: the floor."""
    import httpx

    places = asyncio.Semaphore(8)
    url = f"{told['api_url']}/playlists/{told['playlist']}/items"
    headers = {"Authorization": f"Bearer {told['token']}"}
    ready()
    async with httpx.AsyncClient() as client:

        async def one(offset: int) -> int:
            async with places:
                answer = await client.get(url, params={"limit": 50, "offset": offset}, headers=headers)
                return len(answer.json()["items"])

        return {"items": sum(await asyncio.gather(*(one(offset) for offset in range(0, told["total"], 50))))}


BEGAN: list[float] = []


def ready() -> None:
    """Say that all is loaded, and wait for the others."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    BEGAN.append(time.process_time())


def main() -> None:
    """Pull once."""
    told = json.loads(sys.argv[1])
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the answer's
    try:
        if told["client"] == "spotipy":
            found = with_spotipy(told)
        else:
            found = asyncio.run({"ours": ours, "tekore": with_tekore, "bare": bare}[told["client"]](told))
    except Exception as error:  # noqa: BLE001 - a peer's failure is a result
        found = {"items": 0, "seconds": PATIENCE_SECONDS, "error": f"{type(error).__name__}: {error}"[:200]}
    found["cpu_seconds"] = time.process_time() - BEGAN[0]
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
