"""Health reports."""

from collections.abc import Sequence

from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.documents import (
    reason_documents,
    reasons_from,
    recommendation_documents,
    recommendations_from,
)
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import HealthReport, Window

QUERIES = load_queries("health")


class HealthTable:
    """``core.health``."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    @repeatable
    def write(self, tenant_id: str, reports: Sequence[HealthReport]) -> None:
        """Write reports; one for the same host and time is replaced."""
        key = self._tenants.key(tenant_id)
        with self._database.transaction("write health") as cursor:
            cursor.executemany(QUERIES["upsert"], [_row(key, report) for report in reports])

    @repeatable
    def latest(self, tenant_id: str) -> list[HealthReport]:
        """Return the newest report of each host, by host."""
        wanted = {"tenant_key": self._tenants.key(tenant_id)}
        with self._database.transaction("read health") as cursor:
            return [_report(row) for row in cursor.execute(QUERIES["latest"], wanted)]

    @repeatable
    def advised(self, tenant_id: str, window: Window) -> list[HealthReport]:
        """Return the reports of a window (start excluded) that give advice, by host and time."""
        wanted = {"tenant_key": self._tenants.key(tenant_id), "start": window.start, "end": window.end}
        with self._database.transaction("read advice") as cursor:
            return [_report(row) for row in cursor.execute(QUERIES["advised"], wanted)]


def _report(row: TupleRow) -> HealthReport:
    host, ts, score, reasons, recommendations = row
    return HealthReport(host, ts, score, reasons_from(reasons), recommendations_from(recommendations))


def _row(key: int, report: HealthReport) -> dict[str, object]:
    return {
        "tenant_key": key,
        "host": report.host,
        "ts": report.ts,
        "score": report.score,
        "reasons": Jsonb(reason_documents(report.reasons)),
        "recommendations": Jsonb(recommendation_documents(report.recommendations)),
    }
