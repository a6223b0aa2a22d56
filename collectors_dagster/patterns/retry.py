"""Retry: try again, later and later, with jitter, within a number of attempts, a deadline and a budget.

:func:`next_delay` is the rule. Random numbers come from outside: a function like ``random.Random(7).random``.
Jitter spreads a crowd that failed together; decorrelated jitter most, full jitter nearly as much (AWS Architecture
Blog, "Exponential Backoff And Jitter").
"""

import inspect
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from collectors_dagster.clock import AsyncClock, Clock
from collectors_dagster.patterns.deadline import remaining_seconds
from collectors_dagster.patterns.observers import RetryObserver
from collectors_dagster.patterns.policy import Layer, Policy, works_later
from collectors_dagster.patterns.retry_budget import RetryBudget

P = ParamSpec("P")
T = TypeVar("T")


class Growth(StrEnum):
    """How pauses grow with failures in a row, from `base_seconds` on."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    FIBONACCI = "fibonacci"


class Jitter(StrEnum):
    """What chance makes of a pause."""

    NONE = "none"
    FULL = "full"
    """Anything from 0 to the pause."""
    EQUAL = "equal"
    """Half of it, and anything up to the other half."""
    DECORRELATED = "decorrelated"
    """Anything from the base to three times the pause before; `growth` does not matter."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long.

    Attributes
    ----------
    attempts : int
        Calls in all, the first one included.
    base_seconds, cap_seconds : float
        The first pause before chance has its say, and the longest.
    deadline_seconds : float
        No pause is begun that would end later than this after the first call.
    """

    attempts: int
    base_seconds: float
    cap_seconds: float
    deadline_seconds: float
    growth: Growth = Growth.EXPONENTIAL
    jitter: Jitter = Jitter.FULL

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts {self.attempts} of a retry policy: the first call is one of them, at least 1")
        if not 0 < self.base_seconds <= self.cap_seconds < math.inf:
            raise ValueError(
                f"a retry policy needs 0 < base_seconds <= cap_seconds, "
                f"not base {self.base_seconds} and cap {self.cap_seconds}"
            )
        if not self.deadline_seconds >= 0:
            raise ValueError(f"deadline_seconds {self.deadline_seconds} of a retry policy is negative")

    def pause(self, failures: int, draw: float, previous: float) -> float:
        """Return the pause after the `failures`-th failure in a row; `draw` is in [0, 1), `previous` the pause before.

        Examples
        --------
        >>> policy = RetryPolicy(9, 0.5, 8.0, 60.0, Growth.FIBONACCI, Jitter.NONE)
        >>> [policy.pause(failures, 0.0, 0.0) for failures in (1, 2, 3, 4, 5)]
        [0.5, 0.5, 1.0, 1.5, 2.5]
        """
        if self.jitter is Jitter.DECORRELATED:
            highest = 3 * max(previous, self.base_seconds)
            return min(self.cap_seconds, self.base_seconds + draw * (highest - self.base_seconds))
        grown = min(self.cap_seconds, self.base_seconds * _factor(self.growth, failures))
        if self.jitter is Jitter.FULL:
            return draw * grown
        return grown if self.jitter is Jitter.NONE else grown / 2 + draw * grown / 2


def _factor(growth: Growth, failures: int) -> float:
    if growth is Growth.FIXED:
        return 1.0
    if growth is Growth.LINEAR:
        return float(failures)
    exponent = min(failures, 64) - 1  # 2.0**1024 would overflow after a night of failures
    if growth is Growth.EXPONENTIAL:
        return 2.0**exponent
    before, present = 0, 1
    for _ in range(exponent):
        before, present = present, before + present
    return float(present)


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
    policy: RetryPolicy,
    *,
    failures: int,
    elapsed: float,
    retry_after: float | None,
    draw: float,
    previous: float = 0.0,
    left: float = math.inf,
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
    previous : float
        The pause before, 0 for the first.
    left : float
        Seconds that a deadline of the caller's leaves.
    """
    if failures >= policy.attempts:
        return None
    delay = max(policy.pause(failures, draw, previous), retry_after or 0.0)
    return None if elapsed + delay > policy.deadline_seconds or delay >= left else delay


class _Course:
    """One call that has failed at least once."""

    def __init__(self, retry: "Retry", started: float) -> None:
        self._retry = retry
        self._started = started
        self._failures = 0
        self._previous = 0.0

    def pause_after(self, error: Exception) -> float | None:
        """Return the seconds to wait before the next attempt; ``None``: there is none, the error is the answer."""
        delay = self._decided(error)
        observer = self._retry.observer
        if observer is not None:
            if delay is not None:
                observer.repeated(delay)
            elif self._failures > 1:
                observer.ended(recovered=False)
        return delay

    def recovered(self) -> None:
        """Tell that a repetition went well."""
        if self._retry.observer is not None:
            self._retry.observer.ended(recovered=True)

    def _decided(self, error: Exception) -> float | None:
        retry = self._retry
        self._failures += 1
        if not retry.retry_on(error):
            return None
        now = retry.clock.monotonic()
        delay = next_delay(
            retry.policy,
            failures=self._failures,
            elapsed=now - self._started,
            retry_after=getattr(error, "retry_after_seconds", None),
            draw=retry.random(),
            previous=self._previous,
            left=remaining_seconds(),
        )
        if delay is None:
            return None
        if retry.budget is not None and not retry.budget.allows(now):
            if retry.observer is not None:
                retry.observer.budget_exhausted()
            return None
        self._previous = delay
        return delay


class Retry:
    """Calls until it succeeds, or the policy gives up; then the last error passes through unchanged.

    Parameters
    ----------
    retry_on : callable
        Says whether repeating may help. No default on purpose: repeating a rejected request never helps.
        An error's ``retry_after_seconds`` is the lower bound of the pause, also that of an open circuit.
    budget : RetryBudget, optional
        Of all calls to the same service.
    observer : RetryObserver, optional
        Is told of calls that failed at first.

    Examples
    --------
    >>> from collectors_dagster.clock import ManualClock
    >>> policy = RetryPolicy(attempts=3, base_seconds=1, cap_seconds=8, deadline_seconds=60)
    >>> again = Retry(policy, retry_on=lambda error: True, clock=ManualClock(), random=lambda: 0.5)
    >>> again.call(lambda: "answer")
    'answer'
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        retry_on: Callable[[Exception], bool],
        clock: Clock,
        random: Callable[[], float],
        budget: RetryBudget | None = None,
        observer: RetryObserver | None = None,
    ) -> None:
        self.policy = policy
        self.observer = observer
        self.retry_on = retry_on
        self.clock = clock
        self.random = random
        self.budget = budget
        self._monotonic = clock.monotonic

    def __or__(self, inner: Layer) -> Policy:
        return Policy(self, inner)

    def call(self, operation: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `operation`, repeatedly if need be."""
        started = self._begun()
        try:
            return operation(*args, **kwargs)
        except Exception as error:
            course, delay = self._first_failure(error, started)
            if delay is None:
                raise
        return self._repeated(lambda: operation(*args, **kwargs), course, delay)

    async def acall(self, operation: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `operation`, repeatedly if need be."""
        started = self._begun()
        try:
            return await operation(*args, **kwargs)
        except Exception as error:
            course, delay = self._first_failure(error, started)
            if delay is None:
                raise
        return await self._arepeated(lambda: operation(*args, **kwargs), course, delay)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function or coroutine; its signature is kept.

        Raises
        ------
        TypeError
            For a generator or a context manager made of one: what it has given cannot be taken back to begin anew.
        """
        if works_later(function):
            raise TypeError(f"{function.__qualname__} is a generator, which cannot be begun anew in the middle")
        coroutine = cast("Callable[..., Any]", function)
        begun = self._begun if self.budget is not None else self._monotonic

        # What :meth:`call` and :meth:`acall` do, without a call in between: most calls go well.
        def guarded(*args: Any, **kwargs: Any) -> Any:
            started = begun()
            try:
                return function(*args, **kwargs)
            except Exception as error:
                course, delay = self._first_failure(error, started)
                if delay is None:
                    raise
            return self._repeated(lambda: function(*args, **kwargs), course, delay)

        async def aguarded(*args: Any, **kwargs: Any) -> Any:
            started = begun()
            try:
                return await (coroutine(*args, **kwargs) if kwargs else coroutine(*args))  # an empty dict costs, too
            except Exception as error:
                course, delay = self._first_failure(error, started)
                if delay is None:
                    raise
            return await self._arepeated(lambda: coroutine(*args, **kwargs), course, delay)

        chosen = aguarded if inspect.iscoroutinefunction(function) else guarded
        return cast("Callable[P, T]", wraps(function)(chosen))

    def _first_failure(self, error: Exception, started: float) -> tuple[_Course, float | None]:
        course = _Course(self, started)
        return course, course.pause_after(error)

    def _repeated(self, operation: Callable[[], T], course: _Course, delay: float) -> T:
        while True:
            self.clock.sleep(delay)
            try:
                result = operation()
            except Exception as error:
                pause = course.pause_after(error)
                if pause is None:
                    raise
                delay = pause
            else:
                course.recovered()
                return result

    async def _arepeated(self, operation: Callable[[], Coroutine[Any, Any, T]], course: _Course, delay: float) -> T:
        while True:
            await cast("AsyncClock", self.clock).asleep(delay)
            try:
                result = await operation()
            except Exception as error:
                pause = course.pause_after(error)
                if pause is None:
                    raise
                delay = pause
            else:
                course.recovered()
                return result

    def _begun(self) -> float:
        now = self._monotonic()
        if self.budget is not None:
            self.budget.called(now)
        return now


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
