"""Who watches what limiters and bulkheads decide: metrics, without this room knowing any."""

from typing import Protocol


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
