"""A guard before shared state: while it is away, whoever asks is told so at once and decides alone.

Without it every call would wait for a time-out for as long as the other side is gone: the layer that is to keep
outages small would be the outage.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol

from collectors_dagster.clock import Clock
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.patterns.forks import renew_in_children
from collectors_dagster.patterns.shared_state import OUT_OF_TIME, Argument, Reply, SharedStore, Step


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """How long shared state is left alone after a failure.

    Attributes
    ----------
    first_pause_seconds, longest_pause_seconds : float
        Each further failure in a row doubles the pause. Up to a quarter is taken off at random, so that not all
        processes come back at once. Longest pause and one probe are the time in which a return is noticed.
    probe_seconds : float
        A probe that has not come back by then is given up, and the next caller is one.

    Raises
    ------
    ValueError
        If these cannot work together.
    """

    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 2.5
    probe_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.first_pause_seconds <= self.longest_pause_seconds:
            raise ValueError(f"the first pause must be above 0 s and not above the longest: {self}")
        if self.probe_seconds <= 0:
            raise ValueError(f"a probe must be given time: {self}")

    def pause(self, failures: int, luck: float) -> float:
        """Return the seconds after so many failures in a row; `luck` is from 0 up to 1.

        Examples
        --------
        >>> [GuardPolicy().pause(failures, 0.0) for failures in (1, 2, 3)]
        [1.0, 2.0, 2.5]
        """
        grown = self.first_pause_seconds * 2.0 ** min(failures - 1, 30)
        return min(grown, self.longest_pause_seconds) * (1 - luck / 4)


class Availability(NamedTuple):
    """What is known of the other side.

    Attributes
    ----------
    failures : int
        In a row; 0: it is there.
    resume_at : float
        Monotonic seconds from which one caller may look again.
    epoch : int
        Of this knowledge: what began in another epoch says nothing about it.
    """

    failures: int = 0
    resume_at: float = 0.0
    epoch: int = 0


UNTRIED = Availability()


def entered(state: Availability, now: float, policy: GuardPolicy) -> tuple[Availability, bool]:
    """Return the state after somebody came, and whether they may pass. After a pause only the first may."""
    if not state.failures:
        return state, True
    if now < state.resume_at:
        return state, False
    return Availability(state.failures, now + policy.probe_seconds, state.epoch + 1), True


def failed(state: Availability, epoch: int, now: float, policy: GuardPolicy, luck: float) -> Availability:
    """Return the state after whoever passed in `epoch` found nobody."""
    if epoch != state.epoch:
        return state
    failures = state.failures + 1
    return Availability(failures, now + policy.pause(failures, luck), epoch + 1)


def answered(state: Availability, epoch: int) -> Availability:
    """Return the state after whoever passed in `epoch` got an answer."""
    return Availability(0, 0.0, epoch + 1) if epoch == state.epoch and state.failures else state


def abandoned(state: Availability, epoch: int, now: float) -> Availability:
    """Return the state after whoever passed in `epoch` was stopped: the next one may look at once."""
    return state._replace(resume_at=now, epoch=epoch + 1) if epoch == state.epoch and state.failures else state


class StoreObserver(Protocol):
    """Is told what becomes of shared state. Called from any thread, never under a lock; it must not raise."""

    def round_trip(self, seconds: float) -> None:
        """Take note of an answer."""
        ...

    def fault(self, kind: str) -> None:
        """Take note of a call that got no usable answer."""
        ...

    def degraded(self, domain: str, kind: str, pause_seconds: float) -> None:
        """Take note that everybody decides alone for a while; told again for each pause."""
        ...

    def restored(self, domain: str) -> None:
        """Take note that state is shared again."""
        ...


class SilentObserver:
    """Takes no note."""

    def round_trip(self, seconds: float) -> None:
        """Do nothing."""

    def fault(self, kind: str) -> None:
        """Do nothing."""

    def degraded(self, domain: str, kind: str, pause_seconds: float) -> None:
        """Do nothing."""

    def restored(self, domain: str) -> None:
        """Do nothing."""


_DEFAULT_POLICY = GuardPolicy()
_SILENT = SilentObserver()


class GuardedStore:
    """A :class:`~collectors_dagster.patterns.shared_state.SharedStore` that fails at once while another one is away.

    After one failure nobody reaches for the store for a pause; then one caller does, with the step it came for, while
    the others go on deciding alone. An error that concerns one object only pauses nothing. Safe to share between
    threads, event loops and forked processes.

    Parameters
    ----------
    store : SharedStore
        What is guarded.
    random : callable
        Like ``random.Random().random``.
    domain_of : callable or None
        From a key to the name of what fails together with it, a node of a cluster say: each has a pause of its own.
        ``None``: all keys fail together.

    Examples
    --------
    >>> from collectors_dagster.clock import ManualClock
    >>> from collectors_dagster.patterns.memory_store import MemoryStore
    >>> clock = ManualClock()
    >>> store = GuardedStore(MemoryStore(clock), clock=clock, random=lambda: 0.0)
    >>> store.run(Step("hello", lambda record, now, arguments: ([1], 0)), "key")
    [1]
    """

    def __init__(
        self,
        store: SharedStore,
        *,
        clock: Clock,
        random: Callable[[], float],
        policy: GuardPolicy = _DEFAULT_POLICY,
        observer: StoreObserver = _SILENT,
        domain_of: Callable[[str], str] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._policy = policy
        self._observer = observer
        self._domain_of = domain_of
        self._states: dict[str, Availability] = {}
        self._renew()
        renew_in_children(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step, blocking; raise at once while the store is away."""
        with _Passage(self, key):
            return self._store.run(step, key, arguments)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step, awaiting; raise at once while the store is away."""
        with _Passage(self, key):
            return await self._store.arun(step, key, arguments)

    def degraded(self) -> tuple[str, ...]:
        """Return the names of what is away at present; for a store without domains the one name is empty."""
        return tuple(domain for domain, state in list(self._states.items()) if state.failures)

    def enter(self, key: str) -> tuple[str, int]:
        """Let a caller pass; return the domain and the epoch that it passed in.

        Raises
        ------
        SharedStateUnavailableError
            If it must decide alone.
        """
        domain = self._domain_of(key) if self._domain_of else ""
        state = self._states.get(domain, UNTRIED)
        if state.failures:
            now = self._clock.monotonic()
            with self._lock:
                state, may_pass = entered(self._states.get(domain, UNTRIED), now, self._policy)
                self._states[domain] = state
            if not may_pass:
                raise _paused(max(state.resume_at - now, 0.0))
        return domain, state.epoch

    def settle(self, domain: str, epoch: int, seconds: float, error: BaseException | None) -> None:
        """Book what became of a caller that was let pass."""
        unavailable = error if isinstance(error, SharedStateUnavailableError) else None
        if unavailable is not None:
            self._observer.fault(unavailable.kind)
        if error is None or (unavailable is not None and unavailable.one_object):
            self._observer.round_trip(seconds)
            self._answered(domain, epoch)
        elif unavailable is not None and unavailable.kind != OUT_OF_TIME:
            self._failed(domain, epoch, unavailable.kind)
        else:
            self._abandoned(domain, epoch)

    def _answered(self, domain: str, epoch: int) -> None:
        if not self._states.get(domain, UNTRIED).failures:  # nearly always: no lock then
            return
        with self._lock:
            before = self._states[domain]
            after = self._states[domain] = answered(before, epoch)
        if before.failures and not after.failures:
            self._observer.restored(domain)

    def _failed(self, domain: str, epoch: int, kind: str) -> None:
        now = self._clock.monotonic()
        with self._lock:
            before = self._states.get(domain, UNTRIED)
            after = self._states[domain] = failed(before, epoch, now, self._policy, self._random())
        if after is not before:
            self._observer.degraded(domain, kind, after.resume_at - now)

    def _abandoned(self, domain: str, epoch: int) -> None:
        now = self._clock.monotonic()
        with self._lock:
            self._states[domain] = abandoned(self._states.get(domain, UNTRIED), epoch, now)


class _Passage:
    """One call, from before it to its end, however it ends: the same for threads and for coroutines."""

    __slots__ = ("_began", "_domain", "_epoch", "_guard")

    def __init__(self, guard: GuardedStore, key: str) -> None:
        self._guard = guard
        self._domain, self._epoch = guard.enter(key)
        self._began = guard._clock.monotonic()  # noqa: SLF001 - a part of the guard

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        guard = self._guard
        guard.settle(self._domain, self._epoch, guard._clock.monotonic() - self._began, error)  # noqa: SLF001 - its own


def _paused(seconds: float) -> SharedStateUnavailableError:
    return SharedStateUnavailableError(
        f"shared state was away a moment ago and is left alone for {seconds:.1f} s more",
        kind="paused",
        retry_after_seconds=seconds,
    )
