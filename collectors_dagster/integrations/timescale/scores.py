"""Scored minutes, of the stream and of the batch."""

import json
from collections.abc import Sequence

from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.documents import contribution_documents, contributions_from
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import ModelState, ScoredMinute, Window

QUERIES = load_queries("scores")
SPREAD_BINS = 20


class ScoreTable:
    """``core.score``; `source` is ``stream`` or ``batch``."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    @repeatable
    def write(self, tenant_id: str, source: str, minutes: Sequence[ScoredMinute]) -> int:
        """Write minutes, replacing those that are there; return how many."""
        key = self._tenants.key(tenant_id)
        with self._database.transaction("write scores") as cursor:
            cursor.execute(QUERIES["upsert"], _columns(key, source, minutes))
            return cursor.rowcount

    @repeatable
    def replace(self, tenant_id: str, source: str, window: Window, minutes: Sequence[ScoredMinute]) -> int:
        """Make the scores of a window (start excluded, end included) be exactly these; return how many."""
        key = self._tenants.key(tenant_id)
        scope = {"tenant_key": key, "source": source, "start": window.start, "end": window.end}
        with self._database.transaction("replace scores") as cursor:
            cursor.execute(QUERIES["delete_window"], scope)
            cursor.execute(QUERIES["upsert"], _columns(key, source, minutes))
            return cursor.rowcount

    @repeatable
    def spread(self, tenant_id: str, source: str, window: Window) -> dict[str, list[int]]:
        """Return, by host, how many minutes of a window (start excluded) lie in each twentieth of the scale."""
        key = self._tenants.key(tenant_id)
        scope = {"tenant_key": key, "source": source, "start": window.start, "end": window.end}
        found: dict[str, list[int]] = {}
        with self._database.transaction("count scores") as cursor:
            for host, place, minutes in cursor.execute(QUERIES["spread"], scope):
                found.setdefault(host, [0] * SPREAD_BINS)[place - 1] = minutes
        return found

    @repeatable
    def read(self, tenant_id: str, source: str, window: Window, host: str | None = None) -> list[ScoredMinute]:
        """Return the scores of a window (start excluded, end included), by host and time."""
        wanted = {
            "tenant_key": self._tenants.key(tenant_id),
            "source": source,
            "start": window.start,
            "end": window.end,
            "host": host,
        }
        with self._database.transaction("read scores") as cursor:
            return [
                ScoredMinute(host, ts, score, ModelState(state), version, contributions_from(contributions))
                for host, ts, score, state, version, contributions in cursor.execute(QUERIES["read"], wanted)
            ]


def _columns(tenant_key: int, source: str, given: Sequence[ScoredMinute]) -> dict[str, object]:
    minutes = list({(minute.host, minute.ts): minute for minute in given}.values())
    return {
        "tenant_key": tenant_key,
        "source": source,
        "hosts": [minute.host for minute in minutes],
        "ts": [minute.ts for minute in minutes],
        "scores": [float(minute.score) for minute in minutes],
        "states": [minute.state.value for minute in minutes],
        "model_versions": [minute.model_version for minute in minutes],
        "contributions": [json.dumps(contribution_documents(minute.contributions)) for minute in minutes],
    }
