"""The client against a real server that misbehaves in every way: complete and correct, put off, or refused."""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import (
    CollectorsError,
    IncompleteResponseError,
    ServiceFailedError,
    SpotifyPutOffError,
    SpotifyRejectedError,
    SpotifyUnavailableInModeError,
    UnexpectedResponseError,
)
from collectors_dagster.integrations.spotify.client import SpotifyClient
from collectors_dagster.integrations.spotify.paging import Position
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.window_limiter import WindowPolicy
from tests.support.scripted_http import Answer, Request, ScriptedServer, always, answer, scripted_server
from tests.support.spotify_clients import TOKEN, Bytes, RememberedHere, Tokens, client_of

TOTAL = 230


def listed(request: Request, base: str, total: int = TOTAL) -> Answer:
    """Answer a page of a list of numbers."""
    offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", 20))
    items = [{"n": number} for number in range(offset, min(offset + limit, total))]
    after = offset + limit
    link = f"{base}/{request.path}?offset={after}&limit={limit}" if after < total else None
    return answer({"items": items, "total": total, "limit": limit, "offset": offset, "next": link})


async def numbers_of(client: SpotifyClient, start: Position | None = None) -> list[int]:
    found = []
    async for page in client.pages("me/tracks", limit=50, start=start):
        found += [item["n"] for item in page.items if item is not None]
    return found


def paged(fault: Callable[[Request, int], Answer | None], **others: Any) -> tuple[list[int], ScriptedServer]:
    """Read the list from a server that spoils answers as `fault` says (request, how often it was asked before)."""
    asked: dict[str, int] = {}

    def script(request: Request) -> Answer:
        page = request.query.get("offset", "0")
        before = asked.get(page, 0)
        asked[page] = before + 1
        return fault(request, before) or listed(request, server.url)

    async def read() -> list[int]:
        async with client_of(server.url, **others) as client:
            return await numbers_of(client)

    with scripted_server(script) as server:
        return asyncio.run(read()), server


def unspoiled(request: Request, before: int) -> None:
    """Spoil nothing."""


def at_100(told: Answer) -> Callable[[Request, int], Answer | None]:
    return lambda request, _: told if request.query.get("offset") == "100" else None


def once(told: Answer) -> Callable[[Request, int], Answer | None]:
    return lambda request, before: told if before == 0 and request.query.get("offset") == "100" else None


def test_all_pages_come_once_and_in_order() -> None:
    found, server = paged(unspoiled)
    assert found == list(range(TOTAL))
    assert len(server.requests) == 5


WHOLE = listed(Request("me/tracks", {"offset": "100", "limit": "50"}, {}), "http://127.0.0.1").body


@pytest.mark.parametrize(
    "spoiled",
    [
        Answer(status=500),
        Answer(status=502, body=b"<html>bad gateway</html>"),
        Answer(status=503, headers={"Retry-After": "3"}),
        Answer(status=408),
        Answer(reset=True),
        Answer(WHOLE, cut=10),
        Answer(WHOLE, cut=0),
        Answer(WHOLE[:100]),
        Answer(b""),
        Answer(b"", headers={"Content-Type": "text/plain"}),
        Answer(b"<html><body>please sign in</body></html>", headers={"Content-Type": "text/html"}),
        Answer(WHOLE, headers={"Content-Type": "text/html"}),
        Answer(b'{"items": null}'),
        Answer(b'{"items": [1, 2]}'),
        Answer(b'["items"]'),
        Answer(b"{}"),
        Answer(b'{"error": {"status": 503, "message": "try again"}, "items": [], "total": 0}'),
        Answer(b"\xff\xfe{}"),
        Answer(b'{"items": [], "total": 230, "limit": 50, "offset": 100, "next": null}'),
        Answer(b'{"items": [{"n": 100}], "total": 230, "limit": 50, "offset": 100, "next": null}'),
        Answer(b'{"items": [], "total": 230, "limit": 50, "offset": 150, "next": null}'),
        Answer(WHOLE, headers={"Content-Encoding": "gzip"}),
        Answer(b"", status=204),
        Answer(b"", status=304),
    ],
)
def test_an_answer_that_is_not_whole_is_asked_for_again(spoiled: Answer) -> None:
    found, server = paged(once(spoiled))
    assert found == list(range(TOTAL))
    assert len(server.requests) == 6


@pytest.mark.parametrize("most", [20, 7])
@pytest.mark.parametrize("first", [0, 50, 150], ids=lambda first: f"from {first}")
@pytest.mark.parametrize("told", [{}, {"limit": None}, {"limit": 50}, {"total": None}, {"limit": None, "total": None}])
def test_pages_that_become_shorter_lose_nothing(told: dict[str, None], first: int, most: int) -> None:
    def fault(request: Request, before: int) -> Answer | None:
        offset, limit = int(request.query.get("offset", 0)), int(request.query["limit"])
        shorter = (
            request if offset < first else replace(request, query={**request.query, "limit": str(min(limit, most))})
        )
        page = json.loads(listed(shorter, f"http://{request.headers['host']}/v1").body)
        return answer({**page, **told} if offset >= first else page)

    found, _ = paged(fault)
    assert found == list(range(TOTAL))


def test_an_artist_that_says_nothing_is_asked_for_again() -> None:
    told = iter([Answer(b"{}"), answer({"error": {"status": 500}}), answer({"id": "1", "name": "One"})])

    async def read() -> Any:
        async with client_of(server.url) as client:
            return await client.get("artists/1")

    with scripted_server(lambda _: next(told)) as server:
        assert asyncio.run(read())["name"] == "One"


def test_a_total_that_denies_what_follows_is_refused() -> None:
    """A list that calls itself at its end, and names a next page: whoever believes the first loses the second."""

    def fault(request: Request, before: int) -> Answer:
        page = json.loads(listed(request, f"http://{request.headers['host']}/v1").body)
        return answer({**page, "total": 100})

    with pytest.raises(IncompleteResponseError, match="ends a list of 100 items, but says that more follows"):
        paged(fault)


def test_a_hanging_answer_is_given_up_and_asked_for_again() -> None:
    found, _ = paged(once(Answer(hang=True)), options={"read_seconds": 0.3})
    assert found == list(range(TOTAL))


def test_an_answer_that_drips_is_given_up_when_its_time_is_over() -> None:
    def script(request: Request) -> Answer:
        return Answer(WHOLE, cut=1, headers={"Content-Length": "99999"}, hang=False)

    async def read() -> None:
        async with client_of(server.url, options={"attempt_seconds": 0.5, "attempts": 1}) as client:
            await client.get("me")

    with scripted_server(script) as server, pytest.raises(CollectorsError):
        asyncio.run(read())


def test_a_page_that_stays_short_is_refused_and_never_taken_for_the_end() -> None:
    short = Answer(b'{"items": [], "total": 230, "limit": 50, "offset": 100, "next": null}')
    with pytest.raises(IncompleteResponseError, match="0 of 50"):
        paged(at_100(short))


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v1/me/tracks?offset=150",
        "http://127.0.0.1.evil.example/v1/me/tracks?offset=150",
        "http://127.0.0.1:1/v1/me/tracks?offset=150",
        "//evil.example/v1/x",
        "SAME/me/tracks?offset=100",
        "SAME/me/tracks?offset=50",
        "SAME/../secret?offset=150",
        "file:///etc/passwd",
        "http://[bad",
    ],
)
def test_a_hostile_next_is_refused_and_never_followed(link: str) -> None:
    def script(request: Request) -> Answer:
        told = listed(request, server.url)
        if request.query.get("offset") != "100":
            return told
        base = server.url if "secret" not in link else server.url.removesuffix("/v1")
        items = [{"n": number} for number in range(100, 150)]
        return answer({"items": items, "total": TOTAL, "limit": 50, "offset": 100, "next": link.replace("SAME", base)})

    async def read() -> list[int]:
        async with client_of(server.url) as client:
            return await numbers_of(client)

    with scripted_server(script) as server, pytest.raises(UnexpectedResponseError, match="refused"):
        asyncio.run(read())
    assert {request.path for request in server.requests} == {"me/tracks"}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused_and_the_token_goes_nowhere(status: int) -> None:
    with scripted_server(always(answer({}))) as elsewhere:
        with pytest.raises(UnexpectedResponseError, match="redirect"):
            paged(always(Answer(status=status, headers={"Location": elsewhere.url + "/me"})))
        assert elsewhere.requests == []


def test_an_expired_token_is_renewed_once_and_the_request_repeated() -> None:
    tokens = Tokens()

    def fault(request: Request, before: int) -> Answer | None:
        stale = request.headers["authorization"] == f"Bearer {TOKEN}"
        return answer({"error": {"status": 401, "message": "The access token expired"}}, 401) if stale else None

    found, _ = paged(fault, tokens=tokens)
    assert found == list(range(TOTAL))
    assert tokens.refreshed == 1


def test_a_token_that_stays_refused_is_an_error_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = {"error": {"status": 401, "message": f"token {TOKEN}-1 is bad"}}
    with pytest.raises(SpotifyRejectedError) as caught:
        paged(always(answer(said, 401)))
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert TOKEN not in "".join(map(repr, chain)) + caplog.text


def test_a_service_that_stays_down_is_told_after_all_attempts() -> None:
    clock = ManualClock()
    with pytest.raises(ServiceFailedError, match="500"):
        paged(always(Answer(status=500)), clock=clock, options={"circuit_failures": 50, "attempts": 3})


def test_an_open_circuit_is_waited_for_and_the_reading_goes_on() -> None:
    down = {"left": 7}

    def fault(request: Request, before: int) -> Answer | None:
        down["left"] -= "offset" in request.query
        return Answer(status=503) if "offset" in request.query and down["left"] >= 0 else None

    found, server = paged(fault)
    assert found == list(range(TOTAL))
    assert len(server.requests) == 5 + 7


def test_refusals_and_limits_open_no_circuit() -> None:
    async def read() -> None:
        async with client_of(server.url) as client:
            for _ in range(12):
                with pytest.raises(SpotifyRejectedError):
                    await client.get("artists/unknown")
            assert client.usage.requests == 12

    with scripted_server(always(answer({"error": {"message": "Not found"}}, 404))) as server:
        asyncio.run(read())


def test_a_short_pause_is_waited_for_and_no_request_is_sent_into_it() -> None:
    clock = ManualClock()
    seen: list[float] = []

    def fault(request: Request, before: int) -> Answer | None:
        seen.append(clock.monotonic())
        return answer({}, 429, Retry_After="20") if len(seen) == 3 else None

    found, _ = paged(fault, clock=clock, options={"in_flight": 1})
    assert found == list(range(TOTAL))
    assert seen[3] - seen[2] >= 20


@pytest.mark.parametrize(
    ("headers", "body", "seconds", "reason"),
    [
        ({"Retry-After": "3600"}, b"Too many requests", 3600, "rate"),
        ({"Retry-After": "86400"}, b'{"error": {"status": 429, "reason": "QUOTA_EXCEEDED"}}', 86_400, "quota"),
        ({}, b'{"error": {"status": 429, "message": "x", "reason": "QUOTA_EXCEEDED"}}', 3600, "quota"),
        ({"Retry-After": "Thu, 01 Jan 2026 02:00:00 GMT"}, b"{}", 7200, "rate"),
        ({"Retry-After": "99999999999"}, b"{}", 604_800, "rate"),
    ],
)
def test_a_long_ban_puts_off_everybody_also_after_a_restart(
    headers: dict[str, str], body: bytes, seconds: int, reason: str
) -> None:
    clock, memory = ManualClock(), RememberedHere()
    store = MemoryStore(clock)
    began = clock.now()

    async def ask(**others: Any) -> SpotifyPutOffError:
        async with client_of(server.url, clock=clock, memory=memory, **others) as client:
            with pytest.raises(SpotifyPutOffError) as caught:
                await client.get("me")
        return caught.value

    with scripted_server(always(Answer(body, 429, headers))) as server:
        error = asyncio.run(ask(store=store))
        assert error.reason == reason
        assert timedelta(0) <= error.until - began - timedelta(seconds=seconds) <= timedelta(seconds=2)
        asyncio.run(ask(store=store, tenant="other"))  # another process, another tenant of the same account
        asyncio.run(ask())  # Redis was emptied
        assert len(server.requests) == 1
        clock.move(seconds + 2.0)
        asyncio.run(ask(store=store))
        assert len(server.requests) > 1


@pytest.mark.parametrize("header", [None, "soon", "-5", "", "1e3", "0"])
def test_a_pause_that_is_not_named_is_guessed_and_grows(header: str | None) -> None:
    clock = ManualClock()
    seen: list[float] = []

    def fault(request: Request, before: int) -> Answer | None:
        seen.append(clock.monotonic())
        named = {} if header is None else {"Retry-After": header}
        return Answer(b"Too many requests", 429, named) if len(seen) <= 3 else None

    found, _ = paged(fault, clock=clock, options={"in_flight": 1})
    assert found == list(range(TOTAL))
    assert [round(later - before) for before, later in pairwise(seen[:4])] == [5, 10, 20]


def test_cursors_are_followed_to_the_end_and_circles_refused() -> None:
    def script(request: Request) -> Answer:
        after = int(request.query.get("after", -1))
        ids = list(range(after + 1, min(after + 51, 120)))
        more = ids[-1] < 119
        cursor = str(ids[-1]) if more else None
        link = f"{server.url}/me/following?after={cursor}" if more else None
        items = [{"id": str(each)} for each in ids]
        return answer(
            {"artists": {"items": items, "total": 120, "next": link, "cursors": {"after": cursor}, "limit": 50}}
        )

    async def read() -> list[str]:
        async with client_of(server.url) as client:
            pages = [page async for page in client.pages("me/following", {"type": "artist"}, limit=50, key="artists")]
            middle = pages[0].position
            rest = [
                p async for p in client.pages("me/following", {"type": "artist"}, limit=50, key="artists", start=middle)
            ]
            assert [page.items for page in rest] == [page.items for page in pages[1:]]
            return [str(item["id"]) for page in pages for item in page.items if item]

    with scripted_server(script) as server:
        assert asyncio.run(read()) == [str(each) for each in range(120)]


def test_a_list_that_ends_before_its_total_is_refused() -> None:
    cut = {"artists": {"items": [{"id": "1"}], "total": 120, "next": None, "cursors": {"after": None}, "limit": 50}}

    async def read() -> None:
        async with client_of(server.url) as client:
            async for _ in client.pages("me/following", limit=50, key="artists"):
                pass

    with (
        scripted_server(always(answer(cut))) as server,
        pytest.raises(IncompleteResponseError, match="1 of 120"),
    ):
        asyncio.run(read())


def test_reading_goes_on_where_it_stopped() -> None:
    async def read() -> list[int]:
        async with client_of(server.url) as client:
            pages = client.pages("me/tracks", limit=50)
            await anext(pages)
            second = await anext(pages)
            await pages.aclose()
            kept = Position.from_dict(second.position.as_dict())
            return await numbers_of(client, kept)

    with scripted_server(lambda request: listed(request, server.url)) as server:
        assert asyncio.run(read()) == list(range(100, TOTAL))


def test_an_answer_is_used_again_while_it_is_valid_and_asked_about_afterwards() -> None:
    clock, cache = ManualClock(), Bytes()

    def script(request: Request) -> Answer:
        if request.headers.get("if-none-match") == '"v1"':
            return Answer(b"", 304, {"ETag": '"v1"', "Cache-Control": "max-age=60"})
        return answer({"name": "A"}, ETag='"v1"', Cache_Control="private, max-age=60")

    async def read(user: str = "app") -> dict[str, int | float]:
        async with client_of(server.url, clock=clock, cache=cache, user=user) as client:
            assert await client.get("artists/1") == {"name": "A"}
            return client.usage.as_dict()

    with scripted_server(script) as server:
        assert asyncio.run(read())["requests"] == 1
        assert asyncio.run(read())["cache_hits"] == 1
        assert asyncio.run(read("another"))["requests"] == 1
        clock.move(61)
        assert asyncio.run(read())["not_modified"] == 1
        assert asyncio.run(read())["cache_hits"] == 1
        assert len(server.requests) == 3


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"etag": "x", "fresh_until": "never"}\n{}', b"\x00\x01"])
def test_a_damaged_cache_is_no_cache(damage: bytes) -> None:
    cache = Bytes()

    async def read() -> None:
        async with client_of(server.url, cache=cache) as client:
            await client.get("artists/1")
            for key in cache.kept:
                cache.kept[key] = damage
            assert await client.get("artists/1") == {"name": "A"}
            assert client.usage.requests == 2

    with scripted_server(always(answer({"name": "A"}, ETag='"v1"', Cache_Control="max-age=60"))) as server:
        asyncio.run(read())


def catalogue(request: Request, *, batches: bool) -> Answer:
    if request.path == "artists":
        if not batches:
            return answer({"error": {"status": 403, "message": "Forbidden"}}, 403)
        names = request.query["ids"].split(",")
        return answer({"artists": [None if name == "gone" else {"id": name} for name in names]})
    name = request.path.split("/")[1]
    return answer({"error": {"message": "Not found"}}, 404) if name == "gone" else answer({"id": name})


IDS = [f"a{number}" for number in range(120)] + ["gone"]


@pytest.mark.parametrize(("batches", "first", "later"), [(True, 3, 3), (False, 122, 121)])
def test_several_ids_are_asked_for_as_the_mode_allows(batches: bool, first: int, later: int) -> None:  # noqa: FBT001  # a case of the parametrised test
    memory = RememberedHere()

    async def read() -> tuple[list[str | None], int]:
        async with client_of(server.url, memory=memory) as client:
            found = [(name, each) async for name, each in client.many("artists", IDS)]
            assert [name for name, _ in found] == IDS
            assert client.usage.requests == len(server.requests)
            return [each["id"] if each else None for _, each in found], client.usage.requests

    with scripted_server(lambda request: catalogue(request, batches=batches)) as server:
        found, requests = asyncio.run(read())
        assert found == [*IDS[:-1], None]
        assert requests == first
        server.requests.clear()
        assert asyncio.run(read())[1] == later


def test_a_mode_that_changes_in_the_middle_of_a_run_loses_nothing() -> None:
    asked = {"n": 0}

    def script(request: Request) -> Answer:
        asked["n"] += 1
        return catalogue(request, batches=asked["n"] < 2)

    async def read() -> list[str]:
        async with client_of(server.url) as client:
            found = [name async for name, each in client.many("artists", IDS[:-1]) if each]
            assert (await client.capabilities()).mode == "development"
            return found

    with scripted_server(script) as server:
        assert asyncio.run(read()) == IDS[:-1]


def test_what_the_mode_lacks_is_asked_for_once_a_day() -> None:
    clock, memory = ManualClock(), RememberedHere()

    async def ask() -> SpotifyUnavailableInModeError:
        async with client_of(server.url, clock=clock, memory=memory) as client:
            with pytest.raises(SpotifyUnavailableInModeError, match="not available in this mode") as caught:
                await client.get("browse/new-releases")
        return caught.value

    with scripted_server(always(answer({"error": {"message": "Forbidden"}}, 403))) as server:
        assert asyncio.run(ask()).feature == "new_releases"
        asyncio.run(ask())
        assert len(server.requests) == 1
        clock.move(86_400)
        asyncio.run(ask())
        assert len(server.requests) == 2


def test_an_endpoint_that_only_ever_answers_429_is_taken_for_closed() -> None:
    def script(request: Request) -> Answer:
        if request.path == "browse/new-releases":
            return Answer(b"Too many requests", 429, {"Retry-After": "1"})
        return answer({"id": "me"})

    async def ask() -> None:
        async with client_of(server.url, options={"window": WindowPolicy(30.0)}) as client:
            for _ in range(10):
                await client.get("me")
            with pytest.raises(SpotifyUnavailableInModeError):
                await client.get("browse/new-releases")
            await client.get("me")
            assert (await client.status()).knowledge.limit == 0

    with scripted_server(script) as server:
        asyncio.run(ask())


@pytest.mark.parametrize(
    "path", ["http://evil.example/v1", "//evil.example", "../me", "me/../x", "me?x=1", "", "me/", "/me"]
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    async def ask() -> None:
        async with client_of("http://127.0.0.1:9/v1") as client:
            await client.get(path)

    with pytest.raises(ValueError, match="no path"):
        asyncio.run(ask())
