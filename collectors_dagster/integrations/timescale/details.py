"""The full resolution of chosen windows, beside the samples: written once per series and minute. Imports no numpy.

``core.sample`` holds one value per tenant's interval, and aggregates, features and the books of deliveries count on
that; finer values among them would count more than their share. So they have a table of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collectors_dagster.integrations.timescale.connection import Cursor, Transactions
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.series import LARGEST_VALUE, SeriesTable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.samples import Sample, SeriesKey

QUERIES = load_queries("details")

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DueWindow:
    """An incident whose surroundings are not delivered yet.

    Attributes
    ----------
    shipped_until : datetime or None
        How far they are; None if nothing was delivered.
    """

    incident_id: int
    tenant_id: str
    opened_at: datetime
    resolved_at: datetime | None
    shipped_until: datetime | None


@dataclass(frozen=True, slots=True)
class DetailBatch:
    """Whole minutes of one tenant's series.

    Attributes
    ----------
    samples : sequence of Sample
        A minute holds the samples after its start, up to and including its end.
    incident_id : int or None
        Whose window this is a piece of; None for what somebody asked for.
    until : datetime
        The window is delivered up to here, a whole minute.
    complete : bool
        This is the last piece.
    """

    agent_id: str
    tenant_id: str
    samples: Sequence[Sample]
    until: datetime
    incident_id: int | None = None
    complete: bool = False


class DetailTable:
    """``core.sample_detail`` and ``core.detail_window``."""

    def __init__(self, database: Transactions, tenants: TenantTable, series: SeriesTable) -> None:
        self._database = database
        self._tenants = tenants
        self._series = series

    def due(
        self, agent_id: str, host: str, tenant_ids: Sequence[str], since: datetime, limit: int = 200
    ) -> list[DueWindow]:
        """Return the host's stream incidents opened after `since` that this agent still owes something for."""
        wanted = {
            "agent_id": agent_id,
            "host": host,
            "tenant_ids": list(tenant_ids),
            "since": since,
            "limit": limit,
        }
        with self._database.transaction("ask for incidents") as cursor:
            return [DueWindow(*row) for row in cursor.execute(QUERIES["due"], wanted)]

    def write(self, batch: DetailBatch) -> int:
        """Store a batch and how far its window is, in one transaction; return how many values are new.

        Sent again, it changes nothing. Values that are not storable (NaN, or beyond 1e100 in magnitude) are left out.
        """
        tenant_key = self._tenants.key(batch.tenant_id)
        minutes = _minutes(batch.samples)
        series_ids = self._series.ids(tenant_key, [series for series, _ in minutes])
        rows = [
            _row(tenant_key, series_id, minute, samples)
            for series_id, ((_, minute), samples) in zip(series_ids, minutes.items(), strict=True)
        ]
        window = {
            "tenant_key": tenant_key,
            "agent_id": batch.agent_id,
            "incident_id": batch.incident_id,
            "until": batch.until,
            "complete": batch.complete,
        }
        with self._database.transaction("deliver details") as cursor:
            if batch.incident_id is None:
                return _inserted(cursor, rows)
            known = cursor.execute(QUERIES["lock_window"], window).fetchone()
            if known is None or (known[0] and not batch.complete):
                return 0
            added = _inserted(cursor, rows)
            cursor.execute(QUERIES["move_window"], {**window, "added": added})
            return added


def minute_of(instant: datetime) -> datetime:
    """Return the start of the minute that a sample belongs to: its time is the end of its interval.

    Examples
    --------
    >>> minute_of(datetime(2026, 1, 1, 12, 1)).minute
    0
    """
    return (instant - _MICROSECOND).replace(second=0, microsecond=0)


def _minutes(samples: Sequence[Sample]) -> dict[tuple[SeriesKey, datetime], list[Sample]]:
    """Return the storable samples by series and minute."""
    found: dict[tuple[SeriesKey, datetime], list[Sample]] = {}
    for sample in samples:
        if abs(sample.value) <= LARGEST_VALUE:
            found.setdefault((sample.series, minute_of(sample.ts)), []).append(sample)
    return found


def _row(tenant_key: int, series_id: int, minute: datetime, samples: list[Sample]) -> dict[str, object]:
    return {
        "tenant_key": tenant_key,
        "series_id": series_id,
        "minute": minute,
        "offsets": [(sample.ts - minute) // _MICROSECOND for sample in samples],
        "values": [sample.value for sample in samples],
    }


def _inserted(cursor: Cursor, rows: list[dict[str, object]]) -> int:
    """Add the minutes that are not there; return how many values that are."""
    added = 0
    for row in rows:
        cursor.execute(QUERIES["insert_minute"], row)
        added += cursor.rowcount * len(row["values"])  # type: ignore[arg-type]  # a list, made above
    return added
