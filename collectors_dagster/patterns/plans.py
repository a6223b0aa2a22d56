"""Plans: what a pattern does between its caller and the world, written once for threads and for coroutines.

A plan is a generator. It yields what it wants done, a :class:`Run` or a :class:`Pause`, and gets the answer back; what
it returns is the result. :func:`perform` does it by blocking, :func:`aperform` by awaiting. (The style is known as
"sans I/O", cf. sans-io.readthedocs.io.)
"""

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from collectors_dagster.clock import AsyncClock, Clock
from collectors_dagster.patterns.deadline import beyond_deadline, check_wait
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


Plan: TypeAlias = Generator[Run | Pause, Reply, T]


def perform(plan: Plan[T], store: SharedStore, clock: Clock) -> T:
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


async def aperform(plan: Plan[T], store: SharedStore, clock: AsyncClock) -> T:
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


def _do(wish: Run | Pause, store: SharedStore, clock: Clock) -> Reply:
    if isinstance(wish, Run):
        with beyond_deadline() if wish.late else _AS_IT_IS:
            return store.run(wish.step, wish.key, wish.arguments)
    check_wait(wish.seconds)
    clock.sleep(wish.seconds)
    return []


async def _ado(wish: Run | Pause, store: SharedStore, clock: AsyncClock) -> Reply:
    if isinstance(wish, Run):
        with beyond_deadline() if wish.late else _AS_IT_IS:
            return await store.arun(wish.step, wish.key, wish.arguments)
    check_wait(wish.seconds)
    await clock.asleep(wish.seconds)
    return []
