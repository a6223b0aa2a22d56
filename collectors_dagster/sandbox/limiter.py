"""The limits of one developer account: a rolling window, pauses that asking makes longer, and a quota."""

import math
from collections import deque
from dataclasses import dataclass

from collectors_dagster.sandbox.options import Quota, RateLimit

RATE = "rate"
QUOTA_EXCEEDED = "QUOTA_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is answered with 429.

    Attributes
    ----------
    retry_after_seconds : int
        Rounded up: whoever waits that long is let in.
    reason : str
        ``rate`` or ``QUOTA_EXCEEDED``.
    """

    retry_after_seconds: int
    reason: str


class AccountLimiter:
    """Decides about the requests of one account; seconds are those of any clock that does not go back.

    Examples
    --------
    >>> limiter = AccountLimiter(RateLimit(requests=2, window_seconds=30))
    >>> [limiter.ask(second) for second in (0, 10, 20, 30)]
    [None, None, Refusal(retry_after_seconds=10, reason='rate'), None]
    """

    def __init__(self, limit: RateLimit | None, quota: Quota | None = None) -> None:
        self.limit = limit
        self.quota = quota
        self._accepted: deque[float] = deque()
        self._banned_until = -math.inf
        self._ban_reason = RATE
        self._period_began = -math.inf
        self._in_period = 0

    def ask(self, now: float) -> Refusal | None:
        """Let a request in (``None``), or refuse it."""
        if now < self._banned_until:
            self._banned_until += self.limit.escalation_seconds if self.limit else 0.0
            return self._refusal(now)
        self._check_quota(now)
        self._check_window(now)
        if now < self._banned_until:
            return self._refusal(now)
        self._in_period += 1
        if self.limit is not None:
            self._accepted.append(now)
        return None

    def ban(self, until: float, reason: str = RATE) -> None:
        """Refuse everything before `until`; a ban that lasts longer stays."""
        if until > self._banned_until:
            self._banned_until, self._ban_reason = until, reason

    def _check_quota(self, now: float) -> None:
        if self.quota is None:
            return
        if now >= self._period_began + self.quota.period_seconds:
            self._period_began, self._in_period = now, 0
        if self._in_period >= self.quota.requests:
            self.ban(self._period_began + self.quota.period_seconds, QUOTA_EXCEEDED)

    def _check_window(self, now: float) -> None:
        if self.limit is None:
            return
        while self._accepted and self._accepted[0] <= now - self.limit.window_seconds:
            self._accepted.popleft()
        if len(self._accepted) >= self.limit.requests:
            oldest = self._accepted[-self.limit.requests]
            self.ban(max(oldest + self.limit.window_seconds, now + self.limit.lockout_seconds))

    def _refusal(self, now: float) -> Refusal:
        return Refusal(max(math.ceil(self._banned_until - now), 1), self._ban_reason)
