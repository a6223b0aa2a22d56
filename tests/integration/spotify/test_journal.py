"""Answers that are on their way into the vault outlive the process that got them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import ConsentNeededError, ServiceUnreachableError
from collectors_dagster.integrations.spotify.oauth.journal import TokenJournal
from collectors_dagster.integrations.spotify.oauth.sealed_vault import SealedVault
from collectors_dagster.integrations.spotify.oauth.vault import AccountState, Claim, TokenOwner, Tokens
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.security.sealing import Sealer
from tests.support.spotify_tokens import KEY, OWNER, connect, open_vault, renewal
from tests.support.token_server import TokenServer, running_token_server

OTHER = TokenOwner("borealis", OWNER.user_id)


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with running_token_server() as running:
        yield running


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def journal(directory: Path, key: bytes = KEY) -> TokenJournal:
    return TokenJournal(directory, Sealer([key]))


def killed_with_the_answer(store: Store, server: TokenServer, clock: ManualClock, directory: Path) -> None:
    """Leave what a process leaves that was killed before the database had its answer."""
    vault = open_vault(store)
    connect(vault, server, clock)
    claim = vault.claim(OWNER, 1, 0.0)
    assert claim is not None
    server.living.clear()  # the service has replaced the refresh token
    answer = connect(vault, server, clock, OTHER, left_seconds=3600)
    journal(directory).keep(OWNER, claim, answer)


def test_next_process_stores_what_was_written_down_without_asking(
    store: Store, server: TokenServer, manual_clock: ManualClock, directory: Path
) -> None:
    killed_with_the_answer(store, server, manual_clock, directory)
    held = renewal(open_vault(store), server.url, clock=manual_clock, journal=directory).run()
    found = open_vault(store).read(OWNER)
    assert found is not None
    assert found.access_token == held.token
    assert found.refresh_token is not None
    assert found.refresh_token.get_secret_value() in server.living
    assert server.requests == 0
    assert list(directory.iterdir()) == []


def test_conclusion_of_another_machine_is_undone_by_what_was_written_down_here(
    store: Store, server: TokenServer, manual_clock: ManualClock, directory: Path
) -> None:
    killed_with_the_answer(store, server, manual_clock, directory)
    vault = open_vault(store)
    with pytest.raises(ConsentNeededError):
        renewal(vault, server.url, clock=manual_clock).run()
    renewal(vault, server.url, clock=manual_clock, journal=directory).run()
    found = vault.read(OWNER)
    assert found is not None
    assert found.state is AccountState.CONNECTED


def test_what_is_older_than_the_vault_is_forgotten(
    store: Store, server: TokenServer, manual_clock: ManualClock, directory: Path
) -> None:
    killed_with_the_answer(store, server, manual_clock, directory)
    newer = connect(open_vault(store), server, manual_clock, left_seconds=3600)
    held = renewal(open_vault(store), server.url, clock=manual_clock, journal=directory).run()
    assert held.token == newer.access_token
    assert list(directory.iterdir()) == []


def test_file_is_sealed_and_for_its_owner_only(
    store: Store, server: TokenServer, manual_clock: ManualClock, directory: Path
) -> None:
    killed_with_the_answer(store, server, manual_clock, directory)
    (path,) = directory.iterdir()
    assert directory.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0
    content = path.name.encode() + path.read_bytes()
    words = (*server.living, *server.access, OWNER.user_id, OWNER.tenant_id)
    assert [word for word in words if word.encode() in content] == []
    assert list(journal(directory).pending(OTHER)) == []
    assert list(journal(directory, bytes(32)).pending(OWNER)) == []  # another key: left alone


def test_damaged_file_and_unwritable_directory_hold_nobody_up(
    store: Store, server: TokenServer, manual_clock: ManualClock, directory: Path, tmp_path: Path
) -> None:
    killed_with_the_answer(store, server, manual_clock, directory)
    (path,) = directory.iterdir()
    path.write_bytes(b"damaged")
    server.living.clear()
    vault = open_vault(store)
    connect(vault, server, manual_clock)
    renewal(vault, server.url, clock=manual_clock, journal=directory).run()
    assert path.exists()
    (tmp_path / "file").touch()
    blocked = renewal(vault, server.url, clock=manual_clock, journal=tmp_path / "file")
    held = vault.read(OWNER)
    assert held is not None
    assert blocked.run(held.access_token).token.get_secret_value() in server.access
    assert server.requests == 2


class AwayVault:
    """A vault whose database does not answer when it is to store."""

    def __init__(self, vault: SealedVault, times: int) -> None:
        self._vault, self.times = vault, times

    def __getattr__(self, name: str) -> object:
        return getattr(self._vault, name)

    def store(self, owner: TokenOwner, claim: Claim, tokens: Tokens) -> bool:
        if self.times > 0:
            self.times -= 1
            raise ServiceUnreachableError("no database", service="postgresql", operation="store")
        return self._vault.store(owner, claim, tokens)


def test_answer_is_stored_when_the_database_is_back(
    store: Store, server: TokenServer, manual_clock: ManualClock, directory: Path
) -> None:
    vault = open_vault(store)
    connect(vault, server, manual_clock)
    away = AwayVault(vault, 3)
    away_renewal = renewal(away, server.url, clock=manual_clock)  # type: ignore[arg-type]  # all of it is there
    first = away_renewal.run().token
    assert server.requests == 1

    away.times = 10_000
    with pytest.raises(ServiceUnreachableError):
        away_renewal.run(first)
    assert server.requests == 2
    away.times = 0
    second = away_renewal.run(first).token
    assert server.requests == 2

    away.times = 10_000
    written = renewal(away, server.url, clock=manual_clock, journal=directory)  # type: ignore[arg-type]  # as above
    with pytest.raises(ServiceUnreachableError):
        written.run(second)
    third = renewal(vault, server.url, clock=manual_clock, journal=directory).run(second).token
    assert third.get_secret_value() in server.access
    assert (server.requests, server.refused) == (3, [])
