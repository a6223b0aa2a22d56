"""State that several processes share: what a pattern asks of the place where it lies.

A pattern changes shared state only in **steps**. A step is atomic, works on one object, and sees one clock: the
store's. It is written twice, in Python for :class:`~collectors_dagster.patterns.memory_store.MemoryStore` and in Lua
for Redis, and the same tests run over both. Everything else, when to ask and what to do with the answer, is written
once, as a **plan** (:mod:`collectors_dagster.patterns.plans`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from collectors_dagster.errors import SharedStateUnavailableError

Argument: TypeAlias = int | str | bytes
"""What a step is told. Redis knows only bytes: a number arrives in Lua as its decimal digits."""

Item: TypeAlias = int | bytes | None
Reply: TypeAlias = list[Item]
"""What a step answers: integers and bytes, as Redis gives them. Untrusted if it came over a network: parse strictly."""

Record: TypeAlias = dict[str, Any]
"""The state of one object in memory; empty when nothing is remembered. A rule changes it in place."""

Rule: TypeAlias = Callable[[Record, int, Sequence[Argument]], tuple[Reply, int]]
"""From a record, the store's time in microseconds and arguments to a reply and the milliseconds the record is kept."""


OUT_OF_TIME = "deadline"
"""Kind of a :exc:`SharedStateUnavailableError` that says nothing about the store: the caller could hardly wait."""


@dataclass(frozen=True, slots=True)
class Step:
    """One atomic transition of one object's state.

    Attributes
    ----------
    name : str
        Of the script that Redis runs: ``integrations/redis/scripts/<name>.lua``.
    rule : callable
        The same in Python. It must not raise for any state that itself or the script left behind.
    parts : tuple of str
        Suffixes of the keys which the script gets, in order: ``("", ":probes")`` for ``{<key>}`` and
        ``{<key>}:probes``. All share one hash tag, so that they lie on one node of a cluster.
    repeatable : bool
        Whether running it twice does the same as once. Only such a step may be sent again after a fault in the middle.
    """

    name: str
    rule: Rule
    parts: tuple[str, ...] = ("",)
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A step on an object, to be run with others."""

    step: Step
    key: str
    arguments: Sequence[Argument] = ()


class SharedStore(Protocol):
    """Where shared state lies: memory of this process, Redis, a Redis Cluster.

    Raises
    ------
    SharedStateUnavailableError
        From each method, whatever went wrong underneath. It comes fast (milliseconds, never the seconds of a network's
        time-outs), and the caller decides with what it knows itself. No step is waited for longer than the caller's
        deadline lasts; when that is over the kind is :data:`OUT_OF_TIME`.
    """

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step on the object `key` (``<tenant>:<kind>:<name>``, without braces)."""
        ...

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step without blocking the event loop."""
        ...


class ManyAtOnce(SharedStore, Protocol):
    """Shared state that runs many steps for the price of few round trips."""

    def run_many(self, calls: Sequence[Call]) -> list[Reply | SharedStateUnavailableError]:
        """Run steps that do not depend on each other; return for each its reply, or why there is none.

        Each is atomic, all together are not. A step that is not repeatable is never run twice.
        """
        ...
