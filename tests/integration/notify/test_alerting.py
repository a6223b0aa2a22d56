import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import structlog
from pydantic import SecretStr

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.config.policy_sections import CircuitBreaker, RateLimiter
from collectors_dagster.config.sections import Patterns
from collectors_dagster.integrations.notify import Notifier
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.monitoring.alerting import AlertingReport, deliver_alerts, deliver_failure
from collectors_dagster.patterns.policies import Policies
from collectors_dagster.records import Contribution, Incident, IncidentEventKind, RunFailure, Severity
from collectors_dagster.tenants import AlertTarget, Tenant
from tests.support.webhooks import WebhookServer, running_webhooks

PATTERNS = Patterns(
    circuit_breaker=CircuitBreaker(failure_threshold=1000, recovery_timeout=1),
    rate_limiter=RateLimiter(requests_per_second=1000, burst_size=1000),
)
OPENED, UPDATED, RESOLVED = IncidentEventKind.OPENED, IncidentEventKind.UPDATED, IncidentEventKind.RESOLVED


@pytest.fixture
def webhooks() -> Iterator[WebhookServer]:
    with running_webhooks() as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))  # the ledger is stamped by the database


@pytest.fixture
def notifier(clock: ManualClock) -> Iterator[Notifier]:
    with Notifier(Policies(PATTERNS, clock=clock, random=lambda: 0.5), clock=clock, timeout_seconds=0.3) as made:
        yield made


def aurora(webhooks: WebhookServer, *names: str) -> Tenant:
    targets = tuple(AlertTarget("webhook", name, webhooks.url(f"/{name}")) for name in names or ("ops",))
    return Tenant("aurora", "Aurora Analytics", alerts=targets)


class Story:
    """An incident that happens in the store."""

    def __init__(self, store: Store, tenant: Tenant, at: datetime, host: str = "web-1") -> None:
        self.store, self.tenant = store, tenant
        store.tenants.sync([tenant])
        part = Contribution("cpu_utilization_ratio", 0.97, 0.02, float("nan"), 9.0)
        self.incident = Incident(
            None, tenant.id, host, at, at, None, Severity.WARNING, 0.97, "CPU utilization 97 %", (part,), "v1"
        )

    def tell(self, kind: IncidentEventKind, after: float = 0.0) -> None:
        moment = self.incident.updated_at + timedelta(seconds=after)
        resolved = moment if kind is RESOLVED else None
        self.incident = replace(self.incident, updated_at=moment, resolved_at=resolved)
        (self.incident,) = self.store.incidents.apply(self.tenant.id, [(kind, self.incident)])


def ledger(database: SecretStr) -> list[tuple[str, str]]:
    with psycopg.connect(database.get_secret_value()) as connection:
        return connection.execute("select target, status from core.alert order by event_id, target").fetchall()


class Alerting:
    """The sensor's part: keeps the cursor."""

    def __init__(self, store: Store, tenant: Tenant, notifier: Notifier, clock: ManualClock) -> None:
        self.store, self.tenant, self.notifier, self.clock = store, tenant, notifier, clock
        self.cursor = 0

    def tick(self) -> AlertingReport:
        report = deliver_alerts(self.store, [self.tenant], self.cursor, sender=self.notifier, clock=self.clock)
        self.cursor = report.cursor
        return report


def test_each_step_is_told_once_in_order_and_never_again_after_a_restart(
    store: Store, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks)
    alerting = Alerting(store, tenant, notifier, clock)
    story = Story(store, tenant, clock.now())
    story.tell(OPENED)
    (opened,) = store.incidents.events_after(0, 1)
    assert store.alerts.delivered_at(opened.id) is None
    assert alerting.tick().delivered == 1
    assert store.alerts.delivered_at(opened.id) is not None
    story.tell(UPDATED, 60)
    story.tell(RESOLVED, 60)
    assert alerting.tick().delivered == 2
    assert webhooks.kinds == ["incident.opened", "incident.updated", "incident.resolved"]
    alerting.tick()
    alerting.cursor = 0  # a restart that lost its cursor
    report = alerting.tick()
    assert (report.events, report.delivered) == (3, 0)
    assert len(webhooks.calls) == 3


def test_body_names_host_signals_and_tenant_and_is_plain_json(
    store: Store, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks)
    Story(store, tenant, clock.now()).tell(OPENED)
    Alerting(store, tenant, notifier, clock).tick()
    body = webhooks.calls[0].body
    assert body["text"] == "[WARNING] web-1 (Aurora Analytics): CPU utilization 97 %"
    assert body["incident"]["contributions"][0]["signal"] == "cpu_utilization_ratio"
    assert body["incident"]["contributions"][0]["expected_high"] is None
    assert "NaN" not in json.dumps(body)


def test_failed_target_gets_all_in_order_later_and_blocks_nobody(
    store: Store, database: SecretStr, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks, "bad")
    good = replace(tenant, alerts=(*tenant.alerts, AlertTarget("log", "good")))
    alerting = Alerting(store, good, notifier, clock)
    webhooks.answers = [(500, {})] * 2
    story = Story(store, good, clock.now())
    story.tell(OPENED)
    report = alerting.tick()
    assert (report.delivered, report.failed) == (1, 1)
    story.tell(RESOLVED, 60)
    report = alerting.tick()
    assert (report.delivered, report.waiting) == (1, 2)
    assert ledger(database) == [
        ("bad", "failed"),
        ("good", "delivered"),
        ("bad", "failed"),
        ("good", "delivered"),
    ]
    clock.move(30)
    assert alerting.tick().delivered == 2
    assert [call.body["kind"] for call in webhooks.calls[2:]] == ["incident.opened", "incident.resolved"]
    assert webhooks.calls[2].headers["Idempotency-Key"] == webhooks.calls[0].headers["Idempotency-Key"]


def test_pauses_grow_while_a_target_stays_away(
    store: Store, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks)
    alerting = Alerting(store, tenant, notifier, clock)
    webhooks.answers = [(500, {})] * 1000
    Story(store, tenant, clock.now()).tell(OPENED)
    rounds = 0
    for _ in range(180):  # half an hour of ticks
        rounds += alerting.tick().failed
        clock.move(10)
    assert 4 <= rounds <= 8
    clock.move(24 * 3600)
    assert alerting.tick() == AlertingReport(alerting.cursor)  # a day later it is no longer news


def test_refused_alert_steps_aside_for_the_next_one(
    store: Store, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks)
    alerting = Alerting(store, tenant, notifier, clock)
    webhooks.answers = [(400, {})]
    story = Story(store, tenant, clock.now())
    story.tell(OPENED)
    story.tell(RESOLVED, 60)
    report = alerting.tick()
    assert (report.failed, report.delivered) == (1, 1)
    assert alerting.tick().waiting == 1
    clock.move(30)
    assert alerting.tick().delivered == 1


def test_alert_whose_sender_died_is_sent_after_a_minute_with_the_same_key(
    store: Store, database: SecretStr, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks)
    Story(store, tenant, clock.now()).tell(OPENED)
    (event,) = store.incidents.events_after(0, 10)
    assert store.alerts.claim(event.id, "ops")  # and then its process is killed
    alerting = Alerting(store, tenant, notifier, clock)
    assert alerting.tick().delivered == 0
    with psycopg.connect(database.get_secret_value()) as connection:
        connection.execute("update core.alert set updated_at = now() - interval '61 seconds'")
    assert alerting.tick().delivered == 1
    assert len(webhooks.calls) == 1


def test_two_senders_at_once_send_each_alert_once(
    store: Store, database: SecretStr, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks)
    for number in range(10):
        Story(store, tenant, clock.now(), host=f"web-{number}").tell(OPENED)
    senders = [Alerting(store, tenant, notifier, clock) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda sender: sender.tick(), senders))
    assert sorted(call.body["incident"]["host"] for call in webhooks.calls) == [f"web-{n}" for n in range(10)]


def test_silent_target_delays_only_itself(
    store: Store, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    silent = aurora(webhooks, "silent")
    tenant = replace(silent, alerts=(*silent.alerts, AlertTarget("log", "log")))
    webhooks.answers = [(0, {})] * 2
    Story(store, tenant, clock.now()).tell(OPENED)
    with structlog.testing.capture_logs() as lines:
        report = Alerting(store, tenant, notifier, clock).tick()
    assert (report.delivered, report.failed) == (1, 1)
    (alert,) = [line for line in lines if line["event"] == "alert"]
    assert alert["text"].startswith("[WARNING] web-1")
    (warning,) = [line for line in lines if line["event"] == "alert not delivered"]
    assert str(webhooks.port) not in str(warning)


def test_target_that_drips_its_answer_holds_up_neither_the_round_nor_the_others(
    store: Store, webhooks: WebhookServer, notifier: Notifier
) -> None:
    dripping = aurora(webhooks, "drip")
    tenant = replace(dripping, alerts=(*dripping.alerts, AlertTarget("log", "log")))
    webhooks.answers = [(-1, {})]
    clock = SystemClock()
    Story(store, tenant, clock.now()).tell(OPENED)
    started = clock.monotonic()
    report = deliver_alerts(store, [tenant], 0, sender=notifier, clock=clock, patience_seconds=1.0)
    assert clock.monotonic() - started < 10
    assert report.delivered == 1
    assert report.cursor == 1


def test_removed_tenant_and_removed_target_are_told_nothing(
    store: Store, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks)
    webhooks.answers = [(500, {})] * 2
    Story(store, tenant, clock.now()).tell(OPENED)
    Alerting(store, tenant, notifier, clock).tick()
    clock.move(3600)
    report = deliver_alerts(store, [], 0, sender=notifier, clock=clock)
    assert (report.delivered, report.failed, report.waiting) == (0, 0, 0)
    assert report.cursor > 0


def failure(clock: ManualClock, key: str = "run-1", what: str = "anomaly_scores") -> RunFailure:
    return RunFailure(
        "aurora", key, "run-1", what, "ValueError: no rows\nat line 3", clock.now(), "http://ui/runs/run-1"
    )


def test_failed_run_is_told_once_however_often_it_is_reported(
    store: Store, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks)
    store.tenants.sync([tenant])
    assert deliver_failure(store, [tenant], failure(clock), sender=notifier, clock=clock)
    assert not deliver_failure(store, [tenant], failure(clock), sender=notifier, clock=clock)
    assert not deliver_failure(store, [tenant], failure(clock, "run-2"), sender=notifier, clock=clock)
    assert deliver_failure(store, [tenant], failure(clock, "run-2", "retention"), sender=notifier, clock=clock)
    clock.move(3601)
    assert deliver_failure(store, [tenant], failure(clock, "run-9"), sender=notifier, clock=clock)
    assert webhooks.kinds == ["run.failed"] * 3
    body = webhooks.calls[0].body
    assert body["text"] == "[FAILED] Aurora Analytics: anomaly_scores: ValueError: no rows"
    assert body["failure"]["url"] == "http://ui/runs/run-1"


def test_secrets_in_a_failed_runs_error_do_not_leave_the_house(
    store: Store, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks)
    store.tenants.sync([tenant])
    leaking = replace(failure(clock), error="cannot reach postgresql://me:hunter2@db/x")
    assert deliver_failure(store, [tenant], leaking, sender=notifier, clock=clock)
    assert "hunter2" not in json.dumps(webhooks.calls[0].body)


def test_failure_that_could_not_be_told_is_told_by_the_next_round(
    store: Store, webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    tenant = aurora(webhooks)
    store.tenants.sync([tenant])
    webhooks.answers = [(500, {})] * 2
    assert deliver_failure(store, [tenant], failure(clock), sender=notifier, clock=clock)
    clock.move(30)
    assert Alerting(store, tenant, notifier, clock).tick().delivered == 1
    assert webhooks.kinds == ["run.failed"] * 3
