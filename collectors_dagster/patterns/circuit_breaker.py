"""Circuit breaker: stop calling what keeps failing, and probe it carefully, in the whole fleet at once.

What becomes of a circuit is decided by one atomic step on state that all processes share
(:mod:`collectors_dagster.patterns.breaker_rule`). Here is one process's side of it: it asks rarely. That a circuit is
closed is believed for a quarter of a second; that it is open, for a second; successes are told in batches, failures
and slow calls at once. So a call through a closed circuit costs far less than a tenth of a round trip, and a process
that has just begun knows of an open one before its first call.

Without shared state each process decides alone, by the same rule over a window of its own, and writes nothing of it
later. When shared state is back it counts, except that a circuit which this process opened alone stays open until its
own end.
"""

import atexit
import inspect
import math
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar, cast
from weakref import WeakSet

from collectors_dagster.clock import Clock
from collectors_dagster.errors import CircuitOpenError, CollectorsError, PolicyError, SharedStateUnavailableError
from collectors_dagster.patterns.breaker_policy import PHASES, BreakerPolicy, Outcome, Phase
from collectors_dagster.patterns.breaker_rule import LOOK, STEP
from collectors_dagster.patterns.deadline import check_wait, deadline_set
from collectors_dagster.patterns.memory_store import MemoryStore
from collectors_dagster.patterns.plans import Plan, Run, aperform, perform
from collectors_dagster.patterns.policy import Layer, Policy, context_maker
from collectors_dagster.patterns.shared_state import Argument, Reply, SharedStore

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "BreakerObserver",
    "BreakerPolicy",
    "BreakerReport",
    "CircuitBreaker",
    "Outcome",
    "Permit",
    "Phase",
    "Transition",
    "failed_if_transient",
]

P = ParamSpec("P")
T = TypeVar("T")

CLOSED_VIEW_SECONDS = 0.25
"""So long a closed circuit is believed to be closed without asking."""
FLUSH_SECONDS = 0.1
FLUSH_CALLS = 64
OWN_FLUSH_CALLS = 4096
"""Successes are told to the others after so many, or after that time; rarely where there are no others."""
OPEN_VIEW_SECONDS = 1.0
"""So long an open circuit is believed to be open: somebody may close it by hand."""
FULL_VIEW_SECONDS = 0.05
"""So long probes that fill the half-open circuit are believed to be on their way."""
REFUSING = frozenset({Phase.OPEN, Phase.HALF_OPEN, Phase.FORCED_OPEN})


class Permit:
    """Leave to make calls.

    Attributes
    ----------
    generation : int
        Of the circuit, in which it was given.
    alone : bool
        Whether it was given without shared state.
    probe : str
        The probe's name; empty for a call through a closed circuit. Those of one generation share one permit.
    good, seconds : int, float
        Good calls that the others have not been told of, and the time they took. Those of an older generation end in
        a permit that nobody looks at any more. One lost between two threads would do no harm: no lock.
    """

    __slots__ = ("alone", "generation", "good", "probe", "seconds")

    def __init__(self, generation: int, *, alone: bool = False, probe: str = "") -> None:
        self.generation, self.alone, self.probe = generation, alone, probe
        self.good, self.seconds = 0, 0.0


Ticket: TypeAlias = tuple[Permit, float]
"""A permit and the monotonic time at which its call began."""


class BreakerObserver(Protocol):
    """Is told what becomes of calls and circuits, from any thread, never under a lock; it must not raise."""

    def calls(self, name: str, result: str, count: int, seconds: float) -> None:
        """Take note of calls: ``success``, ``slow``, ``failure``, ``ignored``, ``rejected``; of their time in all."""
        ...

    def changed(self, name: str, before: Phase, after: Phase) -> None:
        """Take note that this process sees the circuit in another phase."""
        ...


class Transition(NamedTuple):
    """One line of a circuit's history."""

    seconds_ago: float
    before: Phase
    after: Phase
    reason: str


class BreakerReport(NamedTuple):
    """A circuit as shared state knows it.

    Attributes
    ----------
    calls, failures, slow : int
        In the window.
    probes : int
        On their way.
    alone : bool
        Whether this is only this process's knowledge.
    history : tuple of Transition
        Oldest first, at most twenty.
    transitions : int
        Changes of phase since the circuit is known.
    """

    phase: Phase
    retry_after_seconds: float
    calls: int
    failures: int
    slow: int
    probes: int
    alone: bool
    history: tuple[Transition, ...]
    transitions: int = 0


def failed_if_transient(error: Exception) -> Outcome:
    """Classify by our own error tree: what may pass by itself is a failure, the rest is an answer.

    Errors that are not ours are failures: nobody has said that they are harmless. That another policy of ours refused
    the call says nothing about the other side.

    Examples
    --------
    >>> from collectors_dagster.errors import RequestRejectedError
    >>> failed_if_transient(RequestRejectedError("404", service="hook", operation="post")).value
    'success'
    """
    if isinstance(error, PolicyError):
        return Outcome.IGNORED
    if isinstance(error, CollectorsError) and not error.transient:
        return Outcome.SUCCESS
    return Outcome.FAILURE


class CircuitBreaker:
    """One circuit, as this process sees it; safe to share between threads. No lock is held during a call.

    Parameters
    ----------
    name : str
        Named in the error of a refused call; without secrets, and without braces.
    classify : callable
        Says of each raised `Exception` what it means. There is no default on purpose: a 404 that counts as
        a failure opens a circuit for nothing. See :func:`failed_if_transient`. What is no `Exception` (cancellation,
        ``KeyboardInterrupt``, the end of a generator) means nothing, always.
    judge : callable, optional
        Says of each result what it means, where a call can fail without raising.
    store : SharedStore, optional
        Where the circuit lies; by default in this process alone.
    tenant : str
        Whose circuit it is.

    Examples
    --------
    >>> from collectors_dagster.clock import SystemClock
    >>> policy = BreakerPolicy(failure_threshold=1, recovery_seconds=30)
    >>> breaker = CircuitBreaker("hook", policy, classify=failed_if_transient, clock=SystemClock())
    >>> @breaker
    ... def divided(dividend: int, divisor: int) -> float:
    ...     return dividend / divisor
    >>> divided(6, divisor=2)
    3.0
    """

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        *,
        classify: Callable[[Exception], Outcome],
        clock: Clock,
        store: SharedStore | None = None,
        judge: Callable[[Any], Outcome] | None = None,
        tenant: str = "shared",
        observer: BreakerObserver | None = None,
    ) -> None:
        self.name = name
        self.policy = policy
        self._classify, self._judge, self._observer = classify, judge, observer
        self._clock = clock
        self._store = store if store is not None else MemoryStore(clock, capacity=1, lasting=True)
        self._monotonic = clock.monotonic
        self._key = f"{tenant}:cb:{name}"
        self._terms = policy.terms
        self._slow_after = policy.slow_seconds if policy.slow_seconds is not None else math.inf
        self._timed = not (judge is None and observer is None and policy.slow_seconds is None)
        # Nobody else changes it, and the last calls count, whenever they were: no clock is needed while it is closed.
        self._timeless = store is None and policy.window_seconds is None and not self._timed
        self._batch = math.inf if self._timeless else (FLUSH_CALLS if store is not None else OWN_FLUSH_CALLS)
        self._phase = Phase.CLOSED
        self._pass = Permit(0)
        self._free: Permit | None = None  # the same, while a timeless circuit lets everybody pass
        self._look_at = -math.inf  # until then calls pass without a look at anything
        self._view_until = -math.inf
        self._ask_again_at = self._refused_until = -math.inf
        self._own: MemoryStore | None = None  # only while shared state is away
        self._own_generation = 0
        self._own_open_until = -math.inf
        self._under_way: set[asyncio.Future[Any]] = set()
        _TO_FLUSH.add(self)

    @property
    def phase(self) -> Phase:
        """Phase as of the last call; an open circuit whose time is over still reads ``open``."""
        return self._phase

    @property
    def alone(self) -> bool:
        """Whether this process decides without shared state, as of the last call."""
        return self._own is not None

    @property
    def retry_after_seconds(self) -> float:
        """Seconds until a call has a chance; 0 when it has one now."""
        return max(0.0, self._refused_until - self._monotonic()) if self._phase in REFUSING else 0.0

    def __or__(self, inner: Layer) -> Policy:
        return Policy(self, inner)

    def call(self, operation: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `operation` and return its result.

        Raises
        ------
        CircuitOpenError
            If the circuit refuses; `operation` was not called.
        """
        ticket = self.begin()
        try:
            result = operation(*args, **kwargs)
        except BaseException as error:
            self.failed(ticket, error)
            raise
        self._report_good(ticket, result)
        return result

    async def acall(self, operation: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `operation` and return its result; refuse as :meth:`call` does."""
        check_wait(0.0)
        now = self._monotonic()
        ticket = (self._pass, now) if now < self._look_at else await self._abegin(now)
        try:
            result = await operation(*args, **kwargs)
        except BaseException as error:
            await self.afailed(ticket, error)
            raise
        if self._unfinished(ticket, result):
            await self._acarry_out(self._settled(ticket, self._judged(ticket, result)))
        return result

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function, coroutine, generator or asynchronous generator; its signature is kept.

        Of a generator the iteration is one call, not its creation; of a context manager that ``contextmanager`` made,
        the body of its ``with`` block.
        """
        guarded: Callable[..., Any]
        maker = context_maker(function)
        if maker is not None:
            guarded = maker(self(cast("Any", function).__wrapped__))
        elif inspect.iscoroutinefunction(function):
            guarded = self._guarded_coroutine(function)
        elif inspect.isasyncgenfunction(function):
            guarded = self._guarded_async_generator(function)
        elif inspect.isgeneratorfunction(function):
            guarded = self._guarded_generator(function)
        else:
            guarded = self._guarded_function(function)
        return cast("Callable[P, T]", wraps(function)(guarded))

    def protect(self) -> "Protected":
        """Guard the body of a ``with`` or ``async with`` block as one call."""
        return Protected(self)

    def begin(self) -> Ticket:
        """Ask for leave to make one call; hand the ticket to :meth:`finish` or :meth:`failed`.

        Raises
        ------
        CircuitOpenError
            If the circuit refuses.
        DeadlineExceededError
            If no time is left for the call.
        """
        check_wait(0.0)
        now = self._monotonic()
        if now < self._look_at:
            return self._pass, now
        probe = _new_name()
        try:
            return self._carry_out(self._asked(now, probe))
        except Exception:
            raise
        except BaseException:  # interrupted, perhaps after a probe was admitted: it would block a place for its lease
            self._carry_out(self._released(probe))
            raise

    async def abegin(self) -> Ticket:
        """Ask for leave without blocking the event loop."""
        check_wait(0.0)
        now = self._monotonic()
        return (self._pass, now) if now < self._look_at else await self._abegin(now)

    def finish(self, ticket: Ticket, result: object = None) -> None:
        """Report that a call returned."""
        self._report_good(ticket, result)

    async def afinish(self, ticket: Ticket, result: object = None) -> None:
        """Report that a call returned, without blocking the event loop."""
        if self._unfinished(ticket, result):
            await self._acarry_out(self._settled(ticket, self._judged(ticket, result)))

    def failed(self, ticket: Ticket, error: BaseException) -> None:
        """Report that a call raised."""
        self._carry_out(self._settled(ticket, self._meaning(ticket, error)))

    async def afailed(self, ticket: Ticket, error: BaseException) -> None:
        """Report that a call raised; of one that was cancelled the report goes its own way, and nobody waits."""
        plan = self._settled(ticket, self._meaning(ticket, error))
        if isinstance(error, Exception):
            await self._acarry_out(plan)
        elif ticket[0].probe:
            self._send_off(plan)
        else:
            self._carry_out(plan)  # a call through a closed circuit that means nothing: nothing is asked of the store

    def force(self, phase: Phase, reason: str = "") -> None:
        """Set the phase by hand, for all processes; ``CLOSED`` gives the circuit back to itself, healthy.

        Parameters
        ----------
        reason : str
            Who and why, for the history; its first 100 letters are kept.

        Raises
        ------
        SharedStateUnavailableError
            If shared state cannot be reached: an order that nobody hears is none.
        """
        if phase in {Phase.OPEN, Phase.HALF_OPEN}:
            raise ValueError(f"{phase} is a phase that a circuit finds by itself; set forced_open, disabled, ...")
        self._pass.good = 0
        now = self._monotonic()
        why = " ".join(f"by hand: {reason}".split())[:109] if reason else "by hand"
        self._carry_out(self._shared(now, "force", PHASES.index(phase), why))

    def report(self) -> BreakerReport:
        """Return what is known of the circuit, with its history; one look at shared state."""
        if self._timeless:
            self.flush()
        return self._carry_out(self._reported())

    def flush(self) -> None:
        """Tell the others of successes that they have not been told yet; also done when the process ends."""
        if self._pass.good:
            self._carry_out(self._told(self._monotonic(), (0, 0, 0), late=True))

    # --- one call ------------------------------------------------------------------------------------

    def _unfinished(self, ticket: Ticket, result: object) -> bool:
        """Count a good call; say whether there is more to do. On the way of every call: keep it short."""
        permit, started = ticket
        if permit is not self._pass or self._judge is not None:
            return True
        if self._timed:
            seconds = self._monotonic() - started
            if seconds > self._slow_after:
                return True
            permit.seconds += seconds
        permit.good += 1
        if permit.good >= self._batch:
            self._look_at = -math.inf  # the next call tells the others
        return False

    def _report_good(self, ticket: Ticket, result: object) -> None:
        if self._unfinished(ticket, result):
            self._carry_out(self._settled(ticket, self._judged(ticket, result)))

    def _judged(self, ticket: Ticket, result: object) -> Outcome:
        if self._judge is None:
            return Outcome.SUCCESS
        try:
            return self._judge(result)
        except BaseException:
            self._carry_out(self._settled(ticket, Outcome.IGNORED))
            raise

    def _meaning(self, ticket: Ticket, error: BaseException) -> Outcome:
        if not isinstance(error, Exception):
            return Outcome.IGNORED
        try:
            return self._classify(error)
        except BaseException:
            self._carry_out(self._settled(ticket, Outcome.IGNORED))
            raise

    def _asked(self, now: float, probe: str) -> Plan[Ticket]:
        """Get leave, or raise."""
        if now < self._ask_again_at:
            raise self._refusal(now)
        if self._phase not in REFUSING and self._view_until > now:
            if not self._pass.good:
                self._look_at = self._view_until
                return self._pass, now
            self._look_at = now + FLUSH_SECONDS  # others pass while this one tells
        if self._pass.good:
            yield from self._told(now, (0, 0, 0))
            if self._look_at > now and self._own is None:
                return self._pass, now  # who is alone goes on, to see whether shared state is back
        admitted = yield from self._exchanged(now, "acquire", probe)
        if not admitted:
            raise self._refusal(now)
        if admitted == 2:
            return Permit(self._pass.generation, alone=self.alone, probe=probe), now
        return self._pass, now

    def _settled(self, ticket: Ticket, outcome: Outcome) -> Plan[None]:
        """Take note of how a call ended."""
        permit, started = ticket
        now = self._monotonic()
        slow = outcome is not Outcome.IGNORED and now - started > self._slow_after
        if permit is self._pass and outcome is Outcome.SUCCESS and not slow:
            permit.good += 1
            permit.seconds += now - started
            return
        self._observe(_RESULTS[outcome, slow], 1, now - started)
        if permit.probe:
            yield from self._settled_probe(now, permit, outcome, slow=slow)
        elif permit is self._pass and outcome is not Outcome.IGNORED:
            failed = outcome is Outcome.FAILURE
            bad = int(slow and not failed), int(failed and not slow), int(failed and slow)
            yield from self._told(now, bad, late=True)

    def _settled_probe(self, now: float, permit: Permit, outcome: Outcome, *, slow: bool) -> Plan[None]:
        if permit.alone is not self.alone:
            return  # admitted by shared state that went away, or alone before it came back: nobody waits for it
        bad = outcome is Outcome.FAILURE or (slow and self.policy.slow_ratio is not None)
        verdict = -1 if outcome is Outcome.IGNORED else int(not bad)
        yield from self._exchanged(now, "probed", permit.probe, permit.generation, verdict, late=True)

    def _told(self, now: float, bad: tuple[int, int, int], *, late: bool = False) -> Plan[None]:
        """Tell the others of calls that passed the closed circuit: the good ones so far, then bad ones."""
        permit = self._pass
        good, seconds = permit.good, permit.seconds
        permit.good, permit.seconds = 0, 0.0
        if good:
            self._observe("success", good, seconds)
        if not self._terms.window_us:
            good = min(good, self._terms.window_calls)  # older ones would be forgotten at once
        yield from self._exchanged(now, "record", permit.generation, good, *bad, late=late)

    def _released(self, probe: str) -> Plan[None]:
        yield from self._exchanged(self._monotonic(), "probed", probe, self._pass.generation, -1, late=True)

    # --- shared state, or none -----------------------------------------------------------------------

    def _exchanged(self, now: float, operation: str, *arguments: Argument, late: bool = False) -> Plan[int]:
        """Run an operation where the circuit lies, take over what is seen there, and return whether it was admitted.

        While this process is alone, only who asks for leave looks whether shared state is back. What is `late` is done
        after the caller's deadline too.
        """
        own = self._own
        if own is None or operation == "acquire":
            try:
                return (yield from self._shared(now, operation, *arguments, late=late))
            except SharedStateUnavailableError:
                own = self._own
        if own is None:
            own = self._own = MemoryStore(self._clock, capacity=1)
            self._own_generation = 0
        if operation == "record":
            arguments = (self._own_generation, *arguments[1:])
        reply = own.run(STEP, self._key, (operation, *self._terms, *arguments))
        view = _parsed(reply)
        self._own_generation = view.generation
        if view.phase is Phase.OPEN:
            self._own_open_until = now + view.wait_seconds
        self._adopt(now, view, alone=True)
        return view.admitted

    def _shared(self, now: float, operation: str, *arguments: Argument, late: bool = False) -> Plan[int]:
        reply = yield Run(STEP, self._key, (operation, *self._terms, *arguments), late=late)
        view = _parsed(reply)
        self._own = None
        self._adopt(now, view, alone=False)
        return view.admitted

    def _adopt(self, now: float, view: "View", *, alone: bool) -> None:
        """Take over what was seen, and decide for how long it is believed."""
        before = self._phase
        self._phase = view.phase
        if self._pass.generation != view.generation or self._pass.alone is not alone:
            self._pass = Permit(view.generation, alone=alone)
        self._refused_until = now + view.wait_seconds
        if not alone and now < self._own_open_until:
            self._phase, self._refused_until = Phase.OPEN, self._own_open_until
        if self._phase in REFUSING:
            self._look_at = self._view_until = -math.inf
            self._ask_again_at = self._believed_until(now, view)
        else:
            self._look_at, self._view_until = now + FLUSH_SECONDS, now + CLOSED_VIEW_SECONDS
            self._ask_again_at = -math.inf
        self._free = None
        if self._timeless and self._phase not in REFUSING:
            self._free, self._look_at = self._pass, math.inf
        if before is not self._phase and self._observer is not None:
            self._observer.changed(self.name, before, self._phase)

    def _believed_until(self, now: float, view: "View") -> float:
        if self._phase is Phase.FORCED_OPEN:
            return now + OPEN_VIEW_SECONDS
        if self._phase is Phase.OPEN:
            if now < self._own_open_until:
                return self._own_open_until
            return min(self._refused_until, now + OPEN_VIEW_SECONDS)
        return -math.inf if view.admitted else min(self._refused_until, now + FULL_VIEW_SECONDS)

    def _refusal(self, now: float) -> CircuitOpenError:
        self._observe("rejected", 1, 0.0)
        wait = max(0.0, self._refused_until - now)
        if self._phase is Phase.FORCED_OPEN:
            return CircuitOpenError(f"the circuit {self.name!r} was opened by hand, and is to be closed by hand")
        error = CircuitOpenError(
            f"the circuit {self.name!r} is open after repeated failures; next probe in {wait:.1f} s"
        )
        error.retry_after_seconds = wait
        return error

    def _reported(self) -> Plan[BreakerReport]:
        arguments = ("inspect", *self._terms)
        alone = False
        try:
            reply = yield Run(LOOK, self._key, arguments)
        except SharedStateUnavailableError:
            alone = True
            own = self._own or MemoryStore(self._clock, capacity=1)
            reply = own.run(LOOK, self._key, arguments)
        return report_from(reply, alone=alone)

    def _observe(self, result: str, count: int, seconds: float) -> None:
        if self._observer is not None:
            self._observer.calls(self.name, result, count, seconds)

    # --- threads and event loops ---------------------------------------------------------------------

    def _carry_out(self, plan: Plan[T]) -> T:
        return perform(plan, self._store, self._clock)

    async def _acarry_out(self, plan: Plan[T]) -> T:
        """Carry out a plan to its end, even if whoever waits for it is cancelled."""
        import asyncio  # noqa: PLC0415 - whoever awaits has it; the agent, which does not, stays small

        return await asyncio.shield(self._send_off(plan))

    def _send_off(self, plan: Plan[T]) -> "asyncio.Future[T]":
        import asyncio  # noqa: PLC0415 - as above

        task = asyncio.ensure_future(aperform(plan, self._store, cast("Any", self._clock)))
        self._under_way.add(task)  # a loop holds its tasks only weakly
        task.add_done_callback(self._under_way.discard)
        return task

    async def _abegin(self, now: float) -> Ticket:
        import asyncio  # noqa: PLC0415 - as above

        task = self._send_off(self._asked(now, _new_name()))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._give_back)
            raise

    def _give_back(self, task: "asyncio.Future[Ticket]") -> None:
        """Release a probe that was admitted for somebody who is gone."""
        if not task.cancelled() and task.exception() is None and task.result()[0].probe:
            self._send_off(self._settled(task.result(), Outcome.IGNORED))

    # The few lines of a good call through a closed circuit stand in these, without calls of our own. All that is rare
    # goes the way of call and acall. To pass on an empty dict costs as much as to look at the clock.

    def _guarded_function(self, function: Callable[P, T]) -> Callable[P, T]:
        if self._timeless:
            return self._timeless_function(function)
        monotonic, batch, slow_after, timed = self._monotonic, self._batch, self._slow_after, self._timed
        judged = self._judge is not None

        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            started = monotonic()
            if started >= self._look_at or judged or deadline_set() is not None:
                return self.call(function, *args, **kwargs)
            permit = self._pass
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self.failed((permit, started), error)
                raise
            if timed:
                seconds = monotonic() - started
                if seconds > slow_after:
                    self._report_good((permit, started), result)
                    return result
                permit.seconds += seconds
            permit.good = good = permit.good + 1
            if good >= batch:
                self._look_at = -math.inf
            return result

        return guarded

    def _timeless_function(self, function: Callable[P, T]) -> Callable[P, T]:
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            permit = self._free
            if permit is None or deadline_set() is not None:
                return self.call(function, *args, **kwargs)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self.failed((permit, self._monotonic()), error)
                raise
            permit.good += 1
            return result

        return guarded

    def _guarded_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self._timeless:
            return self._timeless_coroutine(function)
        monotonic, batch, slow_after, timed = self._monotonic, self._batch, self._slow_after, self._timed
        judged = self._judge is not None

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            started = monotonic()
            if started >= self._look_at or judged or deadline_set() is not None:
                return await self.acall(function, *args, **kwargs)
            permit = self._pass
            try:
                result = await (function(*args, **kwargs) if kwargs else function(*args))
            except BaseException as error:
                await self.afailed((permit, started), error)
                raise
            if timed:
                seconds = monotonic() - started
                if seconds > slow_after:
                    await self.afinish((permit, started), result)
                    return result
                permit.seconds += seconds
            permit.good = good = permit.good + 1
            if good >= batch:
                self._look_at = -math.inf
            return result

        return guarded

    def _timeless_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            permit = self._free
            if permit is None or deadline_set() is not None:
                return await self.acall(function, *args, **kwargs)
            try:
                result = await (function(*args, **kwargs) if kwargs else function(*args))
            except BaseException as error:
                await self.afailed((permit, self._monotonic()), error)
                raise
            permit.good += 1
            return result

        return guarded

    def _guarded_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with self.protect():
                return (yield from function(*args, **kwargs))

        return guarded

    def _guarded_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            async with self.protect():
                inner: AsyncGenerator[Any, Any] = function(*args, **kwargs)
                step = inner.asend(None)
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield item
                    except GeneratorExit:
                        await inner.aclose()
                        raise
                    except BaseException as thrown:  # noqa: BLE001 - it is the inner generator's to judge
                        step = inner.athrow(thrown)
                    else:
                        step = inner.asend(sent)

        return guarded


class Protected:
    """One call, as the body of a ``with`` or ``async with`` block."""

    __slots__ = ("_breaker", "_ticket")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker

    def __enter__(self) -> None:
        self._ticket = self._breaker.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._breaker.finish(self._ticket)
        else:
            self._breaker.failed(self._ticket, error)

    async def __aenter__(self) -> None:
        self._ticket = await self._breaker.abegin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self._breaker.afinish(self._ticket)
        else:
            await self._breaker.afailed(self._ticket, error)


class View(NamedTuple):
    """What a step answers."""

    admitted: int
    phase: Phase
    generation: int
    wait_seconds: float


_RESULTS = {
    (outcome, slow): outcome.value if outcome is not Outcome.SUCCESS else ("slow" if slow else "success")
    for outcome in Outcome
    for slow in (False, True)
}
_TO_FLUSH: WeakSet[CircuitBreaker] = WeakSet()


def flush_all() -> None:
    """Tell the others of all successes that they have not been told yet; also done when the process ends."""
    for breaker in list(_TO_FLUSH):
        if not isinstance(breaker._store, MemoryStore):  # noqa: SLF001 - of this very module
            breaker.flush()


atexit.register(flush_all)


def _new_name() -> str:
    return os.urandom(8).hex()


def _parsed(reply: Reply) -> View:
    """Read an answer, which may come from anybody who can write to the store.

    Raises
    ------
    SharedStateUnavailableError
        If it is none of ours.
    """
    try:
        admitted, phase, generation, wait = reply
    except ValueError:
        raise _crooked() from None
    number = _whole(phase)
    if not 0 <= number < len(PHASES):
        raise _crooked()
    return View(_whole(admitted), PHASES[number], _whole(generation), _whole(wait) / 1000)


def report_from(reply: Reply, *, alone: bool = False) -> BreakerReport:
    """Read the answer to ``inspect``.

    Raises
    ------
    SharedStateUnavailableError
        If it is none of ours.
    """
    if len(reply) != 11:
        raise _crooked()
    view = _parsed(reply[:4])
    calls, failures, slow, probes, _, now = (_whole(item) for item in reply[4:10])
    try:
        history = _history(reply[10], now)
    except (ValueError, IndexError):
        raise _crooked() from None
    return BreakerReport(view.phase, view.wait_seconds, calls, failures, slow, probes, alone, history, view.generation)


def _whole(item: object) -> int:
    if not isinstance(item, int) or item < 0:
        raise _crooked()
    return item


def _history(item: object, now: int) -> tuple[Transition, ...]:
    lines = item.decode(errors="replace").splitlines() if isinstance(item, bytes) else []
    found = []
    for line in lines:
        at, before, after, reason = line.split(" ", 3)
        found.append(Transition((now - int(at)) / 1e6, PHASES[int(before)], PHASES[int(after)], reason))
    return tuple(found)


def _crooked() -> SharedStateUnavailableError:
    return SharedStateUnavailableError("a circuit's shared state is damaged", kind="nonsense", one_object=True)
