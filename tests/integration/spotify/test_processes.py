"""Processes that want the same tokens at the same moment, and processes that are killed in the middle."""

import random
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from pydantic import SecretStr

from collectors_dagster.clock import SystemClock
from collectors_dagster.errors import ConsentNeededError
from collectors_dagster.integrations.spotify.oauth.vault import AccountState
from collectors_dagster.integrations.timescale import Store
from tests.support.effort import times
from tests.support.spotify_tokens import OWNER, connect, open_vault, renewal
from tests.support.token_processes import start_worker
from tests.support.token_server import TokenServer, running_token_server

CLAIM_SECONDS = 2.0
RACES = times(100)


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with running_token_server() as running:
        yield running


def test_sixteen_workers_in_two_processes_make_one_request(
    store: Store, database: SecretStr, server: TokenServer
) -> None:
    vault = open_vault(store)
    connect(vault, server, SystemClock())
    workers = [start_worker(database, server, "share", workers=8) for _ in range(2)]
    server.gate.clear()  # the first request is answered only when both processes want it
    for worker in workers:
        worker.go()
    assert server.arrived.acquire(timeout=60)
    server.gate.set()
    tokens = [token for worker in workers for token in worker.answer()]
    assert len(tokens) == 16
    assert len(set(tokens)) == 1
    assert server.requests == 1


def test_application_of_two_processes_makes_one_request(store: Store, database: SecretStr, server: TokenServer) -> None:
    open_vault(store)
    workers = [start_worker(database, server, "share", workers=8, user="") for _ in range(2)]
    for worker in workers:
        worker.go()
    assert len({token for worker in workers for token in worker.answer()}) == 1
    assert server.requests == 1


def test_no_rotated_token_is_used_again_in_races(store: Store, database: SecretStr, server: TokenServer) -> None:
    vault = open_vault(store)
    connect(vault, server, SystemClock())
    workers = [start_worker(database, server, "race", workers=4, rounds=RACES) for _ in range(2)]
    for worker in workers:
        worker.go()
    counts = [count for worker in workers for count in worker.answer()]
    assert counts == [RACES] * 8
    assert server.requests >= RACES
    assert (server.reused, server.refused) == (0, [])
    stored = vault.read(OWNER)
    assert stored is not None
    assert stored.refresh_token is not None
    assert {stored.refresh_token.get_secret_value()} == server.living


def test_killed_before_the_service_acted_the_next_process_recovers(
    store: Store, database: SecretStr, server: TokenServer
) -> None:
    vault = open_vault(store)
    connect(vault, server, SystemClock())
    worker = start_worker(database, server, "once", claim_seconds=CLAIM_SECONDS)
    server.gate.clear()
    server.faults.append(lambda: (503, {}, b""))  # it never acted on that request
    worker.go()
    assert server.arrived.acquire(timeout=60)
    worker.kill()
    server.gate.set()
    held = renewal(vault, server.url, claim_seconds=CLAIM_SECONDS).run()
    assert held.token.get_secret_value() in server.access
    assert server.refused == []


def test_killed_after_the_service_acted_the_next_process_says_that_consent_is_needed_and_why(
    store: Store, database: SecretStr, server: TokenServer
) -> None:
    vault = open_vault(store)
    connect(vault, server, SystemClock())
    worker = start_worker(database, server, "once", claim_seconds=CLAIM_SECONDS)
    server.answer_gate.clear()
    worker.go()
    assert server.arrived.acquire(timeout=60)
    worker.kill()
    server.answer_gate.set()
    reason = "an earlier request got no whole answer, and with it the next refresh token was lost"
    with pytest.raises(ConsentNeededError, match=reason):
        renewal(vault, server.url, claim_seconds=CLAIM_SECONDS).run()
    assert server.requests == 2
    failing = start_worker(database, server, "once")
    failing.go()
    assert "ConsentNeededError: tenant aurora" in failing.failure()
    assert server.requests == 2


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_moment_the_next_process_recovers_or_says_that_consent_is_needed(
    store: Store, database: SecretStr, server: TokenServer, seed: int, tmp_path: Path
) -> None:
    vault = open_vault(store)
    connect(vault, server, SystemClock())
    worker = start_worker(database, server, "once", claim_seconds=CLAIM_SECONDS, journal=str(tmp_path))
    worker.go()
    Event().wait(random.Random(seed).uniform(0.0, 0.25))
    worker.kill()
    acted = server.requests > 0
    try:
        held = renewal(vault, server.url, claim_seconds=CLAIM_SECONDS, journal=tmp_path).run()
    except ConsentNeededError:
        assert acted  # an answer on its way is all that can be lost
        stored = vault.read(OWNER)
        assert stored is not None
        assert stored.state is AccountState.NEEDS_CONSENT
        connect(vault, server, SystemClock())
        held = renewal(vault, server.url).run()
    assert held.token.get_secret_value() in server.access
    assert server.requests <= 3
