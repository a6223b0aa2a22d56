"""Failed runs and other notices, and the ledger of telling tenants about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import NoticeKind, RunFailure

QUERIES = load_queries("failures")
QUIET = timedelta(hours=1)
"""The same thing failing again for a tenant within this time is not told again."""
_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class PendingFailure:
    """An alert about a failure that is to be sent: never tried (no attempts), or tried and not delivered."""

    failure_id: int
    failure: RunFailure
    target: str
    attempts: int
    tried_at: datetime
    last_error: str | None


class FailureLedger:
    """``core.failure`` and ``core.failure_alert``."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    def record(self, failure: RunFailure, targets: Sequence[str]) -> int | None:
        """Record a failure and the alerts to send; return its id, or None if there is nothing new to tell.

        Nothing is new about a failure of the same key, nor about the same thing failing again within an hour.
        Records older than 30 days are forgotten on the way.
        """
        key = self._tenants.key(failure.tenant_id)
        with self._database.transaction("record a failure") as cursor:
            cursor.execute(QUERIES["lock"], {"tenant_key": key})
            cursor.execute(QUERIES["forget"], {"before": failure.at - _KEPT})
            row = cursor.execute(QUERIES["record"], _row(key, failure)).fetchone()
            if row is None:
                return None
            cursor.execute(QUERIES["enqueue"], {"failure_id": row[0], "targets": list(targets)})
            return int(row[0])

    def claim(self, failure_id: int, target: str) -> bool:
        """Say whether the caller may send this alert now; as :meth:`AlertLedger.claim` does."""
        with self._database.transaction("claim an alert") as cursor:
            row = cursor.execute(QUERIES["claim"], {"failure_id": failure_id, "target": target}).fetchone()
        return row is not None

    def finish(self, failure_id: int, target: str, error: str | None) -> None:
        """Book the end of a sending: delivered, or failed with a reason that holds no secret."""
        with self._database.transaction("book an alert") as cursor:
            cursor.execute(QUERIES["finish"], {"failure_id": failure_id, "target": target, "error": error})

    @repeatable
    def pending(self, limit: int, *, since: datetime) -> list[PendingFailure]:
        """Return alerts about failures after `since` that can be claimed again, oldest first."""
        wanted = {"limit": limit, "since": since}
        with self._database.transaction("list pending alerts") as cursor:
            return [
                PendingFailure(row[4], RunFailure(*(*row[5:12], NoticeKind(row[12]))), *row[:4])
                for row in cursor.execute(QUERIES["pending"], wanted)
            ]


def _row(key: int, failure: RunFailure) -> dict[str, object]:
    return {
        "tenant_key": key,
        "key": failure.key,
        "run_id": failure.run_id,
        "what": failure.what,
        "error": failure.error,
        "url": failure.url,
        "at": failure.at,
        "quiet": QUIET,
        "kind": failure.kind.value,
    }
