"""Rate limiter: so many requests a second, counted where all processes see it.

:class:`RateLimiter` asks a :class:`~collectors_dagster.patterns.shared_state.SharedStore` for places in time
(:mod:`collectors_dagster.patterns.rate_rules`) and waits by its own monotonic clock. Where many requests come, it
books some milliseconds of places at once, so that a grant costs far less than one question. Without the store it grants
its share alone: the rate divided by the processes last seen, never more.
"""

import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from collectors_dagster.clock import AsyncClock, Clock
from collectors_dagster.errors import RateLimitedError, RateLimitExceededError, SharedStateUnavailableError
from collectors_dagster.patterns.deadline import remaining_seconds
from collectors_dagster.patterns.forks import renew_in_children
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.observers import UNOBSERVED, FlowObserver
from collectors_dagster.patterns.plans import Pause, Plan, Run, aperform, perform
from collectors_dagster.patterns.policy import Layer, Policy
from collectors_dagster.patterns.rate_policy import RatePolicy
from collectors_dagster.patterns.rate_rules import PAUSE
from collectors_dagster.patterns.shared_state import Argument, Item, Reply, SharedStore

T = TypeVar("T")

BATCH_SECONDS = 0.02
"""Of the rate, so much is booked at once at most: what a killed process strands."""
BATCH_MOST = 100
PLACE_SECONDS = 0.05
"""A place not taken so long after it was due is given up; a ban of another process is noticed by then."""
RECHECK_SECONDS = 0.1
"""Whoever has waited longer for a place asks whether there is a ban by now."""
NEIGHBOUR_SECONDS = 0.001
"""Pause while another thread or coroutine of this process books places for all of them."""
LONGEST_BAN_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """Monotonic instants at which places are due; none, and the seconds until there may be one."""

    places: tuple[float, ...]
    wait: float
    processes: int


class RateLimiter:
    """One limit, shared by all who name it so in the same store. Safe to share between threads and coroutines.

    Parameters
    ----------
    name : str
        Of the limit, e.g. ``spotify``; named in errors and metrics.
    tenant : str
        Whose limit it is; empty for one of the whole deployment.
    max_wait_seconds : float
        How long :meth:`call` waits for its turn.
    batch_seconds : float
        Of the rate, booked at once at most; 0 where asking costs nothing.
    assumed_processes : int
        Sharers of the limit while the store has not been reached even once.

    Examples
    --------
    >>> from collectors_dagster.clock import ManualClock
    >>> limiter = local_rate_limiter("hook", RatePolicy(2.0, burst_size=1), clock=ManualClock())
    >>> limiter.try_acquire(), limiter.try_acquire()
    (0.0, 0.5)
    """

    def __init__(
        self,
        name: str,
        policy: RatePolicy,
        *,
        store: SharedStore,
        clock: Clock,
        tenant: str = "",
        max_wait_seconds: float = 10.0,
        batch_seconds: float = BATCH_SECONDS,
        assumed_processes: int = 4,
        observer: FlowObserver = UNOBSERVED,
    ) -> None:
        if "{" in name + tenant or "}" in name + tenant:
            raise ValueError(f"the name of a rate limit holds no braces: {tenant!r}, {name!r}")
        if assumed_processes < 1:
            raise ValueError(f"a limit is shared by at least one process, not {assumed_processes}")
        self.name = name
        self.policy = policy
        self._store = store
        self._clock = clock
        self._key = f"{tenant or 'all'}:rate:{name}"
        self._most = max(1, min(BATCH_MOST, int(policy.requests_per_second * batch_seconds)))
        self._max_wait = max_wait_seconds
        self._observer = observer
        self._alone = MemoryStore(clock, capacity=1)
        self._not_before = 0.0
        self._banned_until = 0.0
        self._untold_ban = False
        self._processes = assumed_processes
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        """Begin as a process of its own: places booked before a fork are the parent's."""
        self._process = os.urandom(8).hex()
        self._lock = threading.Lock()
        self._places: list[float] = []  # the next one last
        self._batch = 0  # doubled before the first question
        self._asking = 0

    def try_acquire(self, cost: int = 1) -> float:
        """Take `cost` units and return 0, or take nothing and return the seconds to wait at least."""
        return 0.0 if self._at_once(cost) else perform(self._admission(cost, 0.0), self._store, self._clock)

    async def atry_acquire(self, cost: int = 1) -> float:
        """Do the same without blocking the event loop."""
        if self._at_once(cost):
            return 0.0
        return await aperform(self._admission(cost, 0.0), self._store, self._async_clock())

    def acquire(self, *, timeout_seconds: float, cost: int = 1) -> None:
        """Wait for `cost` units.

        Raises
        ------
        RateLimitExceededError
            As soon as it is known that they will not be there within `timeout_seconds`.
        """
        if not self._at_once(cost):
            _checked(self, perform(self._admission(cost, timeout_seconds), self._store, self._clock))

    async def aacquire(self, *, timeout_seconds: float, cost: int = 1) -> None:
        """Wait for `cost` units without blocking the event loop; a cancelled waiter leaves its place to the next."""
        if not self._at_once(cost):
            _checked(self, await aperform(self._admission(cost, timeout_seconds), self._store, self._async_clock()))

    def pause(self, seconds: float) -> None:
        """Grant nothing for `seconds`, in no process that shares the limit (the other side said ``Retry-After``)."""
        perform(self._ban(seconds), self._store, self._clock)

    async def apause(self, seconds: float) -> None:
        """Do the same without blocking the event loop."""
        await aperform(self._ban(seconds), self._store, self._async_clock())

    def __or__(self, inner: Layer) -> Policy:
        return Policy(self, inner)

    def call(self, operation: Callable[[], T], /) -> T:
        """Call `operation` in its turn, up to `max_wait_seconds` from now; a ``Retry-After`` it meets is obeyed by all.

        Raises
        ------
        RateLimitExceededError
            If the turn does not come in time; `operation` was not called.
        """
        self.acquire(timeout_seconds=self._max_wait)
        try:
            return operation()
        except RateLimitedError as error:
            self.pause(error.retry_after_seconds or 0.0)
            raise

    async def acall(self, operation: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Await `operation` in its turn."""
        await self.aacquire(timeout_seconds=self._max_wait)
        try:
            return await operation()
        except RateLimitedError as error:
            await self.apause(error.retry_after_seconds or 0.0)
            raise

    def _async_clock(self) -> AsyncClock:
        return cast("AsyncClock", self._clock)  # who awaits has made us with a clock that can

    # --- plans -------------------------------------------------------------------------------------------------

    def _admission(self, cost: int, timeout: float) -> Plan[float]:
        if not 1 <= cost <= self.policy.largest_cost:
            raise ValueError(f"the rate limit {self.name!r} grants 1 to {self.policy.largest_cost} at once, not {cost}")
        began = self._clock.monotonic()
        longest = min(timeout, self.policy.longest_queue_seconds(), remaining_seconds())
        wait = yield from self._granted(cost, began + longest)
        waited = self._clock.monotonic() - began
        self._observer.rate_limited(self.name, "rejected" if wait > 0 else "delayed" if waited > 0.001 else "granted")
        if wait <= 0:
            self._observer.rate_waited(self.name, waited)
        return wait

    def _granted(self, cost: int, deadline: float) -> Plan[float]:
        """Wait for a place up to `deadline`; return 0, or the seconds after which there may be one."""
        while True:
            now = self._clock.monotonic()
            due, blocked = self._taken(cost, now, deadline)
            if due is None:
                blocked = max(blocked, self._not_before - now, self._banned_until - now)
                if blocked <= 0 and self._others_ask() and now + NEIGHBOUR_SECONDS <= deadline:
                    yield Pause(NEIGHBOUR_SECONDS)
                    continue
                if blocked <= 0:
                    due, blocked = yield from self._booked(cost, deadline)
            if due is None:
                if self._clock.monotonic() + blocked > deadline:
                    return blocked
                yield Pause(blocked)
            elif (yield from self._awaited(cost, due)):
                return 0.0

    def _booked(self, cost: int, deadline: float) -> Plan[tuple[float | None, float]]:
        """Ask for places; return when the first is due and keep the others, or the seconds to wait before asking."""
        with self._lock:
            wished = max(1, self._batch) if cost == 1 and self._asking == 0 else 1
            self._asking += 1
        try:
            answer = yield from self._asked(wished, cost, deadline)
        finally:
            with self._lock:
                self._asking -= 1
        with self._lock:
            self._processes = max(1, answer.processes)
            if not answer.places:
                if cost == 1:
                    self._not_before = self._clock.monotonic() + answer.wait
                return None, answer.wait
            self._places = sorted([*self._places, *answer.places[1:]], reverse=True)
        return answer.places[0], 0.0

    def _asked(self, wished: int, cost: int, deadline: float) -> Plan[_Answer]:
        longest = max(0, int((deadline - self._clock.monotonic()) * 1e6))
        tail: tuple[Argument, ...] = (cost, min(longest, 10**12), int(BATCH_SECONDS * 1e6))
        step = self.policy.step
        try:
            if self._untold_ban:
                yield from self._told_ban()
            reply = yield Run(step, self._key, (self._process, wished, *tail, *self.policy.numbers(cost)))
            return self._understood(reply, wished, longest)
        except SharedStateUnavailableError:
            numbers = self.policy.numbers(cost, self._processes)
            reply = self._alone.run(step, self._key, (self._process, 1, *tail, *numbers))
            return self._understood([self._processes, *reply[1:]], 1, longest)

    def _awaited(self, cost: int, due: float) -> Plan[bool]:
        """Wait for a place; say whether it still holds. Whoever is cancelled meanwhile leaves it to the next."""
        wait = due - self._clock.monotonic()
        if wait > 0:
            try:
                yield Pause(wait)
            except BaseException:
                if cost == 1:
                    with self._lock:
                        self._places = sorted([*self._places, due], reverse=True)
                raise
        if wait > RECHECK_SECONDS:
            yield from self._looked_for_ban()
        return self._banned_until <= self._clock.monotonic()

    def _looked_for_ban(self) -> Plan[None]:
        try:
            reply = yield Run(PAUSE, self._key, (0,))
            self._obey(_whole(reply[0] if reply else None) / 1e6)
        except SharedStateUnavailableError:
            return

    def _ban(self, seconds: float) -> Plan[None]:
        seconds = min(seconds, LONGEST_BAN_SECONDS)
        if seconds <= 0:
            return
        self._obey(seconds)
        self._untold_ban = True
        try:
            yield from self._told_ban()
        except SharedStateUnavailableError:
            return  # it holds here, and is told as soon as the store is back

    def _told_ban(self) -> Plan[None]:
        left = self._banned_until - self._clock.monotonic()
        if left > 0:
            yield Run(PAUSE, self._key, (int(left * 1e6),), late=True)
        self._untold_ban = False

    def _at_once(self, cost: int) -> bool:
        """Take a place that was booked before and is due: the short way, on which most of many requests go."""
        if cost != 1 or not self._places:
            return False
        with self._lock:
            now = self._clock.monotonic()
            if not self._places or not now - PLACE_SECONDS <= self._places[-1] <= now or self._banned_until > now:
                return False
            self._places.pop()
        self._observer.rate_limited(self.name, "granted")
        self._observer.rate_waited(self.name, 0.0)
        return True

    # --- what this process remembers ---------------------------------------------------------------------------

    def _obey(self, seconds: float) -> None:
        if seconds > 0:
            with self._lock:
                self._banned_until = max(self._banned_until, self._clock.monotonic() + seconds)
                self._places.clear()

    def _others_ask(self) -> bool:
        return self._most > 1 and self._asking > 0

    def _taken(self, cost: int, now: float, deadline: float) -> tuple[float | None, float]:
        """Take a place booked before: when it is due, or the seconds until the next one is.

        Batches double while they are used up in time, and shrink when they are not.
        """
        if cost != 1:
            return None, 0.0
        with self._lock:
            unused = 0
            while self._places and self._places[-1] < now - PLACE_SECONDS:
                self._places.pop()
                unused += 1
            self._batch = max(unused and 1, self._batch - unused)
            if self._places:
                return (self._places.pop(), 0.0) if self._places[-1] <= deadline else (None, self._places[-1] - now)
            if unused == 0 and self._asking == 0:
                self._batch = min(self._most, max(1, self._batch * 2))
            return None, 0.0

    def _understood(self, reply: Reply, wished: int, longest: int) -> _Answer:
        """Read a reply strictly.

        Raises
        ------
        SharedStateUnavailableError
            If it makes no sense: then it is as if there were none.
        """
        now = self._clock.monotonic()
        processes, wait, *places = map(_whole, reply if len(reply) >= 2 else [None, None])
        sense = len(places) <= wished and (wait > 0) != bool(places) and places == sorted(places)
        if not sense or (places and places[0] > longest):
            raise SharedStateUnavailableError(f"the rate limit {self.name!r} got a reply without sense")
        return _Answer(tuple(now + place / 1e6 for place in places), wait / 1e6, processes)


def local_rate_limiter(
    name: str,
    policy: RatePolicy,
    *,
    clock: Clock,
    max_wait_seconds: float = 10.0,
    observer: FlowObserver = UNOBSERVED,
) -> RateLimiter:
    """Return a limiter of this process alone."""
    return RateLimiter(
        name,
        policy,
        store=MemoryStore(clock, capacity=1),
        clock=clock,
        max_wait_seconds=max_wait_seconds,
        batch_seconds=0.0,
        observer=observer,
    )


def _whole(item: Item) -> int:
    if not isinstance(item, int) or item < 0:
        raise SharedStateUnavailableError("a rate limit's store answered something that is no count")
    return item


def _checked(limiter: RateLimiter, wait: float) -> None:
    if wait > 0:
        error = RateLimitExceededError(f"the rate limit {limiter.name!r} is used up; a place is free in {wait:.1f} s")
        error.retry_after_seconds = wait
        raise error
