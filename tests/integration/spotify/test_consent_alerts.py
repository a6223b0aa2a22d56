"""A user who has to consent is told of once, by the alerts that there are."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock
from collectors_dagster.errors import ConsentNeededError
from collectors_dagster.integrations.notify import AlertMessage
from collectors_dagster.integrations.spotify.oauth.vault import TokenOwner
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.monitoring.alerting import deliver_alerts
from collectors_dagster.monitoring.consent_alerts import note_consent_alerts
from collectors_dagster.tenants import AlertTarget, Tenant
from tests.support.spotify_tokens import OWNER, connect, open_vault, renewal
from tests.support.token_server import TokenServer, running_token_server

TARGETS = (AlertTarget("log", "log"), AlertTarget("webhook", "ops", "https://hooks.example/x"))
TENANTS = [Tenant("aurora", "Aurora", alerts=TARGETS), Tenant("borealis", "Borealis", alerts=TARGETS)]


class Outbox:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, AlertMessage]] = []

    def send(self, target: AlertTarget, message: AlertMessage) -> None:
        self.sent.append((target.name, message))

    def take(self) -> list[tuple[str, str, str]]:
        taken, self.sent = self.sent, []
        return sorted((message.tenant.id, name, message.kind.value) for name, message in taken)


class Alerts:
    """A tick of the sensor."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store, self.clock, self.outbox = store, clock, Outbox()

    def tick(self) -> list[tuple[str, str, str]]:
        deliver_alerts(self.store, TENANTS, 0, sender=self.outbox, clock=self.clock)
        return self.outbox.take()


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with running_token_server() as running:
        yield running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))  # the ledger is stamped by the database


@pytest.fixture
def alerts(store: Store, clock: ManualClock) -> Alerts:
    return Alerts(store, clock)


def test_lost_consent_is_told_once_per_tenant_and_account(
    store: Store, server: TokenServer, clock: ManualClock, alerts: Alerts
) -> None:
    vault = open_vault(store)
    owners = [OWNER, TokenOwner("aurora", "second"), TokenOwner("borealis", OWNER.user_id)]
    for owner in owners:
        connect(vault, server, clock, owner)
    assert alerts.tick() == []
    server.revoke_everything()
    for owner in owners[:2]:
        with pytest.raises(ConsentNeededError):
            renewal(vault, server.url, owner, clock=clock).run()
    needed = "consent.needed"
    assert alerts.tick() == [("aurora", "log", needed), ("aurora", "log", needed)] + [("aurora", "ops", needed)] * 2
    for owner in owners[:2]:
        with pytest.raises(ConsentNeededError):
            renewal(vault, server.url, owner, clock=clock).run()
    clock.move(7200)
    assert alerts.tick() == []
    with pytest.raises(ConsentNeededError):
        renewal(vault, server.url, owners[2], clock=clock).run()
    assert {tenant for tenant, _, _ in alerts.tick()} == {"borealis"}


def test_message_says_whose_account_why_and_what_to_do(
    store: Store, server: TokenServer, clock: ManualClock, alerts: Alerts
) -> None:
    vault = open_vault(store)
    connect(vault, server, clock, TokenOwner("aurora", "jürgen/ü"))
    server.revoke_everything()
    with pytest.raises(ConsentNeededError):
        renewal(vault, server.url, TokenOwner("aurora", "jürgen/ü"), clock=clock).run()
    deliver_alerts(store, TENANTS, 0, sender=alerts.outbox, clock=clock)
    message = alerts.outbox.sent[0][1]
    assert message.text.startswith("[CONSENT NEEDED] Aurora: Spotify account jürgen/ü: the service does not take")
    assert message.consent is not None
    assert "`collectors spotify connect --tenant aurora`" in message.consent.reason
    assert message.failure is None
    assert message.id.isascii()  # it stands in a header


def test_consent_is_warned_of_at_150_days_told_at_its_end_and_both_again_after_a_new_one(
    store: Store, server: TokenServer, clock: ManualClock, alerts: Alerts
) -> None:
    vault = open_vault(store)
    for _ in range(2):
        connect(vault, server, clock)
        clock.move(timedelta(days=149).total_seconds())
        assert alerts.tick() == []
        clock.move(timedelta(days=1).total_seconds())
        assert alerts.tick() == [("aurora", "log", "consent.ends"), ("aurora", "ops", "consent.ends")]
        clock.move(timedelta(days=34).total_seconds())
        assert alerts.tick() == []
        with pytest.raises(ConsentNeededError, match="six months after it was given"):
            renewal(vault, server.url, clock=clock).run()
        assert alerts.tick() == [("aurora", "log", "consent.needed"), ("aurora", "ops", "consent.needed")]
        assert alerts.tick() == []
    assert server.requests == 0


def test_alert_survives_the_process_that_noticed(
    store: Store, database: SecretStr, server: TokenServer, clock: ManualClock
) -> None:
    vault = open_vault(store)
    connect(vault, server, clock)
    server.revoke_everything()
    with pytest.raises(ConsentNeededError):
        renewal(vault, server.url, clock=clock).run()
    assert note_consent_alerts(store, [], clock.now()) == 0  # nobody is configured: it waits
    assert note_consent_alerts(store, TENANTS, clock.now()) == 1
    assert store.spotify_accounts.untold(clock.now()) == []
    with psycopg.connect(database.get_secret_value()) as connection:  # as if it was killed before it noted that
        connection.execute("update core.spotify_account set alerted_at = null")
    assert len(store.spotify_accounts.untold(clock.now())) == 1
    assert note_consent_alerts(store, TENANTS, clock.now()) == 0
    assert len(store.failures.pending(10, since=clock.now() - timedelta(hours=1))) == len(TARGETS)
    assert store.spotify_accounts.untold(clock.now()) == []
