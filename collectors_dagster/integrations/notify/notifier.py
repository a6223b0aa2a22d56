"""The one way out: sends a message to a target, under the policies."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2s
from types import TracebackType
from typing import Self

import httpx

from collectors_dagster.clock import Clock
from collectors_dagster.config.sections import Patterns
from collectors_dagster.errors import (
    BulkheadFullError,
    CircuitOpenError,
    CollectorsError,
    ConfigurationError,
    RateLimitedError,
    ServiceTimeoutError,
)
from collectors_dagster.integrations.notify import log, webhook
from collectors_dagster.integrations.notify.message import AlertMessage
from collectors_dagster.patterns import (
    Bulkhead,
    BulkheadPolicy,
    CircuitBreaker,
    RateLimiter,
    Retry,
    RetryPolicy,
    failed_if_transient,
    local_rate_limiter,
    rate_policy,
)
from collectors_dagster.patterns.breaker_policy import configured
from collectors_dagster.patterns.shared_state import SharedStore
from collectors_dagster.tenants import AlertTarget

RETRY = RetryPolicy(attempts=2, base_seconds=0.5, cap_seconds=2.0, deadline_seconds=8.0)
"""Short: whoever sends has a ledger and comes again later."""


@dataclass(frozen=True, slots=True)
class _Guards:
    breaker: CircuitBreaker
    limiter: RateLimiter
    turn: Bulkhead


class Notifier:
    """Sends messages; each target has its own circuit and its own rate. Safe to share between threads.

    Parameters
    ----------
    patterns : Patterns
        ``settings.patterns``.
    random : callable
        Like ``random.Random().random``: the jitter.
    timeout_seconds : float
        For each step of a webhook's answer.
    store : SharedStore, optional
        Where a target's circuit lies, its rate is counted and its ``Retry-After`` kept, for all processes that send; by
        default in this object.

    Notes
    -----
    Circuits live in this object: keep it for as long as the process, and close it at the end.
    """

    def __init__(
        self,
        patterns: Patterns,
        *,
        clock: Clock,
        random: Callable[[], float],
        timeout_seconds: float = webhook.TIMEOUT_SECONDS,
        store: SharedStore | None = None,
    ) -> None:
        self._breaker = configured(patterns.circuit_breaker)
        self._rate = rate_policy(patterns.rate_limiter)
        self._clock = clock
        self._store = store
        self._retry = Retry(RETRY, retry_on=_worth_repeating, clock=clock, random=random)
        self._timeout = timeout_seconds
        self._turn = BulkheadPolicy(limit=1, max_wait_seconds=timeout_seconds)
        self._lock = threading.Lock()
        self._guards: dict[tuple[str, str], _Guards] = {}
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def send(self, target: AlertTarget, message: AlertMessage) -> None:
        """Send `message` to `target`; return once it is accepted.

        Raises
        ------
        CollectorsError
            If it was not; whether to come again is told by ``transient`` and ``retry_after_seconds``.
        """
        if target.kind == "log":
            log.write(message)
        elif target.kind == "webhook" and target.url:
            self._post(target, target.url, message)
        else:
            raise ConfigurationError(f"alert target {target.name!r} of kind {target.kind!r} cannot be served")

    def _post(self, target: AlertTarget, url: str, message: AlertMessage) -> None:
        service = f"{message.tenant.id}/{target.name}"
        guards = self._guards_of(service, url)

        try:
            with guards.turn.protect():
                self._post_in_turn(guards, service, url, message)
        except BulkheadFullError as error:
            busy = f"{service}: an earlier alert is still on its way"
            raise ServiceTimeoutError(busy, service=service, operation="wait") from error

    def _post_in_turn(self, guards: _Guards, service: str, url: str, message: AlertMessage) -> None:
        def attempt() -> None:
            guards.limiter.acquire(timeout_seconds=self._timeout)
            guards.breaker.call(
                lambda: webhook.post(self._shared_client(), url, message, service=service, now=self._clock.now())
            )

        try:
            self._retry.call(attempt)
        except RateLimitedError as error:
            guards.limiter.pause(error.retry_after_seconds or 0.0)
            raise

    def _guards_of(self, service: str, url: str) -> _Guards:
        """Return the target's guards; a new address is a new target."""
        with self._lock:
            if (service, url) not in self._guards:
                tenant, name = _shared_name(service, url)
                breaker = CircuitBreaker(
                    name,
                    self._breaker,
                    classify=failed_if_transient,
                    clock=self._clock,
                    store=self._store,
                    tenant=tenant,
                )
                limiter = self._limiter(tenant, name)
                self._guards[service, url] = _Guards(breaker, limiter, Bulkhead(service, self._turn))
            return self._guards[service, url]

    def _limiter(self, tenant: str, name: str) -> RateLimiter:
        if self._store is None:
            return local_rate_limiter(name, self._rate, clock=self._clock)
        return RateLimiter(name, self._rate, store=self._store, clock=self._clock, tenant=tenant)

    def _shared_client(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = webhook.new_client(self._timeout)
            return self._client


def _shared_name(service: str, url: str) -> tuple[str, str]:
    """Return tenant and name under which all processes know a target; of its address, which may be secret, a digest."""
    tenant, _, target = service.partition("/")
    plain = target.replace("{", "(").replace("}", ")")  # braces mark what lies together in the store
    return tenant, f"alert.{plain}.{blake2s(url.encode(), digest_size=4).hexdigest()}"


def _worth_repeating(error: Exception) -> bool:
    return isinstance(error, CollectorsError) and error.transient and not isinstance(error, CircuitOpenError)
