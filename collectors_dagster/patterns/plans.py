"""Plans: what a pattern does between its caller and the world, written once for threads and for coroutines.

A plan is a generator. It yields what it wants done, a :class:`Run` or a :class:`Pause`, and gets the answer back; what
it returns is the result. :func:`perform` does it by blocking, :func:`aperform` by awaiting. (The style is known as
"sans I/O", cf. sans-io.readthedocs.io.) An errand is a plan that may also call what its caller gave it, wait for
another caller, and have something done in the background.
"""

import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from collectors_dagster.clock import AsyncClock, Clock
from collectors_dagster.patterns.background import BACKGROUND
from collectors_dagster.patterns.deadline import beyond_deadline, check_wait, remaining_seconds
from collectors_dagster.patterns.shared_state import Argument, Reply, SharedStore, Step

T = TypeVar("T")
_AS_IT_IS = nullcontext()


@dataclass(frozen=True, slots=True)
class Run:
    """Run a step on shared state. The plan gets its reply, or the error thrown into it.

    Attributes
    ----------
    late : bool
        Whether it is done even when the caller's deadline is over, for the store's own time-outs at most: a report of
        what happened, or something given back. Otherwise a call that ran out of time would never be known as a failure.
    """

    step: Step
    key: str
    arguments: Sequence[Argument] = ()
    late: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait. The plan gets an empty reply, or at once an error if the caller's deadline lies before the end."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """Call what the caller gave, or await it. The errand gets what it returns, or its error thrown into it."""

    operation: Callable[[], Any]


class Turn(Protocol):
    """Something that comes about in another thread or coroutine."""

    def on_ready(self, wake: Callable[[], object], /) -> bool:
        """Have `wake` called, from any thread, once it has come; return whether it is still to come."""
        ...


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a turn, to the caller's deadline at most."""

    turn: Turn


class Job(Protocol):
    """Work in both colours that nobody waits for; neither form raises an error."""

    def run(self) -> None:
        """Do it, blocking."""
        ...

    async def arun(self) -> None:
        """Do it, awaiting."""
        ...


@dataclass(frozen=True, slots=True)
class Start:
    """Have a job done in the background: by a task of the loop, or by a thread. The errand gets whether it will be."""

    job: Job


Plan: TypeAlias = Generator[Run | Pause, Reply, T]
Errand: TypeAlias = Generator[Run | Pause | Call | Wait | Start, Any, T]


def perform(plan: Errand[T], store: SharedStore, clock: Clock) -> T:
    """Carry out `plan`, blocking; return its result.

    Examples
    --------
    >>> from collectors_dagster.clock import ManualClock
    >>> from collectors_dagster.patterns.memory_store import MemoryStore
    >>> def nap() -> Plan[str]:
    ...     yield Pause(2.0)
    ...     return "rested"
    >>> clock = ManualClock()
    >>> perform(nap(), MemoryStore(clock), clock), clock.monotonic()
    ('rested', 2.0)
    """
    try:
        wish = next(plan)
        while True:
            try:
                reply = _do(wish, store, clock)
            except Exception as error:  # noqa: BLE001 - the plan decides about it: it is raised again inside
                wish = plan.throw(error)
            else:
                wish = plan.send(reply)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration is not generic
    finally:
        plan.close()


async def aperform(plan: Errand[T], store: SharedStore, clock: AsyncClock) -> T:
    """Carry out `plan`, awaiting; return its result. A cancellation closes the plan and passes through."""
    try:
        wish = next(plan)
        while True:
            try:
                reply = await _ado(wish, store, clock)
            except Exception as error:  # noqa: BLE001 - the plan decides about it: it is raised again inside
                wish = plan.throw(error)
            else:
                wish = plan.send(reply)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration is not generic
    finally:
        plan.close()


def _do(wish: Run | Pause | Call | Wait | Start, store: SharedStore, clock: Clock) -> Any:
    match wish:
        case Run():
            with beyond_deadline() if wish.late else _AS_IT_IS:
                return store.run(wish.step, wish.key, wish.arguments)
        case Pause():
            check_wait(wish.seconds)
            clock.sleep(wish.seconds)
        case Call():
            return wish.operation()
        case Wait():
            event = threading.Event()
            if wish.turn.on_ready(event.set):
                event.wait(min(remaining_seconds(), threading.TIMEOUT_MAX))
        case Start():
            return BACKGROUND.start(wish.job.run)
    return []


async def _ado(wish: Run | Pause | Call | Wait | Start, store: SharedStore, clock: AsyncClock) -> Any:
    match wish:
        case Run():
            with beyond_deadline() if wish.late else _AS_IT_IS:
                return await store.arun(wish.step, wish.key, wish.arguments)
        case Pause():
            check_wait(wish.seconds)
            await clock.asleep(wish.seconds)
        case Call():
            return await wish.operation()
        case Wait():
            await _awaited(wish.turn)
        case Start():
            return _started(wish.job.arun())
    return []


async def _awaited(turn: Turn) -> None:
    import asyncio  # noqa: PLC0415 - whoever awaits has it; the agent, which does not, stays small

    loop, event = asyncio.get_running_loop(), asyncio.Event()
    if turn.on_ready(lambda: loop.call_soon_threadsafe(event.set)):
        left = remaining_seconds()
        try:
            async with asyncio.timeout(None if left == float("inf") else left):
                await event.wait()
        except TimeoutError:
            return


def _started(work: Coroutine[Any, Any, None]) -> bool:
    import asyncio  # noqa: PLC0415 - as above

    task = asyncio.get_running_loop().create_task(work)
    _TASKS.add(task)  # the loop itself keeps no task alive
    task.add_done_callback(_TASKS.discard)
    return True


_TASKS: set[Any] = set()
