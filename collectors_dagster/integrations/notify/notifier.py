"""The one way out: sends a message to a target, under the policies."""

import threading
from hashlib import blake2s
from types import TracebackType
from typing import Self

import httpx

from collectors_dagster.clock import Clock
from collectors_dagster.errors import (
    BulkheadFullError,
    ConfigurationError,
    ServiceTimeoutError,
)
from collectors_dagster.integrations.notify import log, webhook
from collectors_dagster.integrations.notify.message import AlertMessage
from collectors_dagster.patterns.policies import Guards, Policies
from collectors_dagster.tenants import AlertTarget


class Notifier:
    """Sends messages; each target has its own circuit and its own rate. Safe to share between threads.

    Parameters
    ----------
    policies : Policies
        Make each target's circuit, rate and place; where they share state, all processes that send share it.
    timeout_seconds : float
        For each step of a webhook's answer.

    Notes
    -----
    Circuits live in this object: keep it for as long as the process, and close it at the end.
    """

    def __init__(self, policies: Policies, *, clock: Clock, timeout_seconds: float = webhook.TIMEOUT_SECONDS) -> None:
        self._policies = policies
        self._clock = clock
        self._timeout = timeout_seconds
        self._lock = threading.Lock()
        self._guards: dict[tuple[str, str], Guards] = {}
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

        def attempt() -> None:
            webhook.post(self._shared_client(), url, message, service=service, now=self._clock.now())

        try:
            self._guards_of(service, url).policy.call(attempt)
        except BulkheadFullError as error:
            busy = f"{service}: an earlier alert is still on its way"
            raise ServiceTimeoutError(busy, service=service, operation="wait") from error

    def _guards_of(self, service: str, url: str) -> Guards:
        """Return the target's guards; a new address is a new target."""
        with self._lock:
            if (service, url) not in self._guards:
                tenant, instance = _shared_name(service, url)
                self._guards[service, url] = self._policies.guards("notifications", instance=instance, tenant=tenant)
            return self._guards[service, url]

    def _shared_client(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = webhook.new_client(self._timeout)
            return self._client


def _shared_name(service: str, url: str) -> tuple[str, str]:
    """Return tenant and instance under which all processes know a target.

    Its address, which may be secret, is only there as a digest.
    """
    tenant, _, target = service.partition("/")
    plain = target.replace("{", "(").replace("}", ")")  # braces mark what lies together in the store
    return tenant, f"{plain}.{blake2s(url.encode(), digest_size=4).hexdigest()}"
