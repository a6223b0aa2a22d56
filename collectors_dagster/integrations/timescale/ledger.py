"""The books: what was loaded and computed for which window, and what the agents delivered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.refusals import RefusedSource
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import ClockEvent, ClockEventKind, Window

QUERIES = load_queries("ledger")


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One source (a host's collector) over a window.

    Attributes
    ----------
    expected, received : int
        Samples that a source without gaps would have stored, and those that are stored.
    duplicates, late : int
        Samples refused because they were there already; samples more than five minutes old on arrival.
    gap_seconds : float
        Time in which the agent itself says that it read nothing.
    bytes : int
        Size in the agents' spools.
    last_ts : datetime or None
        The newest sample in the window.
    """

    host: str
    collector: str
    expected: int
    received: int
    duplicates: int
    late: int
    gap_seconds: float
    bytes: int
    last_ts: datetime | None


@dataclass(frozen=True, slots=True)
class LoadEntry:
    """One row of the books."""

    window: Window
    run_id: str
    rows: int
    sha256: str | None
    detail: Mapping[str, Any]
    loaded_at: datetime


class LoadLedger:
    """``core.load`` and ``core.delivery``."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    def record(
        self,
        tenant_id: str,
        dataset: str,
        window: Window,
        run_id: str,
        *,
        rows: int,
        sha256: str | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Book what a run did for a window; doing it again replaces the entry."""
        key = self._tenants.key(tenant_id)
        with self._database.transaction("write the ledger") as cursor:
            book(cursor, key, dataset, window, run_id=run_id, rows=rows, sha256=sha256, detail=detail)

    @repeatable
    def entries(self, tenant_id: str, dataset: str, window: Window) -> list[LoadEntry]:
        """Return what is booked of a dataset for windows that overlap this one, by time."""
        wanted = {"tenant_key": self._tenants.key(tenant_id), "dataset": dataset, **_span(window)}
        with self._database.transaction("read the ledger") as cursor:
            return [LoadEntry(Window(row[0], row[1]), *row[2:]) for row in cursor.execute(QUERIES["entries"], wanted)]

    @repeatable
    def collection_report(self, tenant_id: str, window: Window, resolution_seconds: float) -> list[SourceReport]:
        """Return expected against stored samples per source, for windows past and present."""
        wanted = {
            "tenant_key": self._tenants.key(tenant_id),
            "resolution": timedelta(seconds=resolution_seconds),
            **_span(window),
        }
        with self._database.transaction("report the collection") as cursor:
            return [SourceReport(*row) for row in cursor.execute(QUERIES["collection_report"], wanted)]

    @repeatable
    def refused(self, tenant_id: str, window: Window) -> list[RefusedSource]:
        """Return what was not stored of a window, and why, most first."""
        wanted = {"tenant_key": self._tenants.key(tenant_id), **_span(window)}
        with self._database.transaction("read what was refused") as cursor:
            return [RefusedSource(*row) for row in cursor.execute(QUERIES["refused"], wanted)]

    @repeatable
    def clock_events(self, tenant_id: str, window: Window) -> list[ClockEvent]:
        """Return what happened to the hosts' clocks in a window, by time: why samples are missing or doubled there."""
        wanted = {"tenant_key": self._tenants.key(tenant_id), **_span(window)}
        with self._database.transaction("read the clocks' events") as cursor:
            rows = cursor.execute(QUERIES["clock_events"], wanted).fetchall()
        return [ClockEvent(host, ts, ClockEventKind(kind), seconds) for host, ts, kind, seconds in rows]


def book(
    cursor: Cursor,
    tenant_key: int,
    dataset: str,
    window: Window,
    *,
    run_id: str,
    rows: int,
    sha256: str | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Book in the caller's transaction."""
    row = {
        "tenant_key": tenant_key,
        "dataset": dataset,
        "run_id": run_id,
        "rows": rows,
        "sha256": sha256,
        "detail": Jsonb(dict(detail or {})),
        **_span(window),
    }
    cursor.execute(QUERIES["book"], row)


def _span(window: Window) -> dict[str, object]:
    return {"start": window.start, "end": window.end}
