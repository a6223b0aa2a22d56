"""Shared state in Redis."""

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from collectors_dagster.config.redis_address import Node, RedisAddress, Topology
from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.integrations.redis.conversation import Cluster, Order, Say, Talk, talk
from collectors_dagster.integrations.redis.faults import out_of_time, unavailable
from collectors_dagster.integrations.redis.links import AsyncLinks, LinkOptions, Links
from collectors_dagster.integrations.redis.script import SCRIPTS, ScriptShelf
from collectors_dagster.integrations.redis.slots import slot_of
from collectors_dagster.patterns.deadline import remaining_seconds
from collectors_dagster.patterns.forks import renew_in_children
from collectors_dagster.patterns.shared_state import Argument, Call, Reply, Step

_DEFAULT_OPTIONS = LinkOptions()
_IN_ONE_GO = 200
"""Steps sent to a node before their answers are read: more would fill buffers, and save nothing."""


class RedisStore:
    """A :class:`~collectors_dagster.patterns.shared_state.SharedStore` in Redis.

    Safe to share between threads, event loops and, after a fork, processes: connections are made when they are first
    used, per process and per loop. A loop's own connections are closed when ``asyncio.run`` ends it.

    Parameters
    ----------
    prefix : str
        Stands before each key: what lies in one Redis for several deployments is told apart by it.
    scripts : sequence of Path
        Folders with the Lua halves of steps.

    Notes
    -----
    The bare store waits for its time-outs at every call as long as Redis is away. Put a
    :class:`~collectors_dagster.patterns.guarded_store.GuardedStore` in front of it.
    """

    def __init__(
        self,
        address: RedisAddress,
        *,
        prefix: str = "collectors:",
        options: LinkOptions = _DEFAULT_OPTIONS,
        scripts: Sequence[Path] = (SCRIPTS,),
    ) -> None:
        if _has_braces(prefix):
            raise ValueError(f"the prefix {prefix!r} of the keys must not hold braces: they mark what lies together")
        self._address = address
        self._options = options
        self._prefix = prefix
        self._scripts = ScriptShelf(scripts)
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        """Begin without connections: a child must not speak on its parent's."""
        clustered = self._address.topology is Topology.CLUSTER
        self._cluster = Cluster(self._address.nodes) if clustered else None
        self._links = Links(self._address, self._options)
        self._loops: dict[asyncio.AbstractEventLoop, tuple[AsyncLinks, AsyncGenerator[None, None]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of threads; whoever comes again makes new ones."""
        self._links.close()

    def fault_domain(self, key: str) -> str:
        """Return a name for what fails together with `key`: a node of the cluster, or all there is."""
        node = self._cluster.master(slot_of(key)) if self._cluster else None
        return f"{node[0]}:{node[1]}" if node else ""

    def run(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step, blocking: for the time-outs of one connection and one answer at most, as a rule.

        Only a step that has to learn first where the slots of a cluster lie may wait for one or two nodes more. Nobody
        waits longer than the caller's deadline lasts.
        """
        hurry = self._in_a_hurry(step)
        talking = self._talk(step, key, arguments)
        try:
            wish = next(talking)
            while True:
                try:
                    answer = self._links.say(wish)
                except Exception as error:  # noqa: BLE001 - the talk decides about it: it is raised again inside
                    wish = talking.throw(error)
                else:
                    wish = talking.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration is not generic
        except Exception as error:  # noqa: BLE001 - drivers let strange ones through, a missing writer's AttributeError
            raise unavailable(error, step.name, in_a_hurry=hurry) from None  # the driver's words may hold an address

    def run_many(self, calls: Sequence[Call]) -> list[Reply | SharedStateUnavailableError]:
        """Run many steps, each node's in one go; blocking for a few answers of each node, however many steps there are.

        What a step may and may not have twice, its own talk decides, as if it were alone: see
        :mod:`collectors_dagster.integrations.redis.conversation`.
        """
        hurry = any(self._in_a_hurry(call.step) for call in calls)
        talks = [self._talk(call.step, call.key, call.arguments) for call in calls]
        ends: dict[int, Reply | SharedStateUnavailableError] = {}
        wishes: dict[int, Say] = {}

        def go_on(number: int, answer: object) -> None:
            wishes.pop(number, None)
            try:
                talk = talks[number]
                wishes[number] = talk.throw(answer) if isinstance(answer, Exception) else talk.send(answer)
            except StopIteration as end:
                ends[number] = end.value
            except Exception as error:  # noqa: BLE001 - as in `run`
                ends[number] = unavailable(error, calls[number].step.name, in_a_hurry=hurry)

        for number in range(len(calls)):
            go_on(number, None)
        while wishes:
            for numbers in _in_goes(wishes):
                for number, answer in zip(numbers, self._answers([wishes[each] for each in numbers]), strict=True):
                    go_on(number, answer)
        return [ends[number] for number in range(len(calls))]

    def _answers(self, wishes: Sequence[Say]) -> Sequence[object]:
        try:
            return self._links.say_all(wishes)
        except Exception as error:  # noqa: BLE001 - each talk decides about it
            return [error] * len(wishes)

    async def arun(self, step: Step, key: str, arguments: Sequence[Argument] = ()) -> Reply:
        """Run one step, awaiting."""
        hurry = self._in_a_hurry(step)
        talking = self._talk(step, key, arguments)
        links = await self._links_here()
        try:
            wish = next(talking)
            while True:
                try:
                    async with asyncio.timeout(_seconds_left()):
                        answer = await links.say(wish)
                except Exception as error:  # noqa: BLE001 - the talk decides about it: it is raised again inside
                    wish = talking.throw(error)
                else:
                    wish = talking.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration is not generic
        except Exception as error:  # noqa: BLE001 - as above
            raise unavailable(error, step.name, in_a_hurry=hurry) from None

    def _in_a_hurry(self, step: Step) -> bool:
        """Say whether the caller's deadline leaves so little time that a time-out would say nothing about Redis."""
        left = remaining_seconds()
        if left <= 0:
            raise out_of_time(step.name)
        return left < self._options.answer_seconds / 2

    def _talk(self, step: Step, key: str, arguments: Sequence[Argument]) -> Talk:
        if not key or _has_braces(key):
            raise ValueError(f"the key {key!r} of shared state must not be empty or hold braces")
        keys = tuple(f"{self._prefix}{{{key}}}{part}" for part in step.parts)
        order = Order(self._scripts[step.name], keys, arguments, step.repeatable)
        return talk(order, slot_of(key), self._cluster)

    async def _links_here(self) -> AsyncLinks:
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            for ended in [each for each in list(self._loops) if each.is_closed()]:
                self._loops.pop(ended, None)
            links = AsyncLinks(self._address, self._options)
            life = self._life(loop, links)
            await anext(life)
            found = self._loops[loop] = links, life
        return found[0]

    async def _life(self, loop: asyncio.AbstractEventLoop, links: AsyncLinks) -> AsyncGenerator[None, None]:
        """Close `links` when the loop shuts its generators down: it has no other hook for its end."""
        try:
            yield
        finally:
            self._loops.pop(loop, None)
            await links.aclose()


def _in_goes(wishes: Mapping[int, Say]) -> list[list[int]]:
    """Group what is to be said by who is to hear it, and not too much at once."""
    by_node: dict[Node | None, list[int]] = {}
    for number, wish in wishes.items():
        by_node.setdefault(wish.node, []).append(number)
    return [numbers[at : at + _IN_ONE_GO] for numbers in by_node.values() for at in range(0, len(numbers), _IN_ONE_GO)]


def _seconds_left() -> float | None:
    left = remaining_seconds()
    return None if left == math.inf else left


def _has_braces(text: str) -> bool:
    return "{" in text or "}" in text
