"""Circuit breaker: stop calling what keeps failing, and probe it carefully.

The rules are two pure transitions, :func:`admit` before a call and :func:`settle` after it, over a
:class:`BreakerState`. :class:`CircuitBreaker` keeps one state in this process.

Three habits that many breakers lack: the half-open circuit lets through only a fixed number of probes
however many callers ask; a probe that never reports gives its place back when its lease ends; a result that was
admitted before the circuit changed is too late to change it again.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from collectors_dagster.clock import Clock
from collectors_dagster.errors import CircuitOpenError, CollectorsError

T = TypeVar("T")


class Phase(StrEnum):
    """Where the circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Outcome(StrEnum):
    """What one call says about the health of the other side."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"
    """Nothing: cancelled, or refused for reasons of the caller's own."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens, and how it closes again.

    Attributes
    ----------
    failure_threshold : int
        Failures among the last `window_calls` outcomes that open the circuit.
    recovery_seconds : float
        Time it stays open before probes are let through.
    window_calls : int or None
        Outcomes remembered while closed; by default twice the threshold.
    probes : int
        Calls let through at once while half open, and successes needed to close.
    lease_seconds : float
        A probe that has not reported after this time is given up.
    """

    failure_threshold: int
    recovery_seconds: float
    window_calls: int | None = None
    probes: int = 1
    lease_seconds: float = 60.0

    def __post_init__(self) -> None:
        window = self.window
        if self.failure_threshold < 1 or self.probes < 1 or window < self.failure_threshold:
            raise ValueError(f"a breaker needs 1 <= failure_threshold <= window_calls and probes >= 1: {self}")
        if self.recovery_seconds <= 0 or self.lease_seconds <= 0:
            raise ValueError(f"a breaker's times are positive: {self}")

    @property
    def window(self) -> int:
        """Outcomes remembered while closed."""
        return self.window_calls if self.window_calls is not None else 2 * self.failure_threshold


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call; hand it back with the outcome."""

    generation: int
    probe: int | None = None


@dataclass(frozen=True, slots=True)
class BreakerState:
    """All that is remembered. Times are seconds of one monotonic clock.

    Attributes
    ----------
    generation : int
        Grows with every change of phase; outcomes of older generations are ignored.
    failures : tuple of bool
        The last outcomes while closed, oldest first, true for a failure.
    leases : tuple of (int, float)
        Probes on their way: number and end of the lease.
    """

    phase: Phase = Phase.CLOSED
    generation: int = 0
    failures: tuple[bool, ...] = ()
    open_until: float = 0.0
    leases: tuple[tuple[int, float], ...] = ()
    probes_made: int = 0
    probes_succeeded: int = 0


def admit(policy: BreakerPolicy, state: BreakerState, now: float) -> tuple[BreakerState, Permit | None]:
    """Ask for leave to call: the next state, and a permit or ``None`` if the call is refused.

    Examples
    --------
    >>> policy = BreakerPolicy(failure_threshold=1, recovery_seconds=30)
    >>> state, permit = admit(policy, BreakerState(), now=0.0)
    >>> state = settle(policy, state, permit, Outcome.FAILURE, now=0.0)
    >>> admit(policy, state, now=29.0)[1] is None
    True
    >>> admit(policy, state, now=30.0)[1]
    Permit(generation=2, probe=0)
    """
    if state.phase is Phase.CLOSED:
        return state, Permit(state.generation)
    if state.phase is Phase.OPEN:
        if now < state.open_until:
            return state, None
        state = BreakerState(Phase.HALF_OPEN, state.generation + 1)
    return _admit_probe(policy, state, now)


def settle(policy: BreakerPolicy, state: BreakerState, permit: Permit, outcome: Outcome, now: float) -> BreakerState:
    """Report how a permitted call ended; return the next state."""
    if permit.generation != state.generation:
        return state
    if permit.probe is None:
        return _settle_call(policy, state, outcome, now)
    return _settle_probe(policy, state, permit.probe, outcome, now)


def seconds_until_probe(state: BreakerState, now: float) -> float:
    """Return how long a refused caller should wait at least; 0 if it may ask now."""
    if state.phase is Phase.OPEN:
        return max(0.0, state.open_until - now)
    if state.phase is Phase.HALF_OPEN and state.leases:
        return max(0.0, min(end for _, end in state.leases) - now)
    return 0.0


def _admit_probe(policy: BreakerPolicy, state: BreakerState, now: float) -> tuple[BreakerState, Permit | None]:
    leases = tuple(lease for lease in state.leases if lease[1] > now)
    state = replace(state, leases=leases)
    if len(leases) + state.probes_succeeded >= policy.probes:
        return state, None
    number = state.probes_made
    state = replace(state, leases=(*leases, (number, now + policy.lease_seconds)), probes_made=number + 1)
    return state, Permit(state.generation, number)


def _settle_call(policy: BreakerPolicy, state: BreakerState, outcome: Outcome, now: float) -> BreakerState:
    if outcome is Outcome.IGNORED:
        return state
    failures = (*state.failures, outcome is Outcome.FAILURE)[-policy.window :]
    if sum(failures) >= policy.failure_threshold:
        return _opened(policy, state, now)
    return replace(state, failures=failures)


def _settle_probe(policy: BreakerPolicy, state: BreakerState, probe: int, outcome: Outcome, now: float) -> BreakerState:
    leases = tuple(lease for lease in state.leases if lease[0] != probe)
    if len(leases) == len(state.leases):  # its lease ended long ago: another probe decides
        return state
    if outcome is Outcome.FAILURE:
        return _opened(policy, state, now)
    succeeded = state.probes_succeeded + (outcome is Outcome.SUCCESS)
    if succeeded >= policy.probes:
        return BreakerState(Phase.CLOSED, state.generation + 1)
    return replace(state, leases=leases, probes_succeeded=succeeded)


def _opened(policy: BreakerPolicy, state: BreakerState, now: float) -> BreakerState:
    return BreakerState(Phase.OPEN, state.generation + 1, open_until=now + policy.recovery_seconds)


def failed_if_transient(error: Exception) -> Outcome:
    """Classify by our own error tree: what may pass by itself is a failure, the rest is an answer.

    Errors that are not ours are failures: nobody has said that they are harmless.

    Examples
    --------
    >>> from collectors_dagster.errors import RequestRejectedError
    >>> failed_if_transient(RequestRejectedError("404", service="hook", operation="post")).value
    'success'
    """
    if isinstance(error, CollectorsError) and not error.transient:
        return Outcome.SUCCESS
    return Outcome.FAILURE


class CircuitBreaker:
    """One circuit of this process; safe to share between threads. No lock is held during a call.

    Parameters
    ----------
    name : str
        Named in the error of a refused call; without secrets.
    classify : callable
        Says of each raised `Exception` what it means. There is no default on purpose: a 404 that counts as
        a failure opens a circuit for nothing. See :func:`failed_if_transient`.
    """

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        *,
        classify: Callable[[Exception], Outcome],
        clock: Clock,
    ) -> None:
        self.name = name
        self.policy = policy
        self._classify = classify
        self._clock = clock
        self._lock = threading.Lock()
        self._state = BreakerState()

    @property
    def phase(self) -> Phase:
        """Phase as of the last call; an open circuit whose time is over still reads ``open``."""
        return self._state.phase

    @property
    def retry_after_seconds(self) -> float:
        """Seconds until a call has a chance; 0 when it has one now."""
        return seconds_until_probe(self._state, self._clock.monotonic())

    def call(self, operation: Callable[[], T]) -> T:
        """Run `operation` and return its result.

        Raises
        ------
        CircuitOpenError
            If the circuit refuses; `operation` was not called.
        """
        with self.protect():
            return operation()

    @contextmanager
    def protect(self) -> Iterator[None]:
        """Guard the body of a ``with`` block as one call."""
        permit = self._admit()
        outcome = Outcome.IGNORED  # stays so for cancellation, KeyboardInterrupt and the like
        try:
            yield
            outcome = Outcome.SUCCESS
        except Exception as error:
            outcome = self._classify(error)
            raise
        finally:
            with self._lock:
                self._state = settle(self.policy, self._state, permit, outcome, self._clock.monotonic())

    def _admit(self) -> Permit:
        now = self._clock.monotonic()
        with self._lock:
            self._state, permit = admit(self.policy, self._state, now)
            wait = seconds_until_probe(self._state, now)
        if permit is None:
            raise _refusal(self.name, wait)
        return permit


def _refusal(name: str, wait: float) -> CircuitOpenError:
    error = CircuitOpenError(f"the circuit {name!r} is open after repeated failures; next probe in {wait:.1f} s")
    error.retry_after_seconds = wait
    return error
