"""Incidents and their events: what changes together is written together."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from collectors_dagster.errors import TenantIsolationError
from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.documents import (
    contribution_documents,
    contributions_from,
    incident_document,
    incident_from,
)
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import Incident, IncidentEvent, IncidentEventKind, Severity, Window

QUERIES = load_queries("incidents")

ANY: dict[str, object] = {"tenant_key": None, "source": None, "only_open": False, "start": None, "end": None}

Change = tuple[IncidentEventKind, Incident]


class IncidentTable:
    """``core.incident`` and ``core.incident_event``."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    def apply(self, tenant_id: str, changes: Sequence[Change]) -> list[Incident]:
        """Write changes and their events in one transaction.

        A change that is already so (opening where the host has an open incident, resolving what is
        resolved) writes nothing and tells nobody: whoever repeats after a lost answer does no harm.

        Returns
        -------
        list of Incident
            One per change, with `id`; for an opening that found an open incident, that one.
        """
        key = self._tenants.key(tenant_id)
        with self._database.transaction("write incidents") as cursor:
            cursor.execute(QUERIES["lock"])
            return [_applied(cursor, key, tenant_id, kind, incident) for kind, incident in changes]

    @repeatable
    def open(self, tenant_id: str | None = None, source: str = "stream") -> list[Incident]:
        """Return incidents that are not resolved, of one tenant or of all."""
        key = None if tenant_id is None else self._tenants.key(tenant_id)
        with self._database.transaction("list open incidents") as cursor:
            return _listed(cursor, {**ANY, "tenant_key": key, "source": source, "only_open": True})

    @repeatable
    def events_after(self, event_id: int, limit: int) -> list[IncidentEvent]:
        """Return the events after a cursor, oldest first; a cursor that follows them misses none."""
        with self._database.transaction("read incident events") as cursor:
            rows = cursor.execute(QUERIES["events_after"], {"event_id": event_id, "limit": limit})
            return [event_from(*row) for row in rows]

    @repeatable
    def replace_batch(self, tenant_id: str, window: Window, incidents: Sequence[Incident]) -> None:
        """Make the batch's incidents that began in a window be exactly these. Nobody is told."""
        key = self._tenants.key(tenant_id)
        with self._database.transaction("replace incidents") as cursor:
            cursor.execute(QUERIES["delete_batch"], {"tenant_key": key, "start": window.start, "end": window.end})
            for incident in incidents:
                cursor.execute(QUERIES["open"], _row(key, tenant_id, replace(incident, source="batch")))

    @repeatable
    def list(self, tenant_id: str, window: Window, source: str | None = None) -> list[Incident]:
        """Return incidents that overlap a window, by their beginning; of both sources unless told."""
        key = self._tenants.key(tenant_id)
        wanted = {**ANY, "tenant_key": key, "source": source, "start": window.start, "end": window.end}
        with self._database.transaction("list incidents") as cursor:
            return _listed(cursor, wanted)


def event_from(event_id: int, kind: str, at: datetime, snapshot: dict[str, Any]) -> IncidentEvent:
    """Return an event from its columns."""
    return IncidentEvent(event_id, IncidentEventKind(kind), at, incident_from(snapshot))


def _listed(cursor: Cursor, wanted: dict[str, object]) -> list[Incident]:
    return [_incident(row) for row in cursor.execute(QUERIES["list"], wanted)]


def _incident(row: TupleRow) -> Incident:
    incident_id, tenant_id, host, opened_at, updated_at, resolved_at, severity, *rest = row
    peak_score, title, contributions, model_version, source = rest
    return Incident(
        id=incident_id,
        tenant_id=tenant_id,
        host=host,
        opened_at=opened_at,
        updated_at=updated_at,
        resolved_at=resolved_at,
        severity=Severity(severity),
        peak_score=peak_score,
        title=title,
        contributions=contributions_from(contributions),
        model_version=model_version,
        source=source,
    )


def _applied(cursor: Cursor, key: int, tenant_id: str, kind: IncidentEventKind, incident: Incident) -> Incident:
    statement = QUERIES["open" if kind is IncidentEventKind.OPENED else "change"]
    row = cursor.execute(statement, _row(key, tenant_id, incident)).fetchone()
    if row is None:
        return _standing(cursor, key, kind, incident)
    stored = replace(incident, id=row[0])
    event = {
        "incident_id": stored.id,
        "kind": kind.value,
        "at": stored.resolved_at or stored.updated_at,
        "snapshot": Jsonb(incident_document(stored)),
    }
    cursor.execute(QUERIES["add_event"], event)
    return stored


def _standing(cursor: Cursor, key: int, kind: IncidentEventKind, incident: Incident) -> Incident:
    """Return what stands in the place of a change that was already so."""
    if kind is not IncidentEventKind.OPENED:
        return incident
    wanted = {**ANY, "tenant_key": key, "source": incident.source, "only_open": True}
    return next(one for one in _listed(cursor, wanted) if one.host == incident.host)


def _row(key: int, tenant_id: str, incident: Incident) -> dict[str, object]:
    if incident.tenant_id != tenant_id:
        raise TenantIsolationError(f"an incident of tenant {incident.tenant_id!r} was written as {tenant_id!r}'s")
    return {
        "tenant_key": key,
        "incident_id": incident.id,
        "host": incident.host,
        "source": incident.source,
        "opened_at": incident.opened_at,
        "updated_at": incident.updated_at,
        "resolved_at": incident.resolved_at,
        "severity": incident.severity.value,
        "peak_score": float(incident.peak_score),
        "title": incident.title,
        "contributions": Jsonb(contribution_documents(incident.contributions)),
        "model_version": incident.model_version,
    }
