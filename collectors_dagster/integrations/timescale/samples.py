"""Samples in bulk: a window written exactly, and who delivered when. What they say is read by `reading`.

A sample's time is the end of its interval, so a window holds the samples after its start up to and
including its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from collectors_dagster.errors import ConstraintViolatedError
from collectors_dagster.frames import Floats, Times
from collectors_dagster.integrations.timescale.backend import FoundBackend
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.ledger import book
from collectors_dagster.integrations.timescale.packing import (
    HEADER,
    TRAILER,
    Column,
    as_datetime64,
    copy_rows,
    days_of,
    microseconds,
)
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.series import LARGEST_VALUE, SeriesTable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import Window
from collectors_dagster.samples import SeriesKey

QUERIES = load_queries("samples")

Integers = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """A load's size and the checksum of its sorted rows; the same data give the same checksum."""

    rows: int
    sha256: str


class SampleTable:
    """``core.sample``."""

    def __init__(
        self,
        database: Database,
        tenants: TenantTable,
        series: SeriesTable,
        backend: FoundBackend,
    ) -> None:
        self._database = database
        self._tenants = tenants
        self._series = series
        self._backend = backend

    def write_window(
        self,
        tenant_id: str,
        dataset: str,
        window: Window,
        *,
        series: Sequence[SeriesKey],
        index: Integers,
        ts: Times,
        values: Floats,
        run_id: str,
    ) -> LoadResult:
        """Make a window of some sources be exactly this, in one transaction with its ledger row.

        Whatever the window held of the same sources (host and collector of `series`) is replaced.

        Parameters
        ----------
        dataset : str
            The ledger's name for this load.
        series : sequence of SeriesKey
        index : shape (n,)
            Position in `series` of each value.
        ts : shape (n,), datetime64
            Ends of the intervals, after the window's start, up to its end.
        values : shape (n,)
            NaN means "not measured" and is left out.
        run_id : str
            Who wrote it.

        Raises
        ------
        ConstraintViolatedError
            If a time lies outside of the window, a value is beyond 1e100 in magnitude, or a series has two
            values at one time.
        """
        tenant_key = self._tenants.key(tenant_id)
        kept = ~np.isnan(values)
        index, ts, values = index[kept], ts[kept], values[kept]
        _refuse_outsiders(window, ts, values)
        keys = np.asarray(self._series.ids(tenant_key, series), dtype=np.int64)
        payload = _payload(tenant_key, keys[index], ts, values)
        result = LoadResult(len(values), sha256(payload).hexdigest())
        with self._database.transaction("write samples") as cursor:
            cursor.execute(QUERIES["lock"], {"dataset": dataset, "tenant_key": tenant_key})
            self._backend.before_write(cursor, days_of(ts))
            cursor.execute(QUERIES["delete_window"], _sources(tenant_key, window, series))
            with cursor.copy(QUERIES["copy"]) as copy:
                copy.write(HEADER + payload + TRAILER)
            book(cursor, tenant_key, dataset, window, run_id=run_id, rows=result.rows, sha256=result.sha256)
        return result

    def hosts(self, tenant_id: str, window: Window) -> list[str]:
        """Return the hosts with samples in a window, sorted."""
        with self._database.transaction("list hosts") as cursor:
            return [row[0] for row in cursor.execute(QUERIES["hosts"], self._scope(tenant_id, window))]

    def latest(self, tenant_id: str) -> dict[str, datetime]:
        """Return the time of the newest sample of each host."""
        wanted = {"tenant_key": self._tenants.key(tenant_id)}
        with self._database.transaction("find the newest samples") as cursor:
            return dict(cursor.execute(QUERIES["latest"], wanted).fetchall())

    def newest(self, tenant_id: str, metrics: Sequence[str], since: datetime) -> dict[str, datetime]:
        """Return the time of the newest sample of each host that delivered one of `metrics` after `since`."""
        wanted = {"tenant_key": self._tenants.key(tenant_id), "metrics": list(metrics), "since": since}
        with self._database.transaction("find live hosts") as cursor:
            return dict(cursor.execute(QUERIES["newest"], wanted).fetchall())

    def span(self, tenant_id: str) -> Window | None:
        """Return the times of a tenant's first and last sample, or None if it has none."""
        wanted = {"tenant_key": self._tenants.key(tenant_id)}
        with self._database.transaction("find the span of the samples") as cursor:
            row = cursor.execute(QUERIES["span"], wanted).fetchone()
        return None if row is None or row[0] is None else Window(row[0], row[1])

    def _scope(self, tenant_id: str, window: Window) -> dict[str, object]:
        return {"tenant_key": self._tenants.key(tenant_id), "start": window.start, "end": window.end}


def _refuse_outsiders(window: Window, ts: Times, values: Floats) -> None:
    if (np.abs(values) > LARGEST_VALUE).any():
        raise ConstraintViolatedError(f"a sample's magnitude is above {LARGEST_VALUE:g}")
    inside = (ts > as_datetime64(window.start)) & (ts <= as_datetime64(window.end))
    if not inside.all():
        first = ts[~inside][0]
        raise ConstraintViolatedError(
            f"the sample at {first} lies outside of the window: times name the ends of intervals, after "
            f"{window.start.isoformat()} up to {window.end.isoformat()}"
        )


def _payload(tenant_key: int, series_ids: NDArray[np.int64], ts: Times, values: Floats) -> bytes:
    """Return the rows sorted by series and time, as the unique index wants them."""
    stamps = microseconds(ts)
    order = np.lexsort((stamps, series_ids))
    columns: list[Column] = [
        (">i4", tenant_key),
        (">i4", series_ids[order]),
        (">i8", stamps[order]),
        (">f8", values[order]),
    ]
    return copy_rows(columns, len(values))


def _sources(tenant_key: int, window: Window, series: Sequence[SeriesKey]) -> dict[str, object]:
    sources = sorted({(one.host, one.collector) for one in series})
    return {
        "tenant_key": tenant_key,
        "start": window.start,
        "end": window.end,
        "hosts": [host for host, _ in sources],
        "collectors": [collector for _, collector in sources],
    }
