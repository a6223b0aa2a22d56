"""Retry: try again, later and later, with full jitter, within a number of attempts and a deadline.

:func:`next_delay` is the rule. Random numbers come from outside: a function like ``random.Random(7).random``.
Full jitter spreads a crowd that failed together (AWS Architecture Blog, "Exponential Backoff And Jitter").
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from collectors_dagster.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long.

    Attributes
    ----------
    attempts : int
        Calls in all, the first one included.
    base_seconds, cap_seconds : float
        The n-th pause is drawn from 0 to ``min(cap, base * 2**(n-1))``.
    deadline_seconds : float
        No pause is begun that would end later than this after the first call.
    """

    attempts: int
    base_seconds: float
    cap_seconds: float
    deadline_seconds: float

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 < self.base_seconds <= self.cap_seconds or self.deadline_seconds < 0:
            raise ValueError(f"a retry policy needs attempts >= 1 and 0 < base <= cap: {self}")


def backoff_seconds(base: float, cap: float, failures: int, draw: float) -> float:
    """Return the pause after the `failures`-th failure in a row; `draw` is in [0, 1).

    Examples
    --------
    >>> [backoff_seconds(0.5, 8.0, n, 0.5) for n in (1, 2, 3, 9)]
    [0.25, 0.5, 1.0, 4.0]
    """
    exponent = min(failures - 1, 63)  # 2.0**1024 would overflow after a night of failures
    return draw * min(cap, base * 2.0**exponent)


def next_delay(
    policy: RetryPolicy, *, failures: int, elapsed: float, retry_after: float | None, draw: float
) -> float | None:
    """Return the pause before the next attempt, or ``None`` to give up.

    Parameters
    ----------
    failures : int
        Attempts so far, all failed.
    elapsed : float
        Seconds since the first attempt began.
    retry_after : float or None
        Lower bound named by the other side; never shortened, so a deadline before it means giving up.
    """
    if failures >= policy.attempts:
        return None
    delay = max(backoff_seconds(policy.base_seconds, policy.cap_seconds, failures, draw), retry_after or 0.0)
    return None if elapsed + delay > policy.deadline_seconds else delay


def retry(
    operation: Callable[[], T],
    *,
    policy: RetryPolicy,
    retry_on: Callable[[Exception], bool],
    clock: Clock,
    random: Callable[[], float],
) -> T:
    """Call `operation` until it succeeds; raise its last error when the policy gives up.

    Parameters
    ----------
    retry_on : callable
        Says whether repeating may help. No default on purpose: repeating a rejected request never helps.
        An error's ``retry_after_seconds`` is the lower bound of the pause.
    """
    started = clock.monotonic()
    failures = 0
    while True:
        try:
            return operation()
        except Exception as error:
            failures += 1
            delay = None
            if retry_on(error):
                delay = next_delay(
                    policy,
                    failures=failures,
                    elapsed=clock.monotonic() - started,
                    retry_after=getattr(error, "retry_after_seconds", None),
                    draw=random(),
                )
            if delay is None:
                raise
        clock.sleep(delay)


class Backoff:
    """Pauses of an endless loop: growing with failures in a row, short again after a success.

    Examples
    --------
    >>> backoff = Backoff(base_seconds=1, cap_seconds=30, random=lambda: 0.5)
    >>> backoff.failed(), backoff.failed(), backoff.failed(retry_after=20)
    (0.5, 1.0, 20)
    >>> backoff.succeeded()
    >>> backoff.failed()
    0.5
    """

    def __init__(self, *, base_seconds: float, cap_seconds: float, random: Callable[[], float]) -> None:
        self._base = base_seconds
        self._cap = cap_seconds
        self._random = random
        self.failures = 0

    def failed(self, retry_after: float | None = None) -> float:
        """Count a failure; return the seconds to wait now."""
        self.failures += 1
        return max(backoff_seconds(self._base, self._cap, self.failures, self._random()), retry_after or 0.0)

    def succeeded(self) -> None:
        """Forget the failures."""
        self.failures = 0
