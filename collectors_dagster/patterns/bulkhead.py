"""Bulkhead: so many calls at once, so many waiting, none for long, and each compartment its guaranteed part.

:class:`Bulkhead` counts in this process, :class:`SharedBulkhead` in all that share a store. Both serve threads and
coroutines, together if need be. A permit is handed over from call to call under one short lock; a call that is
cancelled at whatever moment gives back what it had.
"""

import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, TypeVar, cast

from collectors_dagster.clock import AsyncClock, Clock
from collectors_dagster.errors import BulkheadFullError, SharedStateUnavailableError
from collectors_dagster.patterns.bulkhead_rules import ENTER, LEAVE, NO_COMPARTMENT, RENEW, may_enter
from collectors_dagster.patterns.deadline import remaining_seconds
from collectors_dagster.patterns.forks import renew_in_children
from collectors_dagster.patterns.lease_keeper import KEEPER, LeaseKeeper
from collectors_dagster.patterns.observers import UNOBSERVED, FlowObserver
from collectors_dagster.patterns.plans import Pause, Plan, Run, aperform, perform
from collectors_dagster.patterns.policy import Layer, Policy
from collectors_dagster.patterns.shared_state import Argument, Reply, SharedStore

T = TypeVar("T")

POLL_SECONDS = (0.02, 0.2)
"""Pauses, drawn between these two, of who waits for a permit of another process."""


@dataclass(frozen=True, slots=True)
class BulkheadPolicy:
    """How many calls run and wait.

    Attributes
    ----------
    limit : int
        Calls that run at once.
    queue_limit : int
        Calls of this process that wait; more are refused at once.
    max_wait_seconds : float
        A call that has waited so long is refused.
    guaranteed : mapping
        Parts of the limit that are kept for compartments (tenants), by name; the rest is for all.
    lease_seconds : float
        Shared form: after so long a permit whose process died is free again.
    """

    limit: int
    queue_limit: int = 100
    max_wait_seconds: float = 10.0
    guaranteed: Mapping[str, int] = field(default_factory=dict)
    lease_seconds: float = 15.0

    def __post_init__(self) -> None:
        if self.limit < 1 or self.queue_limit < 0:
            raise ValueError(f"limit is at least 1 and queue_limit at least 0, not {self.limit} and {self.queue_limit}")
        if not self.max_wait_seconds >= 0 or not self.lease_seconds >= 0.1:
            raise ValueError(f"max_wait_seconds is at least 0 and lease_seconds at least 0.1: {self}")
        if min(self.guaranteed.values(), default=0) < 0 or sum(self.guaranteed.values()) > self.limit:
            raise ValueError(f"guaranteed holds no negative parts and at most the limit {self.limit} in all: {self}")


@dataclass(eq=False, slots=True)
class _Call:
    """One call: outside, in the queue or with a permit."""

    compartment: str
    wake: Callable[[], object] = object
    granted: bool = False


class Bulkhead:
    """Limits the calls of this process.

    Examples
    --------
    >>> bulkhead = Bulkhead("exports", BulkheadPolicy(limit=1, queue_limit=0))
    >>> with bulkhead.protect():
    ...     bulkhead.in_use
    1
    """

    def __init__(self, name: str, policy: BulkheadPolicy, *, observer: FlowObserver = UNOBSERVED) -> None:
        self.name = name
        self.policy = policy
        self._observer = observer
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        """Begin as a process of its own: the calls that run at a fork are the parent's."""
        self._lock = threading.Lock()
        self._in_use: dict[str, int] = {}  # by compartment, where that matters
        self._running = 0
        self._queue: deque[_Call] = deque()

    @property
    def in_use(self) -> int:
        """Calls that run now."""
        return self._running

    @property
    def waiting(self) -> int:
        """Calls that wait now."""
        return len(self._queue)

    def protect(self, compartment: str = NO_COMPARTMENT) -> AbstractContextManager[None]:
        """Guard the body of a ``with`` block as one call of a compartment.

        Raises
        ------
        BulkheadFullError
            If the queue is full, or the wait took too long; the body did not run.
        """
        return _Place(self, _Call(compartment))

    @asynccontextmanager
    async def aprotect(self, compartment: str = NO_COMPARTMENT) -> AsyncIterator[None]:
        """Guard the body of an ``async with`` block as one call of a compartment; raises like :meth:`protect`."""
        import asyncio  # noqa: PLC0415 - whoever awaits has it; processes that do not stay small

        loop = asyncio.get_running_loop()
        turn = asyncio.Event()
        call = _Call(compartment, lambda: loop.call_soon_threadsafe(turn.set))
        try:
            if not self._join(call):
                try:
                    async with asyncio.timeout(min(self.policy.max_wait_seconds, remaining_seconds())):
                        await turn.wait()
                except TimeoutError:
                    pass
                self._require(call)
            yield
        finally:
            self._leave(call)

    def __or__(self, inner: Layer) -> Policy:
        return Policy(self, inner)

    def call(self, operation: Callable[[], T], /) -> T:
        """Call `operation` with a permit; raises like :meth:`protect`."""
        with self.protect():
            return operation()

    async def acall(self, operation: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Await `operation` with a permit."""
        async with self.aprotect():
            return await operation()

    def _enter(self, call: _Call) -> None:
        """Wait for a permit, in a thread."""
        with self._lock:
            if self._may_enter(call):
                self._grant(call)
                return
        turn = threading.Event()
        call.wake = turn.set
        if not self._join(call):
            turn.wait(min(self.policy.max_wait_seconds, remaining_seconds()))
            self._require(call)

    def _join(self, call: _Call) -> bool:
        """Say whether the call may run at once; else it waits in the queue."""
        with self._lock:
            if self._may_enter(call):
                self._grant(call)
            elif len(self._queue) < self.policy.queue_limit:
                self._queue.append(call)
            else:
                raise self._refusal("queue_full")
        return call.granted

    def _require(self, call: _Call) -> None:
        with self._lock:
            if not call.granted:
                raise self._refusal("timeout")

    def _leave(self, call: _Call) -> None:
        """Give back what the call has, a permit or a place in the queue; nothing if it has nothing."""
        woken: list[_Call] = []
        with self._lock:
            if call.granted:
                call.granted = False
                self._running -= 1
                if self.policy.guaranteed:
                    self._in_use[call.compartment] -= 1
                    if not self._in_use[call.compartment]:
                        del self._in_use[call.compartment]
            elif call in self._queue:
                self._queue.remove(call)
            if self._queue:
                for waiting in [each for each in self._queue if self._may_enter(each)]:
                    if self._may_enter(waiting):  # still, after those before it
                        self._queue.remove(waiting)
                        self._grant(waiting)
                        woken.append(waiting)
            self._observer.bulkhead_in_use(self.name, self._running)
        for waiting in woken:
            self._wake(waiting)

    def _wake(self, call: _Call) -> None:
        try:
            call.wake()
        except RuntimeError:  # its event loop was closed under it: it will never run
            self._leave(call)

    def _may_enter(self, call: _Call) -> bool:
        policy = self.policy
        if not policy.guaranteed:
            return self._running < policy.limit
        return may_enter(self._in_use, policy.guaranteed, policy.limit, call.compartment)

    def _grant(self, call: _Call) -> None:
        call.granted = True
        self._running += 1
        if self.policy.guaranteed:
            self._in_use[call.compartment] = self._in_use.get(call.compartment, 0) + 1
        self._observer.bulkhead_in_use(self.name, self._running)

    def _refusal(self, reason: str) -> BulkheadFullError:
        self._observer.bulkhead_rejected(self.name, reason)
        return refusal(self.name, self.policy, reason)


class _Place:
    """One call, as the body of a ``with`` block: a class, because a generator costs three times as much."""

    __slots__ = ("_bulkhead", "_call")

    def __init__(self, bulkhead: Bulkhead, call: _Call) -> None:
        self._bulkhead = bulkhead
        self._call = call

    def __enter__(self) -> None:
        try:
            self._bulkhead._enter(self._call)  # noqa: SLF001 - a part of the bulkhead
        except BaseException:
            self._bulkhead._leave(self._call)  # noqa: SLF001  # its other half, in this file
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bulkhead._leave(self._call)  # noqa: SLF001  # its other half, in this file


class SharedBulkhead:
    """Limits the calls of all processes that name it so in the same store.

    Who waits does so in the queue of its own process. Permits are leases, renewed by the process's lease keeper.
    Without the store a process lets its share run: the limit divided by the processes last seen, at least one call.

    Parameters
    ----------
    tenant : str
        Whose limit it is; empty for one of the whole deployment, whose compartments may then be tenants.
    random : callable
        Like ``random.Random().random``: spreads those who wait for other processes.
    """

    def __init__(
        self,
        name: str,
        policy: BulkheadPolicy,
        *,
        store: SharedStore,
        clock: Clock,
        random: Callable[[], float],
        tenant: str = "",
        assumed_processes: int = 4,
        observer: FlowObserver = UNOBSERVED,
        keeper: LeaseKeeper = KEEPER,
    ) -> None:
        self.name = name
        self.policy = policy
        self._local = Bulkhead(name, policy, observer=observer)
        self._observer = observer
        self._store = store
        self._clock = clock
        self._random = random
        self._keeper = keeper
        self._key = f"{tenant or 'all'}:bulkhead:{name}"
        self._processes = assumed_processes
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._numbers = count()
        self._process = os.urandom(8).hex()
        self._end_renewal: Callable[[], None] | None = None

    @contextmanager
    def protect(self, compartment: str = NO_COMPARTMENT) -> Iterator[None]:
        """Guard the body of a ``with`` block as one call; raises :exc:`BulkheadFullError` like the local form."""
        with self._local.protect(compartment):
            holder = self._holder(compartment)
            try:
                perform(self._entered(holder), self._store, self._clock)
                yield
            finally:
                self._let_go(holder)
                perform(self._left(holder), self._store, self._clock)

    @asynccontextmanager
    async def aprotect(self, compartment: str = NO_COMPARTMENT) -> AsyncIterator[None]:
        """Guard the body of an ``async with`` block as one call; raises like :meth:`protect`."""
        import asyncio  # noqa: PLC0415 - as above

        clock = cast("AsyncClock", self._clock)
        async with self._local.aprotect(compartment):
            holder = self._holder(compartment)
            try:
                await aperform(self._entered(holder), self._store, clock)
                yield
            finally:
                self._let_go(holder)
                await asyncio.shield(aperform(self._left(holder), self._store, clock))

    def __or__(self, inner: Layer) -> Policy:
        return Policy(self, inner)

    def call(self, operation: Callable[[], T], /) -> T:
        """Call `operation` with a permit; raises like :meth:`protect`."""
        with self.protect():
            return operation()

    async def acall(self, operation: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Await `operation` with a permit."""
        async with self.aprotect():
            return await operation()

    def _holder(self, compartment: str) -> str:
        if "|" in compartment:
            raise ValueError(f"the name of a compartment holds no |: {compartment!r}")
        return f"{compartment}|{self._process}|{next(self._numbers)}"

    def _entered(self, holder: str) -> Plan[None]:
        deadline = self._clock.monotonic() + min(self.policy.max_wait_seconds, remaining_seconds())
        shares: list[Argument] = []
        for name, share in self.policy.guaranteed.items():
            shares += [name, share]
        arguments = (holder, self._lease_us, self.policy.limit, *shares)
        while True:
            try:
                granted, _, self._processes = _whole((yield Run(ENTER, self._key, arguments)), 3)
                most = self.policy.limit
            except SharedStateUnavailableError:
                granted, most = 1, max(1, self.policy.limit // max(1, self._processes))
            if granted and self._hold(holder, most):
                return
            left = deadline - self._clock.monotonic()
            if left <= 0:
                self._observer.bulkhead_rejected(self.name, "timeout")
                raise refusal(self.name, self.policy, "timeout")
            shortest, longest = POLL_SECONDS
            yield Pause(min(left, shortest + (longest - shortest) * self._random()))

    def _left(self, holder: str) -> Plan[None]:
        try:
            yield Run(LEAVE, self._key, (holder,), late=True)
        except SharedStateUnavailableError:
            return  # its lease ends by itself

    @property
    def _lease_us(self) -> int:
        return round(self.policy.lease_seconds * 1e6)

    def _hold(self, holder: str, most: int) -> bool:
        """Take note of a permit, unless this process has `most` already."""
        with self._lock:
            if len(self._held) >= most:
                return False
            self._held.add(holder)
            if self._end_renewal is None:
                self._end_renewal = self._keeper.keep(self._renew, every_seconds=self.policy.lease_seconds / 3)
            return True

    def _let_go(self, holder: str) -> None:
        with self._lock:
            self._held.discard(holder)
            if not self._held and self._end_renewal is not None:
                self._end_renewal()
                self._end_renewal = None

    def _renew(self) -> None:
        with self._lock:
            held = sorted(self._held)
        if held:
            self._store.run(RENEW, self._key, (self._lease_us, *held))


def refusal(name: str, policy: BulkheadPolicy, reason: str) -> BulkheadFullError:
    """Return the error of a call that may not run."""
    why = (
        f"{policy.queue_limit} calls wait already"
        if reason == "queue_full"
        else f"waited {policy.max_wait_seconds:g} s"
    )
    return BulkheadFullError(f"the bulkhead {name!r} is full: {policy.limit} calls run, and {why}")


def _whole(reply: Reply, length: int) -> list[int]:
    numbers = [item for item in reply if isinstance(item, int) and item >= 0]
    if len(numbers) != length or len(reply) != length:
        raise SharedStateUnavailableError("a bulkhead's store answered something that is no count")
    return numbers
