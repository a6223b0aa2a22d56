"""How samples are cut into chunks on TimescaleDB, and when a chunk is compressed.

A chunk that is written to should fit into memory with its index, and a compressed series wants about a thousand values
in a chunk. Every chunk costs planning time, so there should not be more of them than these two reasons ask for.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

ROW_BYTES = 84
"""One value with its index, before it is compressed; measured."""
ROWS_PER_SERIES = 1000
STEPS = tuple(timedelta(hours=hours) for hours in (1, 2, 4, 6, 12, 24, 48, 168, 336))
USUAL = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of the samples, as it was found.

    Attributes
    ----------
    name : str
        Of the table, with its schema.
    starts_at, ends_at : datetime
        The end is excluded.
    compressed, partial : bool
        Whether it was compressed, and whether rows came to it or changed since then.
    bytes : int
        With indexes, compressed or not.
    loose_bytes : int
        What of them is not compressed.
    changed_at : datetime
        When it was last seen to have been written to.
    of : str
        What lies in it: ``samples`` or ``hours``.
    """

    name: str
    starts_at: datetime
    ends_at: datetime
    compressed: bool
    partial: bool
    bytes: int
    loose_bytes: int
    changed_at: datetime
    of: str = "samples"

    @property
    def mostly_loose(self) -> bool:
        """Whether so much of a compressed chunk was written again that it is better compressed anew as a whole."""
        return self.compressed and self.loose_bytes * 4 > self.bytes


@dataclass(frozen=True, slots=True)
class CompressionRule:
    """When a chunk is compressed.

    Attributes
    ----------
    after : timedelta
        So long after its end, at the earliest.
    quiet : timedelta
        And only if nothing was written to it for so long ...
    patience : timedelta
        ... unless its end is older than this.
    """

    after: timedelta
    quiet: timedelta
    patience: timedelta


class Verdict(StrEnum):
    """What is to become of a chunk."""

    COMPRESS = "compress"
    COMPRESS_AGAIN = "compress again: late samples came"
    DONE = "is compressed"
    OPEN = "wait: it is not over for long enough"
    BUSY = "wait: it is still written to"


def verdict(chunk: Chunk, rule: CompressionRule, now: datetime) -> Verdict:
    """Judge a chunk.

    Examples
    --------
    >>> from datetime import UTC
    >>> noon, hour = datetime(2026, 1, 2, 12, tzinfo=UTC), timedelta(hours=1)
    >>> rule = CompressionRule(after=6 * hour, quiet=2 * hour, patience=168 * hour)
    >>> chunk = Chunk("a", noon - 36 * hour, noon - 12 * hour, False, False, 9, 9, noon - 3 * hour)
    >>> verdict(chunk, rule, noon).value
    'compress'
    """
    if chunk.compressed and not chunk.partial:
        return Verdict.DONE
    age = now - chunk.ends_at
    if age < rule.after:
        return Verdict.OPEN
    if now - chunk.changed_at < rule.quiet and age < rule.patience:
        return Verdict.BUSY
    return Verdict.COMPRESS_AGAIN if chunk.compressed else Verdict.COMPRESS


def chunk_interval(rows_per_day: float, series: int, memory_bytes: int) -> timedelta:
    """Return how much time a chunk should hold.

    Parameters
    ----------
    rows_per_day : float
        Samples that come in a day, above 0.
    series : int
        Series they belong to, above 0.
    memory_bytes : int
        What a chunk that is written to may take.

    Examples
    --------
    >>> str(chunk_interval(1.3e6, 150, 10**9)), str(chunk_interval(130e6, 15_000, 10**9))
    ('1 day, 0:00:00', '2:00:00')
    """
    enough = _days(ROWS_PER_SERIES * series / rows_per_day)
    room = _days(memory_bytes / (ROW_BYTES * rows_per_day))
    wanted = next((step for step in STEPS if step >= max(enough, USUAL)), STEPS[-1])
    fitting = [step for step in STEPS if step <= min(wanted, room)]
    return fitting[-1] if fitting else STEPS[0]


def _days(number: float) -> timedelta:
    """Return so many days, and no more than matters."""
    return USUAL * min(number, 1000.0)
