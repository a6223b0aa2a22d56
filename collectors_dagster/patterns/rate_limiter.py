"""Token bucket: `rate` calls a second on average, `burst` at once.

:func:`take` is the rule, :class:`TokenBucket` keeps one bucket in this process.
"""

import threading
from dataclasses import dataclass

from collectors_dagster.clock import Clock
from collectors_dagster.errors import RateLimitExceededError


@dataclass(frozen=True, slots=True)
class BucketPolicy:
    """What a bucket grants.

    Attributes
    ----------
    requests_per_second : float
        Tokens that flow in.
    burst_size : float
        Tokens it holds at most: grants that may come at once.
    """

    requests_per_second: float
    burst_size: float

    def __post_init__(self) -> None:
        if self.requests_per_second <= 0 or self.burst_size < 1:
            raise ValueError(f"a token bucket needs a positive rate and a burst of at least 1: {self}")


@dataclass(frozen=True, slots=True)
class BucketState:
    """Tokens at an instant (seconds of one monotonic clock).

    Attributes
    ----------
    tokens : float
        Below zero while a pause is kept.
    """

    tokens: float
    at: float


def full(policy: BucketPolicy, now: float) -> BucketState:
    """Return a bucket that has never been used."""
    return BucketState(policy.burst_size, now)


def refilled(policy: BucketPolicy, state: BucketState, now: float) -> BucketState:
    """Return the bucket at `now`; a clock that stands or goes back adds nothing."""
    elapsed = max(0.0, now - state.at)
    tokens = min(policy.burst_size, state.tokens + elapsed * policy.requests_per_second)
    return BucketState(tokens, max(now, state.at))


def take(policy: BucketPolicy, state: BucketState, now: float, cost: float = 1.0) -> tuple[BucketState, float]:
    """Take `cost` tokens: the next state, and 0 if granted or the seconds until it would be.

    A refusal takes nothing.

    Examples
    --------
    >>> policy = BucketPolicy(requests_per_second=2, burst_size=1)
    >>> state, wait = take(policy, full(policy, 0.0), 0.0)
    >>> wait
    0.0
    >>> take(policy, state, 0.0)[1]
    0.5
    """
    if not 0 < cost <= policy.burst_size:
        raise ValueError(f"a bucket of {policy.burst_size} can never grant {cost} tokens")
    state = refilled(policy, state, now)
    missing = cost - state.tokens
    if missing > 1e-9:
        return state, missing / policy.requests_per_second
    return BucketState(state.tokens - cost, state.at), 0.0


def paused(policy: BucketPolicy, state: BucketState, now: float, seconds: float) -> BucketState:
    """Return a bucket that grants nothing before `seconds` have passed (the other side said 429)."""
    state = refilled(policy, state, now)
    return BucketState(min(state.tokens, 1.0 - seconds * policy.requests_per_second), state.at)


class TokenBucket:
    """One bucket of this process; safe to share between threads."""

    def __init__(self, name: str, policy: BucketPolicy, *, clock: Clock) -> None:
        self.name = name
        self.policy = policy
        self._clock = clock
        self._lock = threading.Lock()
        self._state = full(policy, clock.monotonic())

    def try_acquire(self, cost: float = 1.0) -> float:
        """Take `cost` tokens and return 0, or take nothing and return the seconds to wait."""
        with self._lock:
            self._state, wait = take(self.policy, self._state, self._clock.monotonic(), cost)
        return wait

    def acquire(self, *, timeout_seconds: float, cost: float = 1.0) -> None:
        """Wait for `cost` tokens.

        Raises
        ------
        RateLimitExceededError
            At once, if they will not be there within `timeout_seconds`, or after others were faster.
        """
        deadline = self._clock.monotonic() + timeout_seconds
        while (wait := self.try_acquire(cost)) > 0:
            if self._clock.monotonic() + wait > deadline:
                raise _exceeded(self.name, wait)
            self._clock.sleep(wait)

    def pause(self, seconds: float) -> None:
        """Grant nothing for `seconds`."""
        with self._lock:
            self._state = paused(self.policy, self._state, self._clock.monotonic(), seconds)


def _exceeded(name: str, wait: float) -> RateLimitExceededError:
    error = RateLimitExceededError(f"the rate limit {name!r} is used up; a place is free in {wait:.1f} s")
    error.retry_after_seconds = wait
    return error
