"""The truth behind synthetic histories, for comparison with what was detected."""

from collections.abc import Sequence
from datetime import datetime

from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import PlantedIncident, Window

QUERIES = load_queries("planted")


class PlantedTable:
    """``core.planted_incident``."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    @repeatable
    def write(self, tenant_id: str, window: Window, planted: Sequence[PlantedIncident]) -> None:
        """Make what was planted in a window (by its beginning) be exactly this."""
        key = self._tenants.key(tenant_id)
        with self._database.transaction("write planted incidents") as cursor:
            cursor.execute(QUERIES["delete_window"], {"tenant_key": key, "start": window.start, "end": window.end})
            cursor.executemany(QUERIES["insert"], [_row(key, one) for one in planted])

    @repeatable
    def read(self, tenant_id: str, window: Window) -> list[PlantedIncident]:
        """Return what was planted and overlaps a window, by time."""
        wanted = {"tenant_key": self._tenants.key(tenant_id), "start": window.start, "end": window.end}
        with self._database.transaction("read planted incidents") as cursor:
            return [_planted(*row) for row in cursor.execute(QUERIES["read"], wanted)]


def _row(key: int, one: PlantedIncident) -> dict[str, object]:
    return {
        "tenant_key": key,
        "host": one.host,
        "started_at": one.started_at,
        "ended_at": one.ended_at,
        "kind": one.kind,
        "signals": list(one.signals),
    }


def _planted(host: str, started_at: datetime, ended_at: datetime, kind: str, signals: list[str]) -> PlantedIncident:
    return PlantedIncident(host, started_at, ended_at, kind, tuple(signals))
