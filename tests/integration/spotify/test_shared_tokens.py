"""Tokens for many coroutines of one process."""

import asyncio
from collections.abc import Iterator

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import ConsentNeededError, RequestRejectedError
from collectors_dagster.integrations.spotify.oauth.shared_tokens import STORM_REFUSALS, STORM_SECONDS, SharedTokens
from collectors_dagster.integrations.timescale import Store
from tests.support.spotify_tokens import OWNER, connect, open_vault, renewal
from tests.support.token_server import TokenServer, running_token_server
from tests.support.waiting import wait_until

WORKERS = 16


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with running_token_server() as running:
        yield running


@pytest.fixture
def tokens(store: Store, server: TokenServer, manual_clock: ManualClock) -> SharedTokens:
    vault = open_vault(store)
    connect(vault, server, manual_clock)
    renewing = renewal(vault, server.url, clock=manual_clock)
    return SharedTokens(renewing, account="account", clock=manual_clock)


def test_many_coroutines_make_one_request_and_later_none(tokens: SharedTokens, server: TokenServer) -> None:
    async def ask() -> None:
        found = await asyncio.gather(*(tokens.token() for _ in range(WORKERS)))
        assert len({token.get_secret_value() for token in found}) == 1
        assert await tokens.token() == found[0]

    asyncio.run(ask())
    assert server.requests == 1


def test_all_who_are_refused_with_one_token_get_the_same_next_one(tokens: SharedTokens, server: TokenServer) -> None:
    async def ask() -> None:
        old = await tokens.token()
        found = await asyncio.gather(
            *(tokens.rejected(old) for _ in range(WORKERS)), *(tokens.token() for _ in range(4))
        )
        assert {token.get_secret_value() for token in found[:WORKERS]} == {found[0].get_secret_value()}
        assert found[0] != old
        assert await tokens.rejected(old) == found[0]  # whoever comes late with the old one
        assert await tokens.token() == found[0]

    asyncio.run(ask())
    assert server.requests == 2


def test_refusing_one_fresh_token_after_the_other_ends(
    tokens: SharedTokens, server: TokenServer, manual_clock: ManualClock
) -> None:
    async def ask() -> None:
        token = await tokens.token()
        for _ in range(STORM_REFUSALS):
            token = await tokens.rejected(token)
        with pytest.raises(RequestRejectedError, match="refused 5 fresh tokens within 60 s"):
            await tokens.rejected(token)
        manual_clock.move(STORM_SECONDS)
        await tokens.rejected(token)

    asyncio.run(ask())
    assert server.requests == STORM_REFUSALS + 2


def test_renewal_goes_on_when_the_coroutine_that_wanted_it_is_cancelled(
    tokens: SharedTokens, server: TokenServer, store: Store
) -> None:
    async def ask() -> None:
        server.answer_gate.clear()
        wanting = asyncio.create_task(tokens.token())
        await asyncio.to_thread(server.arrived.acquire)
        wanting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wanting
        server.answer_gate.set()
        assert (await tokens.token()).get_secret_value() in server.access

    asyncio.run(ask())
    assert (server.requests, server.refused) == (1, [])
    found = open_vault(store).read(OWNER)
    assert found is not None
    assert found.refresh_token is not None
    assert found.refresh_token.get_secret_value() in server.living


def test_renewal_is_stored_although_the_event_loop_ends(
    tokens: SharedTokens, server: TokenServer, store: Store
) -> None:
    async def leave() -> None:
        wanting = asyncio.create_task(tokens.token())
        await asyncio.to_thread(server.arrived.acquire)
        wanting.cancel()

    asyncio.run(leave())
    vault = open_vault(store)

    def living() -> bool:
        found = vault.read(OWNER)
        assert found is not None
        return found.refresh_token is not None and found.refresh_token.get_secret_value() in server.living

    wait_until(living, 20, "the stored rotation")
    assert server.refused == []


def test_all_who_wait_hear_that_consent_is_needed(tokens: SharedTokens, server: TokenServer) -> None:
    server.revoke_everything()

    async def ask() -> list[object]:
        return list(await asyncio.gather(*(tokens.token() for _ in range(WORKERS)), return_exceptions=True))

    assert {type(each) for each in asyncio.run(ask())} == {ConsentNeededError}
    assert server.requests == 1
