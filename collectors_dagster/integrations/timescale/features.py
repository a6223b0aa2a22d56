"""The feature table: one row per minute and host, versioned."""

from collections.abc import Sequence

import numpy as np

from collectors_dagster.frames import FeatureFrame
from collectors_dagster.integrations.timescale.database import Database
from collectors_dagster.integrations.timescale.ledger import book
from collectors_dagster.integrations.timescale.packing import (
    HEADER,
    TRAILER,
    Column,
    array_type,
    copy_rows,
    float_arrays,
    microseconds,
    seconds_axis,
)
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.repeating import repeatable
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import Window

QUERIES = load_queries("features")
DATASET = "feature_table"


class FeatureTable:
    """``core.feature`` and ``core.feature_set``."""

    def __init__(self, database: Database, tenants: TenantTable) -> None:
        self._database = database
        self._tenants = tenants

    @repeatable
    def write(self, tenant_id: str, window: Window, frames: Sequence[FeatureFrame], run_id: str) -> int:
        """Make a tenant's features of a window (start excluded, end included) be exactly these.

        Returns
        -------
        int
            Rows written.
        """
        key = self._tenants.key(tenant_id)
        rows = sum(len(frame.ts) for frame in frames)
        scope = {"tenant_key": key, "start": window.start, "end": window.end}
        with self._database.transaction("write features") as cursor:
            cursor.execute(QUERIES["lock"], scope)
            for frame in frames:
                cursor.execute(QUERIES["add_set"], {"version": frame.version, "columns": list(frame.columns)})
            cursor.execute(QUERIES["delete_window"], scope)
            with cursor.copy(QUERIES["copy"]) as copy:
                copy.write(HEADER + b"".join(_payload(key, frame) for frame in frames) + TRAILER)
            book(cursor, key, DATASET, window, run_id=run_id, rows=rows)
        return rows

    @repeatable
    def read(
        self, tenant_id: str, window: Window, hosts: Sequence[str] | None = None, *, version: str
    ) -> list[FeatureFrame]:
        """Return a window's rows of one version, a frame per host; rows of other versions are skipped."""
        wanted = {
            "tenant_key": self._tenants.key(tenant_id),
            "start": window.start,
            "end": window.end,
            "hosts": None if hosts is None else list(hosts),
            "version": version,
        }
        with self._database.transaction("read features") as cursor:
            return [_frame(version, *row) for row in cursor.execute(QUERIES["read"], wanted)]


def _payload(tenant_key: int, frame: FeatureFrame) -> bytes:
    host, version = frame.host.encode(), frame.version.encode()
    columns: list[Column] = [
        (">i4", tenant_key),
        (f"S{len(host)}", host),
        (">i8", microseconds(frame.ts)),
        (f"S{len(version)}", version),
        float_arrays(frame.values),
    ]
    return copy_rows(columns, len(frame.ts))


def _frame(version: str, host: str, columns: list[str], content: bytes) -> FeatureFrame:
    row = np.dtype([("ts", ">i8"), ("values", array_type(len(columns)))])
    rows = np.frombuffer(content, dtype=row)
    return FeatureFrame(
        host=host,
        version=version,
        ts=seconds_axis(rows["ts"]),
        columns=tuple(columns),
        values=rows["values"]["items"]["value"].astype(np.float64),
    )
