"""What is not stored, and why: counted per source and hour, in the transaction of what is. Knows no driver.

A sample that cannot be right does not hold up the others: it is left out, and the books say how many there were, whose
they were and what was wrong. The asset ``collection_run`` shows them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from collectors_dagster.errors import StorageError
from collectors_dagster.integrations.timescale.connection import Cursor
from collectors_dagster.integrations.timescale.queries import load_queries

QUERIES = load_queries("refusals")

AGENT = "agent"
"""Origin of what agents delivered."""


class Reason(StrEnum):
    """What can be wrong with a sample, as people read it."""

    NAN = "not a number"
    INFINITE = "infinite"
    TOO_LARGE = "beyond 1e100"
    ANCIENT = "more than ten years old"
    FUTURE = "more than a day in the future"
    OUTSIDE = "outside of the window"
    DUPLICATE = "another value at the same time"
    WRONG_UNIT = "another unit than the series has"
    UNKNOWN_SERIES = "of no series of the load"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Samples of one source and hour that are wrong in one way.

    Attributes
    ----------
    hour : datetime
        Start of the hour they belong to; that of their arrival, or of their load, where their time is what is wrong.
    reason : str
        A :class:`Reason`, or what the database said of a batch that is in quarantine.
    example : str
        One of them: metric, time and value.
    """

    host: str
    collector: str
    hour: datetime
    reason: str
    samples: int
    example: str = ""


@dataclass(frozen=True, slots=True)
class RefusedSource:
    """What was refused of a source in a window, in one way; `origin` is a load's dataset, or ``agent``."""

    origin: str
    host: str
    collector: str
    reason: str
    samples: int
    example: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Between which instants samples are believed: outside of them a clock is wrong, or a unit of time."""

    oldest: datetime
    newest: datetime
    now: datetime


class Tally:
    """Counts refusals as they are found."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, str, datetime, str], int] = defaultdict(int)
        self._examples: dict[tuple[str, str, datetime, str], str] = {}

    def add(self, refusal: Refusal) -> None:
        """Count a refusal."""
        key = (refusal.host, refusal.collector, refusal.hour, refusal.reason)
        self._counts[key] += refusal.samples
        self._examples.setdefault(key, refusal.example)

    def refusals(self) -> tuple[Refusal, ...]:
        """Return what was counted, in the order of source, hour and reason."""
        return tuple(Refusal(*key, count, self._examples[key]) for key, count in sorted(self._counts.items()))


def read_limits(cursor: Cursor, tenant_key: int) -> tuple[bool, Limits]:
    """Return whether a tenant is active, and the limits by the database's clock.

    Raises
    ------
    StorageError
        If the tenant was erased.
    """
    row = cursor.execute(QUERIES["limits"], {"tenant_key": tenant_key}).fetchone()
    if row is None:
        raise StorageError("the tenant was erased: synchronise the tenants, and try again")
    return bool(row[0]), Limits(*row[1:])


def is_active(cursor: Cursor, tenant_key: int) -> bool:
    """Say whether a tenant is active, and keep it so until the transaction ends."""
    row = cursor.execute(QUERIES["active"], {"tenant_key": tenant_key}).fetchone()
    return row is not None and bool(row[0])


def book_refusals(cursor: Cursor, tenant_key: int, origin: str, refusals: Iterable[Refusal]) -> None:
    """Add to what was refused, in the caller's transaction."""
    found = list(refusals)
    if found:
        cursor.execute(QUERIES["note"], {"tenant_key": tenant_key, "origin": origin, **_columns(found)})


def rebook_refusals(cursor: Cursor, tenant_key: int, origin: str, hour: datetime, refusals: Iterable[Refusal]) -> None:
    """Make these all that a load refused, in the caller's transaction."""
    cursor.execute(QUERIES["forget"], {"tenant_key": tenant_key, "origin": origin, "hour": hour})
    book_refusals(cursor, tenant_key, origin, refusals)


def _columns(refusals: Sequence[Refusal]) -> dict[str, object]:
    return {
        "hosts": [one.host for one in refusals],
        "collectors": [one.collector for one in refusals],
        "hours": [one.hour for one in refusals],
        "reasons": [str(one.reason) for one in refusals],
        "samples": [one.samples for one in refusals],
        "examples": [one.example for one in refusals],
    }
