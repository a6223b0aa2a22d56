"""Which node of a cluster holds which key."""

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass

from collectors_dagster.config.redis_address import Node
from collectors_dagster.integrations.redis.replies import MalformedReplyError

SLOTS = 16384


def slot_of(tag: str) -> int:
    """Return the slot of all keys whose hash tag is `tag` (Redis Cluster specification: CRC16 of the XMODEM kind).

    Examples
    --------
    >>> slot_of("123456789")
    12739
    """
    return crc_hqx(tag.encode(), 0) % SLOTS


@dataclass(frozen=True, slots=True)
class SlotMap:
    """The masters of all slots, as one node of the cluster saw them.

    Attributes
    ----------
    masters : tuple of (Node or None)
        By slot; ``None``: nobody holds it.
    nodes : tuple of Node
        All masters and replicas.
    """

    masters: tuple[Node | None, ...]
    nodes: tuple[Node, ...]

    def moved(self, slot: int, master: Node) -> "SlotMap":
        """Return the map after one slot has moved."""
        masters = (*self.masters[:slot], master, *self.masters[slot + 1 :])
        return SlotMap(masters, self.nodes if master in self.nodes else (*self.nodes, master))


def parse_slots(answer: object, asked: Node) -> SlotMap:
    """Return what a node said to ``CLUSTER SLOTS``; a node without a name is the one that was asked.

    Raises
    ------
    MalformedReplyError
        If it does not look like that.
    """
    masters: list[Node | None] = [None] * SLOTS
    nodes: dict[Node, None] = {}
    try:
        for first, last, *places in answer:  # type: ignore[attr-defined]  # checked by failing
            found = [_node(place, asked) for place in places]
            if not 0 <= first <= last < SLOTS:
                raise MalformedReplyError("a slot is out of range")
            masters[first : last + 1] = [found[0]] * (last + 1 - first)
            nodes.update(dict.fromkeys(found))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise MalformedReplyError("the map of slots has an unknown shape") from error
    return SlotMap(tuple(masters), tuple(nodes))


def _node(place: Sequence[object], asked: Node) -> Node:
    host, port = place[0], place[1]
    if not isinstance(port, int) or not isinstance(host, bytes | None):
        raise MalformedReplyError("a node has no port or no host")
    name = host.decode() if host else ""
    return (asked[0] if name in {"", "?"} else name), port
