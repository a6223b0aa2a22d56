"""What is said to Redis for one step, once for both colours: a generator yields what to say and gets the answer.

Scripts go by their digest; a server that forgot one (``SCRIPT FLUSH``, a restart, a new master) gets its body, which it
keeps and runs at once. A node of a cluster that answers ``MOVED``, ``ASK`` or ``NOSCRIPT`` has done nothing, so that
the step may be sent again. After anything else it may have been done, and only a repeatable step is sent again.
"""

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from redis import exceptions

from collectors_dagster.config.redis_address import Node
from collectors_dagster.integrations.redis.replies import MalformedReplyError, parsed
from collectors_dagster.integrations.redis.script import Script
from collectors_dagster.integrations.redis.slots import SlotMap, parse_slots
from collectors_dagster.patterns.shared_state import Argument, Reply

_MOST_SENDINGS = 5
_NODES_ASKED_AT_FIRST = 2
"""For the map of slots, per step: each may cost a time-out. Whoever has a map asks one, and the next step another."""


@dataclass(frozen=True, slots=True)
class Say:
    """Words for one node; ``None``: for the only server there is."""

    node: Node | None
    words: tuple[Argument, ...]
    asking: bool = False


Talk: TypeAlias = Generator[Say, object, Reply]


@dataclass(frozen=True, slots=True)
class Order:
    """One step, ready to be sent."""

    script: Script
    keys: tuple[str, ...]
    arguments: Sequence[Argument]
    repeatable: bool

    def words(self, *, whole: bool) -> tuple[Argument, ...]:
        """Return the command, with the script's body or with its digest."""
        head = ("EVAL", self.script.body) if whole else ("EVALSHA", self.script.digest)
        return (*head, len(self.keys), *self.keys, *self.arguments)


class Cluster:
    """The slots of a cluster, as far as they are known. Safe to share between threads and event loops."""

    def __init__(self, seeds: Sequence[Node]) -> None:
        self._seeds = tuple(seeds)
        self._lock = threading.Lock()
        self._map: SlotMap | None = None
        self._stale = True
        self._avoided: list[Node] = []

    def master(self, slot: int) -> Node | None:
        """Return who holds a slot, as far as is known."""
        return self._map.masters[slot] if self._map else None

    def locate(self, slot: int) -> Generator[Say, object, Node]:
        """Return who holds a slot; ask the cluster if that is not known or in doubt."""
        if self._claim() or self._map is None:  # whoever knows nothing cannot go on while another one asks
            yield from self._learn()
        node = self.master(slot)
        if node is None:
            self._stale = True
            raise exceptions.ClusterDownError("no node is known to hold the slot")
        return node

    def moved(self, slot: int, node: Node) -> None:
        """Believe a node that says where a slot lies now."""
        with self._lock:
            self._map = self._map.moved(slot, node) if self._map else None
            self._stale = self._map is None

    def doubt(self, node: Node | None) -> None:
        """Ask the others where everything lies before the next step: this node failed."""
        with self._lock:
            self._stale = True
            self._avoid(node)

    def _claim(self) -> bool:
        with self._lock:
            claimed, self._stale = self._stale, False
            return claimed

    def _learn(self) -> Generator[Say, object, None]:
        for node in self._candidates()[: 1 if self._map else _NODES_ASKED_AT_FIRST]:
            try:
                learned = parse_slots((yield Say(node, ("CLUSTER", "SLOTS"))), node)
            except (exceptions.RedisError, OSError, MalformedReplyError) as error:
                self.doubt(node)
                failure: Exception = error
            else:
                self._map = learned
                return
        if self._map is None and isinstance(failure, exceptions.ConnectionError | exceptions.TimeoutError | OSError):
            raise failure
        if self._map is None:  # it speaks, but not as a cluster does
            raise exceptions.ClusterDownError("no node told where slots lie") from failure

    def _candidates(self) -> list[Node]:
        """Return all nodes known; those that failed last come last."""
        with self._lock:
            known = dict.fromkeys((*(self._map.nodes if self._map else ()), *self._seeds))
            return sorted(known, key=lambda node: self._avoided.index(node) + 1 if node in self._avoided else 0)

    def _avoid(self, node: Node | None) -> None:
        if node is not None:
            self._avoided = [*(each for each in self._avoided if each != node), node][-100:]


def talk(order: Order, slot: int, cluster: Cluster | None) -> Talk:
    """Send `order` to whoever holds its keys; return what was answered."""
    node = (yield from cluster.locate(slot)) if cluster else None
    try:
        return (yield from _talk_with(node, order, slot, cluster))
    except exceptions.TryAgainError:
        raise
    except exceptions.ResponseError as error:
        if cluster and type(error) is not exceptions.ResponseError:
            cluster.doubt(node)
        raise
    except (exceptions.RedisError, OSError):
        if cluster:
            cluster.doubt(node)
        raise


def _talk_with(node: Node | None, order: Order, slot: int, cluster: Cluster | None) -> Talk:
    whole = asking = repeated = False
    for sending in range(_MOST_SENDINGS):
        try:
            return parsed((yield Say(node, order.words(whole=whole), asking)))
        except exceptions.NoScriptError:
            if whole:
                raise
            whole = True
        except exceptions.AskError as told:  # MOVED is a kind of it
            if cluster is None or sending == _MOST_SENDINGS - 1:
                raise
            node = (told.host or (node or ("", 0))[0], told.port)
            asking = not isinstance(told, exceptions.MovedError)
            if not asking:
                cluster.moved(slot, node)
        except exceptions.ConnectionError:
            if repeated or not order.repeatable:
                raise
            repeated = True
    raise exceptions.TryAgainError("the cluster sent us from node to node")
