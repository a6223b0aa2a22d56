"""What a rate limit grants, and how it is told to the rules."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from collectors_dagster.patterns.rate_rules import BUCKET, COUNTERS, FIXED, LOG, LOG_MOST
from collectors_dagster.patterns.shared_state import Step


class Algorithm(StrEnum):
    """How requests are counted."""

    TOKEN_BUCKET = "token_bucket"  # noqa: S105 - no password
    """`burst_size` at once, then one after the other at the rate."""
    SLIDING_WINDOW = "sliding_window"
    """In any stretch of `window_seconds` at most what the rate allows in one."""
    FIXED_WINDOW = "fixed_window"
    """In each stretch of the store's clock; around its border up to twice as many may come."""
    LEAKY_BUCKET = "leaky_bucket"
    """Evenly spaced; at most `burst_size` wait, and nobody longer than that takes."""


_LONGEST_WAIT_SECONDS = 1e6


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """What a limiter grants.

    Attributes
    ----------
    requests_per_second : float
        Sustained rate.
    burst_size : int
        Token bucket: units that may come at once. Leaky bucket: units that may wait. Windows: without meaning.
    window_seconds : float
        Windows only: each grants ``requests_per_second * window_seconds``, rounded down.

    Raises
    ------
    ValueError
        If nothing could ever be granted, or the store's clock (microseconds) cannot tell two grants apart.
    """

    requests_per_second: float
    burst_size: int = 1
    algorithm: Algorithm = Algorithm.TOKEN_BUCKET
    window_seconds: float = 1.0

    def __post_init__(self) -> None:
        if not 1e-6 <= self.requests_per_second <= 1e6:
            raise ValueError(f"requests_per_second is from 0.000001 to 1,000,000, not {self.requests_per_second}")
        if self.burst_size < 1:
            raise ValueError(f"burst_size holds at least one request (cost 1), not {self.burst_size}")
        if not 0.001 <= self.window_seconds <= 86_400:
            reason = "keys of the store live for whole milliseconds, a day at most here"
            raise ValueError(f"window_seconds is from 0.001 to 86,400, not {self.window_seconds}: {reason}")
        if self.windowed and self.limit < 1:
            least = 1 / self.requests_per_second
            raise ValueError(
                f"window_seconds {self.window_seconds:g} is shorter than one request takes at "
                f"requests_per_second {self.requests_per_second:g}: at least {least:g} s"
            )

    @property
    def windowed(self) -> bool:
        """Whether requests are counted in windows."""
        return self.algorithm in {Algorithm.SLIDING_WINDOW, Algorithm.FIXED_WINDOW}

    @property
    def limit(self) -> int:
        """Units that one window grants."""
        return int(self.requests_per_second * self.window_seconds + 1e-9)

    @property
    def largest_cost(self) -> int:
        """Units that one request may cost at most."""
        if self.algorithm is Algorithm.LEAKY_BUCKET:
            return LOG_MOST
        return self.limit if self.windowed else self.burst_size

    @property
    def step(self) -> Step:
        """The rule that counts."""
        if self.algorithm is Algorithm.FIXED_WINDOW:
            return FIXED
        if self.algorithm is Algorithm.SLIDING_WINDOW:
            return LOG if self.limit <= LOG_MOST else COUNTERS
        return BUCKET

    def numbers(self, cost: int, shares: int = 1) -> tuple[int, int]:
        """Return the rule's two own numbers, for all of the limit or for one of so many equal shares.

        Examples
        --------
        >>> RatePolicy(100.0, 10).numbers(1), RatePolicy(100.0, 10).numbers(1, shares=4)
        ((10000000, 10), (40000000, 2))
        """
        if self.windowed:
            length = round(self.window_seconds * 1e6)
            limit = max(cost, self.limit // shares)
            # Fewer units than sharers: whole units in longer windows.
            return limit, max(length, -(-length * shares * limit // self.limit))
        interval = -(-shares * 10**9 // self.requests_per_second)
        burst = cost if self.algorithm is Algorithm.LEAKY_BUCKET else max(cost, self.burst_size // shares)
        return int(interval), burst

    def longest_queue_seconds(self) -> float:
        """Return how long a request may wait at most, whatever it says itself."""
        if self.algorithm is Algorithm.LEAKY_BUCKET:
            return self.burst_size / self.requests_per_second
        return _LONGEST_WAIT_SECONDS


class RateSettings(Protocol):
    """``patterns.rate_limiter``, as settings or as the agent's plan."""

    @property
    def requests_per_second(self) -> float:
        """Sustained rate."""
        ...

    @property
    def burst_size(self) -> int:
        """Requests at once."""
        ...

    @property
    def algorithm(self) -> str:
        """Name of an :class:`Algorithm`."""
        ...

    @property
    def window_seconds(self) -> float:
        """Length of windows."""
        ...


def rate_policy(settings: RateSettings) -> RatePolicy:
    """Return the policy that settings ask for."""
    return RatePolicy(
        settings.requests_per_second, settings.burst_size, Algorithm(settings.algorithm), settings.window_seconds
    )
