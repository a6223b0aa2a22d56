"""What lies in the database: nothing that a reader of it could use, and nothing that could be moved."""

from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import SecurityError
from collectors_dagster.integrations.spotify.oauth.disconnecting import disconnect_user
from collectors_dagster.integrations.spotify.oauth.vault import AccountState, TokenOwner
from collectors_dagster.integrations.timescale import Store
from tests.support.spotify_tokens import KEY, OWNER, connect, open_vault, renewal
from tests.support.token_server import TokenServer, running_token_server

pytestmark = pytest.mark.every_edition
OTHER_KEY = bytes(32)


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with running_token_server() as running:
        yield running


def test_no_token_is_in_the_database_in_clear(
    store: Store, database: SecretStr, server: TokenServer, manual_clock: ManualClock
) -> None:
    vault = open_vault(store)
    connect(vault, server, manual_clock)
    renewal(vault, server.url, clock=manual_clock).run()
    with psycopg.connect(database.get_secret_value()) as connection:
        (row,) = connection.execute("select a.*, a::text from core.spotify_account a").fetchall()
    text = repr(row) + "".join(each.decode("latin-1") for each in row if isinstance(each, bytes))
    assert OWNER.user_id in text
    assert [token for token in (*server.living, *server.dead, *server.access) if token in text] == []


def test_token_that_is_moved_to_another_user_tenant_or_column_does_not_open(
    store: Store, database: SecretStr, server: TokenServer, manual_clock: ManualClock
) -> None:
    vault = open_vault(store)
    tenant, user = TokenOwner("borealis", OWNER.user_id), TokenOwner("aurora", "somebody-else")
    for owner in (OWNER, tenant, user):
        connect(vault, server, manual_clock, owner)
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        sealed = connection.execute(
            "select refresh_token, tenant_key from core.spotify_account where user_id = %s order by tenant_key limit 1",
            [OWNER.user_id],
        ).fetchone()
        assert sealed is not None
        for column in ("refresh_token", "access_token"):
            connection.execute(
                f"update core.spotify_account set {column} = %s where user_id <> %s or tenant_key <> %s".encode(),
                [sealed[0], OWNER.user_id, sealed[1]],
            )
        connection.execute("update core.spotify_account set access_token = refresh_token where true")
    for owner in (OWNER, tenant, user):
        with pytest.raises(SecurityError, match=f"tenant {owner.tenant_id}: the Spotify tokens of .* were changed"):
            vault.read(owner)


def test_keys_of_before_still_open_and_unknown_ones_are_told_with_the_remedy(
    store: Store, server: TokenServer, manual_clock: ManualClock
) -> None:
    tokens = connect(open_vault(store), server, manual_clock)
    found = open_vault(store, OTHER_KEY, KEY).read(OWNER)
    assert found is not None
    assert found.refresh_token == tokens.refresh_token
    with pytest.raises(SecurityError, match=r"spotify.token_keys_file, or connect again: `collectors spotify connect"):
        open_vault(store, OTHER_KEY).read(OWNER)


def test_disconnecting_deletes_tokens_before_data_and_the_account_last(
    store: Store, server: TokenServer, manual_clock: ManualClock
) -> None:
    vault = open_vault(store)
    connect(vault, server, manual_clock)
    claim = vault.claim(OWNER, 1, 60.0)
    assert claim is not None

    def erase() -> int:
        found = vault.read(OWNER)
        assert found is not None
        assert (found.state, found.refresh_token, found.access_token) == (AccountState.LEAVING, None, None)
        late = connect(vault, server, manual_clock, TokenOwner("aurora", "else"))
        assert not vault.store(OWNER, claim, late)  # an answer that comes now brings nobody back
        return 7

    assert disconnect_user(store.spotify_accounts, OWNER, erase) == 7
    assert vault.read(OWNER) is None
    assert [account.user_id for account in store.spotify_accounts.of_tenant("aurora")] == ["else"]


def test_disconnecting_that_was_interrupted_is_shown_and_ended_by_the_next_one(
    store: Store, server: TokenServer, manual_clock: ManualClock
) -> None:
    vault = open_vault(store)
    connect(vault, server, manual_clock)

    def killed() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        disconnect_user(store.spotify_accounts, OWNER, killed)
    (account,) = store.spotify_accounts.of_tenant("aurora")
    assert account.state is AccountState.LEAVING
    assert disconnect_user(store.spotify_accounts, OWNER, lambda: 0) == 0
    assert store.spotify_accounts.of_tenant("aurora") == []


def test_user_who_connects_again_while_being_disconnected_stays(
    store: Store, server: TokenServer, manual_clock: ManualClock
) -> None:
    vault = open_vault(store)
    connect(vault, server, manual_clock)

    def reconnected() -> int:
        connect(vault, server, manual_clock)
        return 1

    disconnect_user(store.spotify_accounts, OWNER, reconnected)
    found = vault.read(OWNER)
    assert found is not None
    assert found.state is AccountState.CONNECTED


def test_of_many_claims_at_once_one_is_given(store: Store, server: TokenServer, manual_clock: ManualClock) -> None:
    vault = open_vault(store)
    connect(vault, server, manual_clock)
    first = vault.claim(OWNER, 1, 60.0)
    assert first is not None
    assert not first.interrupted
    assert vault.claim(OWNER, 1, 60.0) is None
    assert vault.claim(OWNER, 2, 60.0) is None
    vault.end(OWNER, first, answered=False)
    second = vault.claim(OWNER, 1, 60.0)
    assert second is not None
    assert second.interrupted
    vault.end(OWNER, first, answered=True)  # whoever has no claim any more ends nobody's
    assert vault.claim(OWNER, 1, 60.0) is None
