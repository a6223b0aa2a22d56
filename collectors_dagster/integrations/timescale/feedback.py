"""What people said about incidents."""

from collections.abc import Iterable
from datetime import datetime

from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from collectors_dagster.errors import IncidentNotFoundError
from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.documents import contribution_documents, contributions_from
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import Contribution, Feedback, Verdict, Window

QUERIES = load_queries("feedback")


class FeedbackTable:
    """``core.feedback``: one verdict per host and beginning of an incident, the last word counts."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    @repeatable
    def say(
        self, tenant_id: str, incident_id: int, verdict: Verdict, *, reason: str, said_by: str, said_at: datetime
    ) -> Feedback:
        """Write what a person says about an incident of this tenant.

        It is about all that was strange in the incident's minutes, not only about how the incident began. An incident
        that is open is judged up to now.

        Raises
        ------
        IncidentNotFoundError
            If the tenant has no such incident; another tenant's is none of its.
        """
        key = self._tenants.key(tenant_id)
        with self._database.transaction("write a verdict") as cursor:
            found = _found(cursor, key, tenant_id, incident_id, said_at)
            host, opened_at, ended_at, title, contributions, version = found
            span = {"tenant_key": key, "host": host, "opened_at": opened_at, "ended_at": ended_at}
            minutes = [documents for (documents,) in cursor.execute(QUERIES["explained"], span)]
            strange = [part for documents in (contributions, *minutes) for part in contributions_from(documents)]
            row = {
                **span,
                "verdict": verdict.value,
                "reason": reason,
                "said_by": said_by,
                "said_at": said_at,
                "title": title,
                "contributions": Jsonb(contribution_documents(_farthest(strange))),
                "model_version": version,
            }
            cursor.execute(QUERIES["say"], row)
            written = cursor.execute(QUERIES["list"], {"tenant_key": key, "start": opened_at, "end": opened_at})
            return next(one for one in map(_feedback, written) if (one.host, one.opened_at) == (host, opened_at))

    @repeatable
    def forget(self, tenant_id: str, incident_id: int) -> None:
        """Take a verdict back; there need not be one.

        Raises
        ------
        IncidentNotFoundError
            As :meth:`say`.
        """
        key = self._tenants.key(tenant_id)
        with self._database.transaction("take a verdict back") as cursor:
            host, opened_at, *_ = _found(cursor, key, tenant_id, incident_id)
            cursor.execute(QUERIES["forget"], {"tenant_key": key, "host": host, "opened_at": opened_at})

    @repeatable
    def list(self, tenant_id: str, window: Window | None = None) -> list[Feedback]:
        """Return the verdicts on incidents that overlap a window (all of them without one), by their beginning."""
        key = self._tenants.key(tenant_id)
        span = {"start": window.start if window else None, "end": window.end if window else None}
        with self._database.transaction("read verdicts") as cursor:
            return [_feedback(row) for row in cursor.execute(QUERIES["list"], {"tenant_key": key, **span})]


def _found(cursor: Cursor, key: int, tenant_id: str, incident_id: int, now: datetime | None = None) -> TupleRow:
    asked = {"tenant_key": key, "incident_id": incident_id, "now": now}
    row = cursor.execute(QUERIES["find"], asked).fetchone()
    if row is None:
        raise IncidentNotFoundError(
            f"tenant {tenant_id!r} has no incident {incident_id}: `collectors incident list --tenant {tenant_id}` "
            "shows those it has"
        )
    return row


def _farthest(parts: Iterable[Contribution]) -> list[Contribution]:
    """Return, per signal, the contribution that lies farthest from its expected range; in the order of the first."""
    farthest: dict[str, Contribution] = {}
    for part in parts:
        if part.signal not in farthest or _distance(part) > _distance(farthest[part.signal]):
            farthest[part.signal] = part
    return list(farthest.values())


def _distance(part: Contribution) -> float:
    return max(part.value - part.expected_high, part.expected_low - part.value, 0.0)


def _feedback(row: TupleRow) -> Feedback:
    host, opened_at, ended_at, verdict, reason, said_by, said_at, title, contributions, version = row
    return Feedback(
        host=host,
        opened_at=opened_at,
        ended_at=ended_at,
        verdict=Verdict(verdict),
        reason=reason,
        said_by=said_by,
        said_at=said_at,
        title=title,
        contributions=contributions_from(contributions),
        model_version=version,
    )
