"""Retention: what is old enough is forgotten, on purpose and on record."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from collectors_dagster.integrations.timescale.backend import FoundBackend
from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.tenants import TenantTable

QUERIES = load_queries("retention")

DERIVED_DAYS = 30
"""Features, scores, forecasts, health and details are kept as long as samples, and at least so long."""
DERIVED = ("features", "scores", "forecasts", "health", "details")
BOOKS = ("bins", "incidents", "feedback", "planted", "deliveries", "clock_events", "refusals", "ledger")
"""Kept as long as hourly aggregates."""
AGENTS = ("agents", "cursors")
AGENT_DAYS = 30
"""Agents that were not seen for longer are forgotten."""


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What was forgotten.

    Attributes
    ----------
    rows_deleted : int
        Rows of all tables, those of dropped partitions included.
    partitions_dropped : int
        Days of samples that no tenant needed any more.
    bytes_before, bytes_after : int
        Size of all tables. Deleted rows free their space for new rows; dropped partitions free it at once.
    """

    rows_deleted: int
    partitions_dropped: int
    bytes_before: int
    bytes_after: int


class RetentionPolicy:
    """Old rows of all tables of one tenant."""

    def __init__(self, database: Database, tenants: TenantTable, backend: FoundBackend) -> None:
        self._database = database
        self._tenants = tenants
        self._backend = backend

    def apply(
        self,
        tenant_id: str,
        raw_days: int,
        hourly_days: int,
        now: datetime,
        *,
        agent_days: int = AGENT_DAYS,
    ) -> RetentionReport:
        """Forget a tenant's data beyond their age, in one transaction; doing it again does nothing.

        Parameters
        ----------
        raw_days : int
            Full UTC days of samples to keep before today.
        hourly_days : int
            The same for hourly aggregates, incidents and books. Daily aggregates are kept for good.
        agent_days : int
            Agents that were not seen for so long are forgotten, with how far they had delivered to this tenant.
        """
        key = self._tenants.key(tenant_id)
        before = self._size()
        with self._database.transaction("apply retention") as cursor:
            raw_from, hourly_from = _day_before(now, raw_days), _day_before(now, hourly_days)
            horizons = {"tenant_key": key, "raw_from": raw_from, "hourly_from": hourly_from}
            cursor.execute(QUERIES["set_horizons"], horizons)
            backend = self._backend.of(cursor)
            rows, partitions = backend.drop_raw(cursor, key, raw_from)
            rows += backend.drop_hourly(cursor, key, hourly_from)
            rows += _pruned(cursor, DERIVED, key, _day_before(now, max(raw_days, DERIVED_DAYS)))
            rows += _pruned(cursor, BOOKS, key, hourly_from)
            rows += _pruned(cursor, AGENTS, key, _day_before(now, agent_days))
        return RetentionReport(rows, partitions, before, self._size())

    def _size(self) -> int:
        with self._database.transaction("measure the tables") as cursor:
            return self._backend.of(cursor).size(cursor)


def _day_before(now: datetime, days: int) -> datetime:
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days)


def _pruned(cursor: Cursor, tables: tuple[str, ...], tenant_key: int, before: datetime) -> int:
    rows = 0
    for table in tables:
        cursor.execute(QUERIES[f"prune_{table}"], {"tenant_key": tenant_key, "before": before})
        rows += cursor.rowcount
    return rows
