"""Shared state in Redis."""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from collectors_dagster.config.redis_address import RedisAddress, Topology
from collectors_dagster.integrations.redis.conversation import Cluster, Order, Talk, talk
from collectors_dagster.integrations.redis.faults import out_of_time, unavailable
from collectors_dagster.integrations.redis.links import AsyncLinks, LinkOptions, Links
from collectors_dagster.integrations.redis.script import SCRIPTS, ScriptShelf
from collectors_dagster.integrations.redis.slots import slot_of
from collectors_dagster.patterns.deadline import remaining_seconds
from collectors_dagster.patterns.forks import renew_in_children
from collectors_dagster.patterns.shared_state import Argument, Reply, Step

_DEFAULT_OPTIONS = LinkOptions()


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


def _seconds_left() -> float | None:
    left = remaining_seconds()
    return None if left == math.inf else left


def _has_braces(text: str) -> bool:
    return "{" in text or "}" in text
