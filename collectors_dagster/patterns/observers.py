"""Who watches what policies decide: metrics, without most of this room knowing any."""

from typing import Protocol

from collectors_dagster.patterns.breaker_policy import Phase


class MetricsSink(Protocol):
    """Counts. It is fast, bounded, callable from any thread, and does not raise for what is declared."""

    def count(self, family: str, *labels: str, amount: float = 1.0) -> None:
        """Add to a counter of :data:`collectors_dagster.patterns.metrics.FAMILIES`."""
        ...

    def observe(self, family: str, *labels: str, value: float, count: float = 1.0) -> None:
        """Take note of a duration or size, or of the sum of `count` of them."""
        ...


class FlowObserver(Protocol):
    """Is told of each decision. It must be fast and must not raise."""

    def rate_limited(self, name: str, result: str) -> None:
        """Count a request: ``granted``, ``delayed`` or ``rejected`` (``rate_limit_requests_total{name,result}``)."""
        ...

    def rate_waited(self, name: str, seconds: float) -> None:
        """Note how long a granted request had to wait (``rate_limit_wait_time_seconds{name}``)."""
        ...

    def bulkhead_in_use(self, name: str, in_use: int) -> None:
        """Note how many permits are out."""
        ...

    def bulkhead_rejected(self, name: str, reason: str) -> None:
        """Count a refusal: ``queue_full`` or ``timeout``."""
        ...


class Unobserved:
    """Watches nothing."""

    def rate_limited(self, name: str, result: str) -> None:
        """Do nothing."""

    def rate_waited(self, name: str, seconds: float) -> None:
        """Do nothing."""

    def bulkhead_in_use(self, name: str, in_use: int) -> None:
        """Do nothing."""

    def bulkhead_rejected(self, name: str, reason: str) -> None:
        """Do nothing."""


UNOBSERVED = Unobserved()


class RetryObserver(Protocol):
    """Is told of calls that failed at first, never of those that went well at once. It must not raise."""

    def repeated(self, delay_seconds: float) -> None:
        """Take note of a repetition that is about to come, after a pause."""
        ...

    def ended(self, *, recovered: bool) -> None:
        """Take note of how a call ended that had failed."""
        ...

    def budget_exhausted(self) -> None:
        """Take note of a repetition that the budget refused."""
        ...


class ServiceObserver:
    """Counts for one service, whatever its circuits and limits are called: a name of theirs is no label.

    It observes breakers, limiters, bulkheads and retries.
    """

    def __init__(self, service: str, metrics: MetricsSink) -> None:
        self._service = service
        self._count, self._observe = metrics.count, metrics.observe

    def calls(self, name: str, result: str, count: int, seconds: float) -> None:
        """Count calls of a circuit."""
        self._count("circuit_breaker_calls_total", self._service, result, amount=count)
        if result != "rejected":
            self._observe("collectors_circuit_breaker_call_seconds", self._service, value=seconds, count=count)

    def changed(self, name: str, before: Phase, after: Phase) -> None:
        """Do nothing: shared state tells whoever asks."""

    def rate_limited(self, name: str, result: str) -> None:
        """Count a decision of a limiter."""
        self._count("rate_limit_requests_total", self._service, result)

    def rate_waited(self, name: str, seconds: float) -> None:
        """Note a wait for a limiter."""
        self._observe("rate_limit_wait_time_seconds", self._service, value=seconds)

    def bulkhead_in_use(self, name: str, in_use: int) -> None:
        """Do nothing: a number that is gone before anybody asks."""

    def bulkhead_rejected(self, name: str, reason: str) -> None:
        """Count a refusal."""
        self._count("collectors_bulkhead_rejected_total", self._service, reason)

    def repeated(self, delay_seconds: float) -> None:
        """Count a repetition and its pause."""
        self._count("collectors_retry_attempts_total", self._service, "repeated")
        self._observe("collectors_retry_delay_seconds", self._service, value=delay_seconds)

    def ended(self, *, recovered: bool) -> None:
        """Count how a call ended that had failed."""
        self._count("collectors_retry_attempts_total", self._service, "recovered" if recovered else "gave_up")

    def budget_exhausted(self) -> None:
        """Count a repetition that the budget refused."""
        self._count("collectors_retry_budget_exhausted_total", self._service)
