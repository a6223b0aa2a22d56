"""The ledger of alerts: one row per event and target, so that none is sent twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.incidents import event_from
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.records import IncidentEvent

QUERIES = load_queries("alerts")


@dataclass(frozen=True, slots=True)
class PendingAlert:
    """An alert that is to be sent: never tried (no attempts), or tried and not delivered."""

    event: IncidentEvent
    target: str
    attempts: int
    tried_at: datetime
    last_error: str | None


class AlertLedger:
    """``core.alert``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @repeatable
    def enqueue(self, alerts: Sequence[tuple[int, str]]) -> None:
        """Note alerts (event and target) that are to be sent; what is known already stays as it is.

        Whoever has noted them may forget them: :meth:`pending` returns them until they are delivered.
        """
        rows = {"event_ids": [event_id for event_id, _ in alerts], "targets": [target for _, target in alerts]}
        with self._database.transaction("note alerts") as cursor:
            cursor.execute(QUERIES["enqueue"], rows)

    def claim(self, event_id: int, target: str) -> bool:
        """Say whether the caller may send this alert now.

        True for a new alert, one that failed, or one that was claimed over a minute ago by a sender
        that never finished. Of several callers at once, one gets True.
        """
        with self._database.transaction("claim an alert") as cursor:
            row = cursor.execute(QUERIES["claim"], {"event_id": event_id, "target": target}).fetchone()
        return row is not None

    def finish(self, event_id: int, target: str, error: str | None) -> None:
        """Book the end of a sending: delivered, or failed with a reason that holds no secret."""
        with self._database.transaction("book an alert") as cursor:
            cursor.execute(QUERIES["finish"], {"event_id": event_id, "target": target, "error": error})

    @repeatable
    def delivered_at(self, event_id: int) -> datetime | None:
        """Return when the first target was told of an event, or None."""
        with self._database.transaction("look up an alert") as cursor:
            row = cursor.execute(QUERIES["delivered_at"], {"event_id": event_id}).fetchone()
        return row[0] if row else None

    @repeatable
    def pending(self, limit: int, *, since: datetime) -> list[PendingAlert]:
        """Return alerts about events after `since` that can be claimed again, oldest first."""
        wanted = {"limit": limit, "since": since}
        with self._database.transaction("list pending alerts") as cursor:
            return [
                PendingAlert(event_from(*event), target, attempts, tried_at, error)
                for target, attempts, tried_at, error, *event in cursor.execute(QUERIES["pending"], wanted)
            ]
