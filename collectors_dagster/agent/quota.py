"""What a spool gives up when it is old or large, and in which order. Pure.

What is delivered is kept as the flight recorder, within hours and bytes of its own. What is not delivered yet is kept
whole for as long as it fits; then its oldest segments are thinned, level by level, and only when nothing is left to
thin, the oldest is dropped. The newest segment is never touched: it holds the sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from collectors_dagster.agent.packed import Summary
from collectors_dagster.agent.thinning import LEVELS

_HOUR_NS = 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much is kept.

    Attributes
    ----------
    max_bytes, max_hours : undelivered segments
    recorder_max_bytes, recorder_hours : delivered segments
    """

    max_bytes: int
    max_hours: float
    recorder_max_bytes: int
    recorder_hours: float


@dataclass(frozen=True, slots=True)
class Holding:
    """A segment that is not written any more.

    Attributes
    ----------
    first_seq : int
        The number in its name.
    packed : bool
        False while it is still in the form in which it was written.
    """

    first_seq: int
    packed: bool
    summary: Summary
    size: int

    def delivered(self, released: int) -> bool:
        """Whether all of it is delivered."""
        return self.summary.last_seq <= released

    def untouched(self, released: int) -> bool:
        """Whether nothing of it is delivered."""
        return self.summary.first_seq > released


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove a segment; `reason` is told in the gap record if it was not delivered."""

    holding: Holding
    reason: str


@dataclass(frozen=True, slots=True)
class Thin:
    """Rewrite a segment with one record per `level_seconds`."""

    holding: Holding
    level_seconds: int


Action = Drop | Thin


def next_action(holdings: Sequence[Holding], released: int, now_ns: int, quotas: Quotas) -> Action | None:
    """Return the next thing to give up, or None if everything is within its limits.

    Parameters
    ----------
    holdings : sequence of Holding
        Oldest first.
    released : int
        Everything up to this number is delivered.
    """
    kept = holdings[:-1]
    delivered = [one for one in kept if one.delivered(released)]
    if delivered and _outgrown(delivered, now_ns, quotas):
        return Drop(delivered[0], "recorded for long enough")
    waiting = [one for one in kept if not one.delivered(released)]
    if waiting and waiting[0].summary.to_ns < now_ns - quotas.max_hours * _HOUR_NS:
        return Drop(waiting[0], "older than spool_max_hours")
    if sum(one.size for one in waiting) > quotas.max_bytes:
        return less(waiting, released, "over spool_max_bytes")
    return None


def less(holdings: Sequence[Holding], released: int, reason: str) -> Action | None:
    """Return what to give up so that there is less: what is delivered, then detail, then the oldest.

    Parameters
    ----------
    holdings : sequence of Holding
        Oldest first, without the newest of the spool.
    """
    if not holdings:
        return None
    if holdings[0].delivered(released):
        return Drop(holdings[0], reason)
    for below, level in zip((0, *LEVELS), LEVELS, strict=False):
        for one in holdings:
            if one.summary.level_seconds == below and one.untouched(released):
                return Thin(one, level)
    return Drop(holdings[0], reason)


def recorder(holdings: Sequence[Holding]) -> list[Holding]:
    """Return the newest segments that hold every sweep, oldest first: the flight recorder's span."""
    return list(takewhile(lambda one: one.summary.level_seconds == 0, reversed(holdings)))[::-1]


def _outgrown(delivered: Sequence[Holding], now_ns: int, quotas: Quotas) -> bool:
    oldest_kept_ns = now_ns - quotas.recorder_hours * _HOUR_NS
    return delivered[0].summary.to_ns < oldest_kept_ns or sum(one.size for one in delivered) > quotas.recorder_max_bytes
