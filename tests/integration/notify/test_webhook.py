import logging
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from collectors_dagster.clock import ManualClock
from collectors_dagster.config.policy_sections import CircuitBreaker, RateLimiter
from collectors_dagster.config.sections import Patterns
from collectors_dagster.errors import (
    CircuitOpenError,
    CollectorsError,
    ConfigurationError,
    RateLimitedError,
    RateLimitExceededError,
    RequestRejectedError,
    ServiceFailedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
)
from collectors_dagster.integrations.notify import AlertMessage, Notifier
from collectors_dagster.integrations.notify.message import AlertKind, TenantPart
from collectors_dagster.integrations.retry_after import retry_after_seconds
from collectors_dagster.patterns.policies import Policies
from collectors_dagster.patterns.shared_state import SharedStore
from collectors_dagster.tenants import AlertTarget
from tests.support.shared_stores import PATIENT, redis_store
from tests.support.webhooks import WebhookServer, running_webhooks

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
SECRET = "s3cr3t-t0ken"
MESSAGE = AlertMessage(
    id="aurora-1",
    kind=AlertKind.OPENED,
    at=NOW,
    text="[WARNING] web-1",
    tenant=TenantPart(id="aurora", name="Aurora", synthetic=False),
)
PATTERNS = Patterns(
    circuit_breaker=CircuitBreaker(failure_threshold=4, recovery_timeout=30),
    rate_limiter=RateLimiter(requests_per_second=2, burst_size=4),
)


@pytest.fixture
def webhooks() -> Iterator[WebhookServer]:
    with running_webhooks() as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def policies(clock: ManualClock, store: SharedStore | None = None) -> Policies:
    return Policies(PATTERNS, clock=clock, random=lambda: 0.5, store=store)


@pytest.fixture
def notifier(clock: ManualClock) -> Iterator[Notifier]:
    with Notifier(policies(clock), clock=clock, timeout_seconds=0.3) as made:
        yield made


def target(url: str) -> AlertTarget:
    return AlertTarget("webhook", "ops", url)


def test_body_and_headers_arrive_as_documented(webhooks: WebhookServer, notifier: Notifier) -> None:
    notifier.send(target(webhooks.url(f"/hook/{SECRET}")), MESSAGE)
    (call,) = webhooks.calls
    assert call.path == f"/hook/{SECRET}"
    assert call.headers["Idempotency-Key"] == call.body["id"] == "aurora-1"
    assert call.headers["Content-Type"] == "application/json"
    assert AlertMessage.model_validate(call.body) == MESSAGE


def test_failed_answer_is_repeated_once_with_the_same_key(
    webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    webhooks.answers = [(503, {"Retry-After": "3"})]
    notifier.send(target(webhooks.url()), MESSAGE)
    assert [call.headers["Idempotency-Key"] for call in webhooks.calls] == ["aurora-1", "aurora-1"]
    assert clock.monotonic() == 3.0


def test_429_makes_every_process_wait_as_told(webhooks: WebhookServer, redis_url: str, clock: ManualClock) -> None:
    webhooks.answers = [(429, {"Retry-After": "60"})]
    with redis_store(redis_url, PATIENT) as store:
        for expected in (RateLimitedError, RateLimitExceededError, RateLimitExceededError):
            with (
                Notifier(policies(clock, store), clock=clock, timeout_seconds=0.3) as each,
                pytest.raises(expected),
            ):
                each.send(target(webhooks.url()), MESSAGE)
    assert len(webhooks.calls) == 1


@pytest.mark.parametrize("status", [*range(200, 207), 226])
def test_success_is_any_2xx(webhooks: WebhookServer, notifier: Notifier, status: int) -> None:
    webhooks.answers = [(status, {})]
    notifier.send(target(webhooks.url()), MESSAGE)
    assert len(webhooks.calls) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, RequestRejectedError) for status in (301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 422)),
        (408, ServiceTimeoutError),
        (429, RateLimitedError),
        *((status, ServiceFailedError) for status in (500, 501, 502, 503, 504, 599)),
    ],
)
def test_every_other_status_is_the_error_that_says_what_to_do(
    webhooks: WebhookServer, notifier: Notifier, status: int, expected: type[CollectorsError]
) -> None:
    webhooks.answers = [(status, {"Location": webhooks.url("/elsewhere")})] * 2
    with pytest.raises(expected) as raised:
        notifier.send(target(webhooks.url()), MESSAGE)
    assert str(status) in str(raised.value)
    assert len(webhooks.calls) == (2 if expected.transient else 1)
    assert {call.path for call in webhooks.calls} == {"/hook"}  # redirects were not followed


def test_silent_server_is_given_up_in_time(webhooks: WebhookServer, notifier: Notifier) -> None:
    webhooks.answers = [(0, {}), (0, {})]
    with pytest.raises(ServiceTimeoutError, match=r"no answer within 0\.3 s"):
        notifier.send(target(webhooks.url()), MESSAGE)


def test_closed_port_is_unreachable(notifier: Notifier) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/{SECRET}"
        with pytest.raises(ServiceUnreachableError):
            notifier.send(target(url), MESSAGE)


def test_failing_target_is_left_alone_for_a_while_and_others_are_not(
    webhooks: WebhookServer, notifier: Notifier, clock: ManualClock
) -> None:
    webhooks.answers = [(500, {})] * 4
    for _ in range(2):
        with pytest.raises(ServiceFailedError):
            notifier.send(target(webhooks.url()), MESSAGE)
    with pytest.raises(CircuitOpenError):
        notifier.send(target(webhooks.url()), MESSAGE)
    assert len(webhooks.calls) == 4
    notifier.send(AlertTarget("webhook", "other", webhooks.url("/other")), MESSAGE)
    clock.move(30)
    notifier.send(target(webhooks.url()), MESSAGE)
    assert len(webhooks.calls) == 6


def test_corrected_address_is_tried_at_once(webhooks: WebhookServer, notifier: Notifier) -> None:
    webhooks.answers = [(500, {})] * 4
    for _ in range(2):
        with pytest.raises(ServiceFailedError):
            notifier.send(target(webhooks.url("/wrong")), MESSAGE)
    notifier.send(target(webhooks.url("/right")), MESSAGE)
    assert webhooks.calls[-1].path == "/right"


def test_rate_is_kept_per_target(webhooks: WebhookServer, notifier: Notifier, clock: ManualClock) -> None:
    for _ in range(5):
        notifier.send(target(webhooks.url()), MESSAGE)
    assert clock.monotonic() == pytest.approx(0.5)


def test_429_makes_the_target_wait_as_told(webhooks: WebhookServer, notifier: Notifier, clock: ManualClock) -> None:
    webhooks.answers = [(429, {"Retry-After": "60"})]
    with pytest.raises(RateLimitedError):
        notifier.send(target(webhooks.url()), MESSAGE)
    with pytest.raises(CollectorsError, match="rate limit"):
        notifier.send(target(webhooks.url()), MESSAGE)
    assert len(webhooks.calls) == 1
    clock.move(60)
    notifier.send(target(webhooks.url()), MESSAGE)
    assert len(webhooks.calls) == 2


@pytest.mark.parametrize("url", [f"http://{SECRET}.invalid/", f"http://[{SECRET}/", f"ftp://{SECRET}/", SECRET])
def test_address_appears_neither_in_errors_nor_in_logs(
    webhooks: WebhookServer, notifier: Notifier, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    caplog.set_level(logging.DEBUG)
    notifier.send(target(webhooks.url(f"/{SECRET}")), MESSAGE)
    with pytest.raises(CollectorsError) as raised:
        notifier.send(target(url), MESSAGE)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert SECRET not in caplog.text


def test_target_without_an_address_or_of_an_unknown_kind_says_so(notifier: Notifier) -> None:
    for wrong in (AlertTarget("webhook", "ops"), AlertTarget("pigeon", "ops")):
        with pytest.raises(ConfigurationError, match="ops"):
            notifier.send(wrong, MESSAGE)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("17", 17.0),
        ("99999999999999999999", 3600.0),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.0),
        ("45.5", 45.5),
        ("30s", 30.0),
        ("7 seconds", 7.0),
        ("7, 7", 7.0),
        ("-5", None),
        ("1e9", None),
        ("", None),
        ("²", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW, at_most=3600) == seconds
