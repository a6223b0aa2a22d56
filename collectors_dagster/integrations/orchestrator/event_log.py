"""Dagster's event log kept small: it has no pruning of its own, and an install that runs for months dies of it.

What goes, in chunks of short transactions: narratives of ended runs, superseded materialisations, old executions of
checks, empty looks of sensors. What stays: the newest materialisation of every partition, failed or planned states,
everything younger than the limits. Deleting whole *runs* would make their partitions look never materialised.

Measured with the three sample tenants: a materialisation takes 2.5 to 8 kB with its metadata (4 kB on average), a
plan 0.8 kB, the narrative of a run 15 kB, an empty look of a sensor 1.5 kB. An hour is 21 materialisations, two or
three runs and 1,400 looks: 5 MB a day of events, of which two days are kept, and at most 25 MB of looks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from collectors_dagster.integrations.timescale.database import Database

CHUNK = 5_000
MOST_CHUNKS = 200
"""Per kind and call: a million rows; what is left waits for the next call."""


@dataclass(frozen=True, slots=True)
class KeepFor:
    """How long what stays."""

    narratives: timedelta = timedelta(days=2)
    failures: timedelta = timedelta(days=14)
    superseded: timedelta = timedelta(days=2)
    empty_ticks: timedelta = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What went.

    Attributes
    ----------
    rows : by kind
    bytes_before, bytes_after : of the growing tables; PostgreSQL reuses the space of deleted rows
    """

    rows: Mapping[str, int]
    bytes_before: int
    bytes_after: int


class EventLog:
    """Dagster's tables.

    Parameters
    ----------
    conninfo
        A libpq URL of Dagster's database.
    """

    def __init__(self, conninfo: SecretStr) -> None:
        self._database = Database(conninfo, application_name="collectors-upkeep", max_connections=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def prune(self, now: datetime, keep: KeepFor | None = None) -> PruneReport:
        """Delete what is older than `keep` allows."""
        keep = keep or KeepFor()
        before = self.size()
        rows = {
            "narratives": self._delete("narratives", now - keep.narratives, ["SUCCESS"]),
            "failures": self._delete("narratives", now - keep.failures, ["FAILURE", "CANCELED"]),
            "superseded": self._delete("superseded", now - keep.superseded),
            "check_executions": self._delete("check_executions", now - keep.superseded),
            "check_plans": self._delete("check_plans", now - keep.superseded),
            "ticks": self._delete("ticks", now - keep.empty_ticks),
        }
        return PruneReport(rows, before, self.size())

    def size(self) -> int:
        """Return the bytes of the tables that grow."""
        with self._database.transaction("measure Dagster's tables") as cursor:
            row = cursor.execute(_statement("size")).fetchone()
        return int(row[0]) if row else 0

    def _delete(self, name: str, before: datetime, statuses: list[str] | None = None) -> int:
        total = 0
        for _ in range(MOST_CHUNKS):
            with self._database.transaction("prune Dagster's event log") as cursor:
                wanted = {"before": before, "chunk": CHUNK, **({"statuses": statuses} if statuses else {})}
                deleted = cursor.execute(_statement(name), wanted).rowcount
            total += deleted
            if deleted < CHUNK:
                break
        return total


@cache
def _statement(name: str) -> bytes:
    return (files(__package__) / "sql" / f"{name}.sql").read_bytes()
