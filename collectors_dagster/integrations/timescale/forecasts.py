"""Forecasts as they were said."""

from collections.abc import Sequence

from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import ForecastPoint, Window

QUERIES = load_queries("forecasts")


class ForecastTable:
    """``core.forecast``."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    @repeatable
    def write(self, tenant_id: str, points: Sequence[ForecastPoint], model_version: str) -> int:
        """Write points, replacing those of the same issue; return how many."""
        unique = list({(point.host, point.signal, point.issued_at, point.ts): point for point in points}.values())
        row = {
            "tenant_key": self._tenants.key(tenant_id),
            "model_version": model_version,
            "hosts": [point.host for point in unique],
            "signals": [point.signal for point in unique],
            "issued_at": [point.issued_at for point in unique],
            "ts": [point.ts for point in unique],
            "mean": [float(point.mean) for point in unique],
            "low80": [float(point.low80) for point in unique],
            "high80": [float(point.high80) for point in unique],
            "low95": [float(point.low95) for point in unique],
            "high95": [float(point.high95) for point in unique],
        }
        with self._database.transaction("write forecasts") as cursor:
            cursor.execute(QUERIES["upsert"], row)
            return cursor.rowcount

    @repeatable
    def read(self, tenant_id: str, window: Window, host: str, signal: str) -> list[ForecastPoint]:
        """Return, for each instant of a window (start excluded, end included), what was said last."""
        wanted = {
            "tenant_key": self._tenants.key(tenant_id),
            "start": window.start,
            "end": window.end,
            "host": host,
            "signal": signal,
        }
        with self._database.transaction("read forecasts") as cursor:
            return [ForecastPoint(*row) for row in cursor.execute(QUERIES["read"], wanted)]
