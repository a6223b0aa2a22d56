"""Hourly and daily aggregates: exact, mergeable, the same bits every time.

A bucket is named by its start and holds the samples whose time lies in ``[start, start + width)``, as
``date_bin`` and ``time_bucket`` would put them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from collectors_dagster.integrations.timescale.backend import Backend, FoundBackend, Level
from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.ledger import book
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import Window

QUERIES = load_queries("rollups")

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RollupResult:
    """What was computed.

    Attributes
    ----------
    rows, series : int
        Buckets written, and series they belong to.
    raw_rows : int
        Samples that went into them.
    """

    rows: int
    series: int
    raw_rows: int


class RollupTable:
    """``core.sample_1h`` and ``core.sample_1d``: tables, or the server's continuous aggregates, by edition."""

    def __init__(self, database: Database, tenants: TenantTable, backend: FoundBackend) -> None:
        self._database = database
        self._tenants = tenants
        self._backend = backend

    @repeatable
    def hourly(self, tenant_id: str, window: Window, run_id: str, binned: Sequence[str] = ()) -> RollupResult:
        """Bring the hours that a window touches up to date with the samples: those of tables in one transaction.

        Hours whose samples retention has taken are left as they are.

        Parameters
        ----------
        binned : sequence of str
            Metrics whose samples are counted in bins besides, for their quantiles.
        """
        return self._rebuild(tenant_id, "hourly", _widened(window, HOUR), run_id, binned)

    @repeatable
    def daily(self, tenant_id: str, window: Window, run_id: str, binned: Sequence[str] = ()) -> RollupResult:
        """Bring the days that a window touches up to date with the hours: those of tables in one transaction.

        Days of which retention has taken an hour are left as they are.
        """
        return self._rebuild(tenant_id, "daily", _widened(window, DAY), run_id, binned)

    def _rebuild(
        self, tenant_id: str, level: Level, window: Window, run_id: str, binned: Sequence[str]
    ) -> RollupResult:
        key = self._tenants.key(tenant_id)
        with self._database.transaction("find the edition") as cursor:
            backend = self._backend.of(cursor)
        backend.refresh(self._database, level, window.start, window.end)
        with self._database.transaction(f"compute {level} aggregates") as cursor:
            kept = _kept(cursor, key, level, window)
            scope = {"tenant_key": key, "start": kept.start, "end": kept.end}
            result = _added_up(cursor, backend, level, scope)
            cursor.execute(QUERIES[f"delete_bins_{level}"], scope)
            if binned:
                cursor.execute(QUERIES[f"insert_bins_{level}"], scope | {"metrics": list(binned)})
            detail = {"series": result.series, "raw_rows": result.raw_rows}
            book(cursor, key, f"metrics_{level}", window, run_id=run_id, rows=result.rows, detail=detail)
        return result


def _added_up(cursor: Cursor, backend: Backend, level: Level, scope: dict[str, object]) -> RollupResult:
    """Compute the buckets of a tenant, or count what the server has computed."""
    if backend.computes_aggregates:
        cursor.execute(QUERIES[f"delete_{level}"], scope)
        cursor.execute(QUERIES[f"insert_{level}"], scope)
    else:
        backend.add_up(cursor, level, scope)
        cursor.execute(QUERIES[f"count_{level}"], scope)
    row = cursor.fetchone()
    assert row is not None
    return RollupResult(*row)


def _widened(window: Window, width: timedelta) -> Window:
    """Return the smallest span of whole buckets that holds the window."""
    origin = datetime(2000, 1, 1, tzinfo=UTC)
    start = window.start - (window.start - origin) % width
    end = window.end + (origin - window.end) % width
    return Window(start, end)


def _kept(cursor: Cursor, tenant_key: int, level: Level, window: Window) -> Window:
    """Return the part of the window that retention has not taken; empty if it took all."""
    cursor.execute(QUERIES["lock"], {"tenant_key": tenant_key})
    row = cursor.execute(QUERIES["horizons"], {"tenant_key": tenant_key}).fetchone()
    assert row is not None
    horizon = row[0] if level == "hourly" else row[1]
    return window if horizon is None else Window(max(window.start, horizon), max(window.end, horizon))
