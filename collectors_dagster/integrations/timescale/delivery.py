"""The agent's side of the store: batches of a spool, exactly once. Imports no numpy.

A batch's samples, its counts and the spool's cursor are one transaction. A batch that was committed
but never acknowledged is recognised by its numbers and ignored. Batches may come in any order: the cursor
knows the ranges that are delivered ahead of a backlog, and unites them when the backlog has caught up.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from collectors_dagster.errors import ConstraintViolatedError
from collectors_dagster.integrations.timescale.backend import FoundBackend
from collectors_dagster.integrations.timescale.connection import Cursor
from collectors_dagster.integrations.timescale.details import DetailTable
from collectors_dagster.integrations.timescale.lean import LeanDatabase
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.refusals import AGENT, Refusal, book_refusals, read_limits
from collectors_dagster.integrations.timescale.series import LARGEST_VALUE, KnownSeries, SeriesTable
from collectors_dagster.integrations.timescale.sorting_out import sorted_out
from collectors_dagster.integrations.timescale.tenants import TenantTable
from collectors_dagster.records import ClockEvent
from collectors_dagster.samples import Sample, SeriesKey
from collectors_dagster.security.sealing import Secret

QUERIES = load_queries("delivery")

SLICE_SAMPLES = 20_000
"""So many are sent to the database at once: a batch may be of any size, the text of its samples may not."""


@dataclass(frozen=True, slots=True)
class DeliveryNote:
    """What a batch says about one source and hour, beside its samples.

    Attributes
    ----------
    hour : datetime
        The hour's start, aware.
    intervals : int
        Resolution intervals of this source that the batch covers.
    gap_seconds : float
        Time within them in which nothing was read.
    bytes : int
        Size in the spool.
    """

    host: str
    collector: str
    hour: datetime
    intervals: int = 0
    gap_seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryBatch:
    """A piece of one spool for one tenant, from `first_seq` to `last_seq`, both included.

    Send what is not delivered yet: samples are never stored twice, but the notes of an overlapping batch
    are counted again.

    Attributes
    ----------
    clock_events : sequence of ClockEvent
        What happened to the host's clock on the way.
    settled_seq : int or None
        Everything up to here is delivered or not due to the tenant; ``None``: everything before `first_seq`.
        Lower than that if the batch goes ahead of a backlog.
    quarantined : sequence of Refusal
        What of these numbers is not in the batch, because the store refused it for good before.
    """

    agent_id: str
    epoch: str
    tenant_id: str
    first_seq: int
    last_seq: int
    samples: Sequence[Sample]
    notes: Sequence[DeliveryNote] = ()
    clock_events: Sequence[ClockEvent] = ()
    settled_seq: int | None = None
    quarantined: Sequence[Refusal] = ()


@dataclass(frozen=True, slots=True)
class Delivered:
    """How far a spool is delivered.

    Attributes
    ----------
    acked_seq : int
        Everything up to here.
    ahead : tuple of (int, int)
        And these ranges beyond it, ascending, both ends included: what lies between is a backlog.
    """

    acked_seq: int
    ahead: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What became of a batch.

    Attributes
    ----------
    applied : bool
        False if the batch was delivered before: nothing was changed.
    acked_seq : int
        Everything up to here is stored; the spool may forget it.
    rows, duplicates, refused : int
        Samples added, there already, and not storable: each :class:`Reason` is counted in the books.
    """

    applied: bool
    acked_seq: int
    rows: int = 0
    duplicates: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Count:
    samples: int = 0
    duplicates: int = 0
    late: int = 0
    intervals: int = 0
    gap_seconds: float = 0.0
    bytes: int = 0


_Source = tuple[str, str, datetime]


class DeliveryStore:
    """Where an agent delivers.

    Parameters
    ----------
    conninfo : Secret
        A libpq URL without a driver's name. Nothing connects before the first call.
    """

    def __init__(
        self,
        conninfo: Secret,
        *,
        application_name: str,
        max_connections: int = 2,
    ) -> None:
        self._database = LeanDatabase(conninfo, application_name=application_name, max_connections=max_connections)
        self._backend = FoundBackend()
        self._series = SeriesTable(self._database)
        self.tenants = TenantTable(self._database)
        self.details = DetailTable(self._database, self.tenants, self._series)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def deliver(self, batch: DeliveryBatch) -> DeliveryResult:
        """Store a batch, once.

        Raises
        ------
        ServiceUnreachableError, ServiceTimeoutError, ServiceFailedError
            Nothing was stored, or it was and the answer was lost: send the same batch again.
        StorageError
            The tenant is unknown, or the schema is not what this code needs.
        """
        try:
            return self._deliver(batch)
        except ConstraintViolatedError:  # perhaps what we remember is not there any more: ask anew the next time
            self._series.forget(self.tenants.key(batch.tenant_id))
            self.tenants.forget(batch.tenant_id)
            self._backend.forget()
            raise

    def delivered(self, agent_id: str, epoch: str, tenant_id: str) -> Delivered | None:
        """Return how far a spool is delivered, or None if nothing of it was ever stored."""
        spool = {"agent_id": agent_id, "epoch": epoch, "tenant_key": self.tenants.key(tenant_id)}
        with self._database.transaction("read the delivery cursor") as cursor:
            row = cursor.execute(QUERIES["delivered"], spool).fetchone()
        return None if row is None else Delivered(int(row[0]), tuple(zip(row[1], row[2], strict=True)))

    def heartbeat(
        self, agent_id: str, host: str, version: str, started_at: datetime, state: Mapping[str, object]
    ) -> None:
        """Say that an agent lives; `state` is JSON for people."""
        row = {
            "agent_id": agent_id,
            "host": host,
            "version": version,
            "started_at": started_at,
            "state": json.dumps(dict(state)),
        }
        with self._database.transaction("send a heartbeat") as cursor:
            cursor.execute(QUERIES["heartbeat"], row)

    def expected_peaks(self, tenant_ids: Sequence[str], host: str, now: datetime) -> list[datetime]:
        """Return when, in the next 24 hours, forecasts of a host are near their highest and unusually high."""
        row = {"tenant_ids": list(tenant_ids), "host": host, "now": now}
        with self._database.transaction("read the expected peaks") as cursor:
            return [ts for (ts,) in cursor.execute(QUERIES["expected_peaks"], row)]

    def _deliver(self, batch: DeliveryBatch) -> DeliveryResult:
        tenant_key = self.tenants.key(batch.tenant_id)
        series = list(dict.fromkeys(one.series for one in batch.samples if abs(one.value) <= LARGEST_VALUE))
        known = dict(zip(series, self._series.resolved(tenant_key, series), strict=True))
        place = _place(batch, tenant_key)
        said = f"deliver samples of tenant {batch.tenant_id!r} from agent {batch.agent_id!r}"
        with self._database.transaction(said) as cursor:
            acked, stored = _one(cursor.execute(QUERIES["lock_cursor"], place))
            if stored:
                return DeliveryResult(applied=False, acked_seq=acked)
            samples, refusals = self._sorted_out(cursor, tenant_key, batch, known)
            series_ids = [known[sample.series].series_id for sample in samples]
            added = self._insert(cursor, tenant_key, samples, series_ids, batch.notes)
            if batch.clock_events:
                cursor.execute(QUERIES["note_clock_events"], _clock_columns(tenant_key, batch.clock_events))
            book_refusals(cursor, tenant_key, AGENT, (*refusals, *batch.quarantined))
            (acked,) = _one(cursor.execute(QUERIES["move_cursor"], place))
        return DeliveryResult(
            applied=True,
            acked_seq=acked,
            rows=added,
            duplicates=len(samples) - added,
            refused=len(batch.samples) - len(samples),
        )

    def _sorted_out(
        self, cursor: Cursor, tenant_key: int, batch: DeliveryBatch, known: Mapping[SeriesKey, KnownSeries]
    ) -> tuple[Sequence[Sample], Sequence[Refusal]]:
        """Return the samples that can be stored, and what is wrong with the others."""
        if not batch.samples:
            return (), ()
        _, limits = read_limits(cursor, tenant_key)
        return sorted_out(batch.samples, known, limits)

    def _insert(
        self,
        cursor: Cursor,
        tenant_key: int,
        samples: Sequence[Sample],
        series_ids: Sequence[int],
        notes: Sequence[DeliveryNote],
    ) -> int:
        """Store samples and counts; return how many samples are new."""
        self._backend.before_write(cursor, [sample.ts for sample in samples])
        counts: defaultdict[_Source, _Count] = defaultdict(_Count)
        sources = {key: sample.series for key, sample in zip(series_ids, samples, strict=True)}
        total = 0
        for start in range(0, len(samples), SLICE_SAMPLES):
            part = slice(start, start + SLICE_SAMPLES)
            cursor.execute(QUERIES["insert_samples"], _sample_columns(tenant_key, series_ids[part], samples[part]))
            for series_id, hour, sent, added, late in cursor.fetchall():
                count = counts[sources[series_id].host, sources[series_id].collector, hour]
                count.samples += sent
                count.duplicates += sent - added
                count.late += late
                total += added
        _add_notes(counts, notes)
        if counts:
            cursor.execute(QUERIES["count"], _columns(tenant_key, counts))
        return total


def _sample_columns(tenant_key: int, series_ids: Sequence[int], samples: Sequence[Sample]) -> dict[str, object]:
    return {
        "tenant_key": tenant_key,
        "series_ids": list(series_ids),
        "ts": [sample.ts for sample in samples],
        "values": [sample.value for sample in samples],
    }


def _place(batch: DeliveryBatch, tenant_key: int) -> dict[str, object]:
    """Return which part of which cursor a batch is."""
    return {
        "agent_id": batch.agent_id,
        "epoch": batch.epoch,
        "tenant_key": tenant_key,
        "first_seq": batch.first_seq,
        "last_seq": batch.last_seq,
        "settled_seq": batch.first_seq - 1 if batch.settled_seq is None else batch.settled_seq,
    }


def _one(cursor: Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return row


def _clock_columns(tenant_key: int, events: Sequence[ClockEvent]) -> dict[str, object]:
    return {
        "tenant_key": tenant_key,
        "hosts": [event.host for event in events],
        "ts": [event.ts for event in events],
        "kinds": [event.kind.value for event in events],
        "seconds": [event.seconds for event in events],
    }


def _add_notes(counts: defaultdict[_Source, _Count], notes: Sequence[DeliveryNote]) -> None:
    for note in notes:
        count = counts[note.host, note.collector, note.hour]
        count.intervals += note.intervals
        count.gap_seconds += note.gap_seconds
        count.bytes += note.bytes


def _columns(tenant_key: int, counts: Mapping[_Source, _Count]) -> dict[str, object]:
    ordered = sorted(counts.items(), key=lambda item: item[0])
    return {
        "tenant_key": tenant_key,
        "hosts": [source[0] for source, _ in ordered],
        "collectors": [source[1] for source, _ in ordered],
        "hours": [source[2] for source, _ in ordered],
        "intervals": [count.intervals for _, count in ordered],
        "samples": [count.samples for _, count in ordered],
        "duplicates": [count.duplicates for _, count in ordered],
        "late": [count.late for _, count in ordered],
        "gap_seconds": [count.gap_seconds for _, count in ordered],
        "bytes": [count.bytes for _, count in ordered],
    }
