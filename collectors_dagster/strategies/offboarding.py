"""Which partitions to add and which to take away, so that no run loses the ends of its range."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartitionChanges:
    """What makes the partitions equal to the configured tenants.

    Attributes
    ----------
    add : in the order in which they are to be inserted
    remove : partitions nobody needs any more
    waiting : to be removed when the runs that cover them have ended
    """

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def partition_changes(
    configured: Collection[str], partitions: Sequence[str], in_use: Collection[str]
) -> PartitionChanges:
    """Compare configured tenants with existing partitions.

    Parameters
    ----------
    configured
        Tenants that have a file.
    partitions
        What exists, in insertion order.
    in_use
        Tenants covered by runs that have not ended. A run looks its range up when it starts: take an end away
        before that, and it fails for all its tenants.

    Examples
    --------
    >>> partition_changes(["a", "b"], ["b", "c", "d"], in_use=["c"])
    PartitionChanges(add=('a',), remove=('d',), waiting=('c',))
    """
    gone = [tenant for tenant in partitions if tenant not in configured]
    return PartitionChanges(
        add=tuple(tenant for tenant in configured if tenant not in partitions),
        remove=tuple(tenant for tenant in gone if tenant not in in_use),
        waiting=tuple(tenant for tenant in gone if tenant in in_use),
    )
