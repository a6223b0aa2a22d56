"""The client against the sandbox, a judge that knows nothing of it: every fault, limits, modes, lists that change."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import CollectorsError, SpotifyPutOffError, SpotifyUnavailableInModeError
from collectors_dagster.integrations.spotify.client import SpotifyClient
from collectors_dagster.integrations.spotify.consistency import ConsistentRead, list_read, playlist_read
from collectors_dagster.integrations.spotify.paging import Page
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.window_limiter import WindowPolicy
from collectors_dagster.sandbox import Fault, PlaylistChange, RateLimit, SandboxOptions
from collectors_dagster.sandbox.options import WorldOptions
from tests.support.spotify import SpotifySandbox, running_spotify_sandbox
from tests.support.spotify_clients import Bytes, RememberedHere, Tokens, client_of

WORLD = WorldOptions(artists=600, large_playlist_items=430)
UNLIMITED = SandboxOptions(limit=None, world=WORLD)


@pytest.fixture
def sandbox(manual_clock: ManualClock) -> Iterator[SpotifySandbox]:
    with running_spotify_sandbox(UNLIMITED, clock=manual_clock) as running:
        yield running


class SandboxTokens(Tokens):
    """Tokens that the sandbox grants anew when one has expired."""

    def __init__(self, sandbox: SpotifySandbox, user_id: str | None = None, app: int = 0) -> None:
        self._sandbox, self._user, self._app = sandbox, user_id, sandbox.apps[app]
        super().__init__(self._app.account, sandbox.token(user_id, app=self._app))

    async def rejected(self, token: Any) -> Any:
        if token.get_secret_value() == self.current:
            self.refreshed += 1
            self.current = await asyncio.to_thread(self._sandbox.token, self._user, app=self._app)
        return await self.token()


def client(sandbox: SpotifySandbox, user_id: str | None = None, *, limit: int = 1000, **others: Any) -> Any:
    clock = others.pop("clock", sandbox.clock)
    options = {"window": WindowPolicy(30.0, limit), **others.pop("options", {})}
    tokens = others.pop("tokens", None) or SandboxTokens(sandbox, user_id)
    return client_of(sandbox.api_url, clock=clock, tokens=tokens, options=options, **others)


async def items_of(read: ConsistentRead) -> tuple[list[str], int]:
    """Return the uris of a list as a store would keep them, and how many pages came."""
    kept: dict[int, Page] = {}
    came = 0
    async for page in read:
        came += 1
        kept[page.offset] = page
    assert read.verdict is not None
    uris = [uri_of(item) for offset in sorted(kept) for item in kept[offset].items]
    return uris[: read.verdict.total], came


def uri_of(item: dict[str, Any] | None) -> str:
    track = (item or {}).get("item") or (item or {}).get("track") or {}
    return str(track.get("uri"))


async def true_items(sandbox: SpotifySandbox, playlist: str) -> list[str]:
    """Return a playlist as it is now, read at leisure."""
    async with client(sandbox, sandbox.users[0]) as quiet:
        pages = [page async for page in quiet.pages(f"playlists/{playlist}/items", limit=50)]
    return [uri_of(item) for page in pages for item in page.items]


FAULTS = [
    Fault("status", status=500, times=3),
    Fault("status", status=502, body="<html>", times=2),
    Fault("status", status=503, headers={"Retry-After": "2"}),
    Fault("reset", times=2),
    Fault("reset_midway"),
    Fault("short_body", times=2),
    Fault("truncated_json", times=2),
    Fault("empty"),
    Fault("html"),
    Fault("bad_utf8"),
    Fault("not_an_object"),
    Fault("drip", bytes_per_second=2000.0),
    Fault("hang"),
    Fault("hang_midway"),
    Fault("retry_after", retry_after="3"),
    Fault("retry_after", retry_after="0"),
    Fault("retry_after", retry_after="soon"),
    Fault("retry_after", retry_after="-1"),
    Fault("retry_after", retry_after="2.5"),
    Fault("retry_after", retry_after=None),
    Fault("text_429"),
    Fault("expired"),
    Fault("nulls", count=0),
    Fault("next", value="elsewhere"),  # not followed
    Fault("edit", edits={"/items": None}),
    Fault("edit", edits={"/unknown": {"new": 1}, "/total": 430}),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}-{fault.retry_after or fault.status}")
def test_a_fault_loses_nothing(fault: Fault, sandbox: SpotifySandbox) -> None:
    playlist = sandbox.large_playlist_id

    async def read() -> tuple[list[str], list[str]]:
        truth = await true_items(sandbox, playlist)
        sandbox.fault(replace(fault, path="/v1/playlists/*/items", after=3))
        in_flight = (
            1 if fault.kind in {"retry_after", "text_429"} else 4
        )  # nothing is under way when the pause is named
        options = {"read_seconds": 3.0, "attempt_seconds": 6.0, "in_flight": in_flight}
        async with client(sandbox, sandbox.users[0], options=options) as asking:
            _, reading = await playlist_read(asking, playlist)
            found, _ = await items_of(reading)
            assert reading.verdict is not None
            assert reading.verdict.stable
        return truth, found

    truth, found = asyncio.run(read())
    assert len(truth) == 430
    assert found == truth
    assert sandbox.counts().during_retry_after == 0


@pytest.mark.parametrize("value", ["foreign", "self", "http", "back"])
def test_a_hostile_next_is_refused(value: str, sandbox: SpotifySandbox) -> None:
    sandbox.fault(Fault("next", path="/v1/playlists/*/items", after=1, value=value))

    async def read() -> None:
        async with client(sandbox, sandbox.users[0]) as asking:
            _, reading = await playlist_read(asking, sandbox.large_playlist_id)
            await items_of(reading)

    with pytest.raises(CollectorsError, match="refused, as its next") as caught:
        asyncio.run(read())
    assert not caught.value.transient
    assert {record.route for record in sandbox.requests() if record.status != 200} <= {
        "GET /v1/playlists/{playlist_id}/items"
    }


def test_a_redirect_is_refused(sandbox: SpotifySandbox) -> None:
    sandbox.fault(Fault("redirect", value="http://127.0.0.1:9/v1/me"))

    async def read() -> None:
        async with client(sandbox, sandbox.users[0]) as asking:
            await asking.get("me")

    with pytest.raises(CollectorsError, match="redirect"):
        asyncio.run(read())


def test_removed_tracks_are_nulls_and_stay_in_their_places(sandbox: SpotifySandbox) -> None:
    sandbox.fault(Fault("nulls", path="/v1/playlists/*/items", after=1, count=3))

    async def read() -> list[Page]:
        async with client(sandbox, sandbox.users[0]) as asking:
            return [page async for page in asking.pages(f"playlists/{sandbox.large_playlist_id}/items", limit=50)]

    pages = asyncio.run(read())
    assert [len(page.items) for page in pages] == [50] * 8 + [30]
    assert [page.items[:4].count(None) for page in pages].count(3) == 1


@pytest.mark.parametrize("kind", ["change", "change_before"])
@pytest.mark.parametrize("after", [0, 2, 8])
def test_a_playlist_that_changes_while_it_is_read_is_read_again(kind: Any, after: int, sandbox: SpotifySandbox) -> None:
    playlist = sandbox.large_playlist_id
    added = sandbox.world.track_ids(3)
    change = PlaylistChange(playlist, remove=[5, 170, 333], move=(400, 2), add=added, at=60)
    sandbox.fault(Fault(kind, path="/v1/playlists/*/items", after=after, change=change))

    async def read() -> list[str]:
        async with client(sandbox, sandbox.users[0]) as asking:
            _, reading = await playlist_read(asking, playlist)
            found, _ = await items_of(reading)
            assert reading.verdict is not None
            assert reading.verdict.stable
            assert 1 <= reading.verdict.rounds <= 3
        assert found == await true_items(sandbox, playlist)
        return found

    assert len(asyncio.run(read())) == 430


def test_a_playlist_that_never_rests_is_said_to_be_unstable(sandbox: SpotifySandbox) -> None:
    playlist = sandbox.large_playlist_id
    restless = PlaylistChange(playlist, move=(0, 200))
    sandbox.fault(Fault("change", path="/v1/playlists/*/items", times=None, change=restless))

    async def read() -> None:
        async with client(sandbox, sandbox.users[0]) as asking:
            _, reading = await playlist_read(asking, playlist)
            await items_of(reading)
            assert reading.verdict is not None
            assert not reading.verdict.stable
            assert "changed while it was read" in str(reading.verdict.reason)

    asyncio.run(read())


def test_an_unchanged_playlist_costs_one_request_and_a_killed_reading_goes_on(sandbox: SpotifySandbox) -> None:
    playlist = sandbox.large_playlist_id

    async def read() -> None:
        async with client(sandbox, sandbox.users[0]) as asking:
            _, reading = await playlist_read(asking, playlist)
            first = [page async for page in _some(reading, 4)]
            position = first[-1].position
            _, again = await playlist_read(asking, playlist, start=position)
            rest = [page async for page in again]
            assert not again.restarted
            assert [page.offset for page in rest] == [200, 250, 300, 350, 400]
            assert again.verdict is not None
            before = asking.usage.requests
            _, unchanged = await playlist_read(asking, playlist, known_version=again.verdict.version)
            assert [page async for page in unchanged] == []
            assert unchanged.verdict is not None
            assert unchanged.verdict.unchanged
            assert asking.usage.requests == before + 1

    asyncio.run(read())


async def _some(reading: ConsistentRead, number: int) -> Any:
    pages = reading.__aiter__()
    for _ in range(number):
        yield await anext(pages)
    await pages.aclose()  # type: ignore[attr-defined]  # an asynchronous generator


def test_a_list_without_versions_is_read_consistently_too(sandbox: SpotifySandbox) -> None:
    async def read() -> None:
        async with client(sandbox, sandbox.users[0]) as asking:
            reading = await list_read(asking, "me/tracks", limit=50)
            pages = [page async for page in reading]
            assert reading.verdict is not None
            assert reading.verdict.stable
            assert sum(len(page.items) for page in pages) == reading.verdict.total
            again = await list_read(asking, "me/tracks", limit=50, known_version=reading.verdict.version)
            assert [page async for page in again] == []

    asyncio.run(read())


@pytest.mark.parametrize(("mode", "number", "first", "later"), [("extended", 500, 10, 10), ("development", 60, 61, 60)])
def test_artists_cost_as_many_requests_as_the_mode_demands(
    mode: Any, number: int, first: int, later: int, manual_clock: ManualClock
) -> None:
    memory, cache = RememberedHere(), Bytes()

    async def read(sandbox: SpotifySandbox, cached: Bytes | None = None) -> SpotifyClient:
        ids = sandbox.world.artist_ids(number)
        async with client(sandbox, memory=memory, cache=cached) as asking:
            found = [(name, each) async for name, each in asking.many("artists", ids)]
            assert [name for name, each in found if each and each["id"] == name] == list(ids)
        assert isinstance(asking, SpotifyClient)
        return asking

    with running_spotify_sandbox(replace(UNLIMITED, mode=mode), clock=manual_clock) as sandbox:
        assert asyncio.run(read(sandbox)).usage.requests == first
        assert asyncio.run(read(sandbox, cache)).usage.requests == later
        fresh = asyncio.run(read(sandbox, cache)).usage
        assert (fresh.requests, fresh.cache_hits) == (0, later)
        manual_clock.move(7200)
        old = asyncio.run(read(sandbox, cache)).usage
        assert old.not_modified == old.requests == later


@pytest.mark.parametrize(("mode", "known"), [("extended", True), ("development", False)])
def test_the_mode_is_found_by_single_requests_once_a_day(mode: Any, known: bool, manual_clock: ManualClock) -> None:  # noqa: FBT001  # a case of the parametrised test
    memory = RememberedHere()

    async def probe(sandbox: SpotifySandbox) -> None:
        async with client(sandbox, memory=memory) as asking:
            profile = await asking.capabilities()
            assert profile.mode == mode
            assert {seen.available for seen in profile.features.values()} == {known}

    with running_spotify_sandbox(replace(UNLIMITED, mode=mode), clock=manual_clock) as sandbox:
        asyncio.run(probe(sandbox))
        assert sandbox.counts().total == 2
        asyncio.run(probe(sandbox))
        assert sandbox.counts().total == 2
        manual_clock.move(86_400)
        asyncio.run(probe(sandbox))
        assert sandbox.counts().total == 4


def test_a_stranger_s_playlist_is_not_available_in_development_mode(manual_clock: ManualClock) -> None:
    async def read(sandbox: SpotifySandbox) -> None:
        own = set(sandbox.playlist_ids(sandbox.users[0], own=True))
        strange = next(each for each in sandbox.playlist_ids(sandbox.users[0]) if each not in own)
        async with client(sandbox, sandbox.users[0]) as asking:
            with pytest.raises(SpotifyUnavailableInModeError, match="not available in this mode"):
                async for _ in asking.pages(f"playlists/{strange}/items", limit=50):
                    pass
            mine = sandbox.playlist_ids(sandbox.users[0], own=True)[0]
            assert [page async for page in asking.pages(f"playlists/{mine}/items", limit=50)]

    with running_spotify_sandbox(replace(UNLIMITED, mode="development"), clock=manual_clock) as sandbox:
        asyncio.run(read(sandbox))


ALONE = {"in_flight": 1}
"""With time by hand: whoever waits for what is under way would move it on while a real request takes none of it."""


async def _ask(asking: SpotifyClient, ids: list[str]) -> None:
    """Ask for artists one by one, as many at once as the client lets."""

    async def one(name: str) -> None:
        assert (await asking.get(f"artists/{name}"))["id"] == name

    await asyncio.gather(*(one(name) for name in ids))


@pytest.mark.parametrize("lockout", [0.0, 20.0])
def test_a_known_limit_is_used_and_never_broken(lockout: float, manual_clock: ManualClock) -> None:
    limit = RateLimit(20, 30.0, lockout_seconds=lockout, escalation_seconds=5.0)

    async def read(sandbox: SpotifySandbox) -> float:
        ids = list(sandbox.world.artist_ids(95))
        async with client(sandbox, limit=20, options=ALONE) as asking:
            began = manual_clock.monotonic()
            await _ask(asking, ids)
            return manual_clock.monotonic() - began

    with running_spotify_sandbox(replace(UNLIMITED, limit=limit), clock=manual_clock) as sandbox:
        assert asyncio.run(read(sandbox)) <= 1.01 * 4 * 30
        assert sandbox.counts().by_status == {200: 95}


@pytest.mark.parametrize("lockout", [0.0, 20.0])
def test_an_unknown_limit_is_found_with_one_refusal_and_remembered(lockout: float, manual_clock: ManualClock) -> None:
    limit = RateLimit(20, 30.0, lockout_seconds=lockout, escalation_seconds=5.0)
    memory, store = RememberedHere(), MemoryStore(manual_clock)

    async def read(sandbox: SpotifySandbox, number: int, store: MemoryStore) -> float:
        ids = list(sandbox.world.artist_ids(number))
        began = manual_clock.monotonic()
        async with client(sandbox, limit=0, memory=memory, store=store, options=ALONE) as asking:
            await _ask(asking, ids)
            assert (await asking.status()).knowledge.limit == 20
        return manual_clock.monotonic() - began

    with running_spotify_sandbox(replace(UNLIMITED, limit=limit), clock=manual_clock) as sandbox:
        assert asyncio.run(read(sandbox, 95, store)) <= 1.3 * 4 * 30
        assert sandbox.counts().by_status == {200: 95, 429: 1}
        assert sandbox.counts().during_retry_after == 0
        manual_clock.move(31)
        assert asyncio.run(read(sandbox, 95, store)) <= 1.01 * 4 * 30
        manual_clock.move(31)
        assert asyncio.run(read(sandbox, 95, MemoryStore(manual_clock))) <= 1.01 * 4 * 30  # Redis was emptied
        assert sandbox.counts().by_status == {200: 3 * 95, 429: 1}


def test_a_limit_that_falls_is_followed(manual_clock: ManualClock) -> None:
    async def read(sandbox: SpotifySandbox) -> int:
        ids = list(sandbox.world.artist_ids(120))
        async with client(sandbox, limit=0, options=ALONE) as asking:
            await _ask(asking, ids[:50])
            sandbox.set_limit(RateLimit(16, 30.0))
            manual_clock.move(60)
            await _ask(asking, ids)
            limit: int = (await asking.status()).knowledge.limit
            return limit

    with running_spotify_sandbox(replace(UNLIMITED, limit=RateLimit(20, 30.0)), clock=manual_clock) as sandbox:
        assert asyncio.run(read(sandbox)) == 16
        assert sandbox.counts().by_status[200] == 170
        assert sandbox.counts().during_retry_after == 0


@pytest.mark.parametrize(("reason", "seconds"), [("rate", 3600.0), ("QUOTA_EXCEEDED", 40_000.0)])
def test_a_ban_ends_the_run_at_once_and_harms_no_other_account(
    reason: str, seconds: float, manual_clock: ManualClock
) -> None:
    store, memory = MemoryStore(manual_clock), RememberedHere()

    async def read(sandbox: SpotifySandbox) -> SpotifyPutOffError:
        other = SandboxTokens(sandbox, app=2)
        async with (
            client(sandbox, store=store, memory=memory, options=ALONE) as asking,
            client(sandbox, store=store, memory=memory, tokens=other, tenant="other", options=ALONE) as unharmed,
            client(sandbox, store=store, memory=memory, tokens=SandboxTokens(sandbox, app=1), tenant="third") as shared,
        ):
            began = manual_clock.monotonic()
            with pytest.raises(SpotifyPutOffError) as caught:
                await _ask(asking, list(sandbox.world.artist_ids(20)))
            assert manual_clock.monotonic() - began < 2
            with pytest.raises(SpotifyPutOffError):
                await shared.get("artists/" + sandbox.world.artist_ids(1)[0])
            await _ask(unharmed, list(sandbox.world.artist_ids(20)))
        return caught.value

    with running_spotify_sandbox(UNLIMITED, clock=manual_clock) as sandbox:
        sandbox.ban(seconds, reason)
        error = asyncio.run(read(sandbox))
        assert abs(error.until - manual_clock.now() - timedelta(seconds=seconds)) < timedelta(seconds=2)
        assert error.reason == ("quota" if reason == "QUOTA_EXCEEDED" else "rate")
        assert sandbox.counts().during_retry_after == 0


def test_no_token_is_logged_whatever_happens(sandbox: SpotifySandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = SandboxTokens(sandbox, sandbox.users[0])
    kinds: list[Any] = ["status", "reset", "short_body", "html", "expired", "text_429", "redirect"]

    async def read() -> list[str]:
        seen = []
        for kind in kinds:
            sandbox.fault(Fault(kind, times=1, value="http://127.0.0.1:9/"))
            async with client(sandbox, tokens=tokens, options={"attempts": 1}) as asking:
                try:
                    await asking.get("me")
                except CollectorsError as error:
                    seen += [repr(error), str(error), repr(error.__cause__), repr(error.__context__)]
        return seen

    before = tokens.current
    said = "".join(asyncio.run(read())) + caplog.text
    assert before not in said
    assert tokens.current not in said
