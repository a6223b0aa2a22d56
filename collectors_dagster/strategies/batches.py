"""Which tenants share a run.

A Dagster run costs seconds before it does anything, so tenants share runs; a run covers a *contiguous* range of
the dynamic partitions in the order they were inserted (a range is named by its two ends, and everything that lies
between them belongs to it). Premium tenants get runs of their own, first in the queue.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from collectors_dagster.tenants import Tier


@dataclass(frozen=True, slots=True)
class Batch:
    """Tenants of one run, in the order of their partitions.

    Attributes
    ----------
    tenants : tuple of str
        Never empty; first and last name the range.
    """

    tier: Tier
    tenants: tuple[str, ...]

    @property
    def first(self) -> str:
        """Where the range starts."""
        return self.tenants[0]

    @property
    def last(self) -> str:
        """Where the range ends, inclusive."""
        return self.tenants[-1]

    @property
    def name(self) -> str:
        """Unique among the batches of one plan.

        Examples
        --------
        >>> Batch(Tier.PREMIUM, ("aurora",)).name
        'premium-aurora'
        """
        return f"{self.tier}-{self.first}"


def plan_batches(order: Sequence[str], tiers: Mapping[str, Tier], size: int) -> list[Batch]:
    """Cut the tenants into runs: premium ones alone and first, standard ones in contiguous ranges.

    Parameters
    ----------
    order
        All partitions in insertion order. Never sort them: the ends of a range mean what lies between them.
    tiers
        Tenants to serve. A partition that is not among them (one being offboarded) is left out, and no range
        reaches over it.
    size
        Most tenants in one run.

    Examples
    --------
    >>> tiers = {"b": Tier.STANDARD, "d": Tier.PREMIUM, "a": Tier.STANDARD, "c": Tier.STANDARD}
    >>> [batch.tenants for batch in plan_batches(["b", "d", "a", "c"], tiers, size=50)]
    [('d',), ('b',), ('a', 'c')]
    """
    if size < 1:
        raise ValueError(f"a batch of {size} tenants can hold nobody; use at least 1")
    stretches = [(tier, list(tenants)) for tier, tenants in groupby(order, key=tiers.get)]
    premium = [Batch(Tier.PREMIUM, (t,)) for tier, tenants in stretches if tier is Tier.PREMIUM for t in tenants]
    standard = [
        Batch(Tier.STANDARD, chunk)
        for tier, tenants in stretches
        if tier is Tier.STANDARD
        for chunk in _chunks(tenants, size)
    ]
    return premium + standard


def insertion_order(tiers: Mapping[str, Tier]) -> list[str]:
    """Return new tenants in the order in which their partitions should be inserted: standard ones side by side.

    Examples
    --------
    >>> insertion_order({"b": Tier.STANDARD, "c": Tier.PREMIUM, "a": Tier.STANDARD})
    ['c', 'a', 'b']
    """
    return sorted(tiers, key=lambda tenant: (tiers[tenant] is Tier.STANDARD, tenant))


def tenants_between(order: Sequence[str], first: str, last: str) -> tuple[str, ...]:
    """Return the tenants a range covers; nobody if an end is unknown or the ends are reversed.

    Examples
    --------
    >>> tenants_between(["b", "d", "a", "c"], "b", "a")
    ('b', 'd', 'a')
    >>> tenants_between(["b", "d", "a", "c"], "a", "b")
    ()
    """
    if first not in order or last not in order:
        return ()
    return tuple(order[order.index(first) : order.index(last) + 1])


def _chunks(tenants: list[str], size: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(tenants), size):
        yield tuple(tenants[start : start + size])
