"""One tenant's way from the spool to the store: what is read, closed and waiting to be acknowledged."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.intervals import BORDER_RECORDS, ClosedInterval, Intervals
from collectors_dagster.agent.reader import SpoolReader
from collectors_dagster.agent.share import Share
from collectors_dagster.integrations.timescale.delivery import DeliveryBatch, DeliveryNote, DeliveryResult
from collectors_dagster.tenants import Tenant

BATCH_SAMPLES = 10_000
"""A batch is sent when it holds this many samples, or when all that is written was read."""


@dataclass(slots=True)
class LaneProgress:
    """How far a tenant's delivery is.

    Attributes
    ----------
    delivered_until : datetime or None
        End of the newest interval in the database.
    series, refused_series, refused_series_total : int
        See :class:`~collectors_dagster.agent.share.Share`.
    """

    acked_seq: int
    delivered_until: datetime | None = None
    rows: int = 0
    duplicates: int = 0
    series: int = 0
    refused_series: int = 0
    refused_series_total: int = 0
    last_error: str | None = None


class Lane:
    """Reads the spool for one tenant, batch by batch.

    Parameters
    ----------
    acked_seq : int
        Everything up to here is stored, or not due to this tenant.
    """

    def __init__(self, tenant: Tenant, identity: Identity, acked_seq: int, *, sample_interval_seconds: float) -> None:
        self.tenant = tenant
        self.progress = LaneProgress(acked_seq)
        self._identity = identity
        self._reader = SpoolReader(identity.directory, max(0, acked_seq + 1 - BORDER_RECORDS))
        self._share = Share(tenant.system.scope, max_series=tenant.system.max_series, tenant_id=tenant.id)
        self._intervals = Intervals(
            identity.host,
            tenant.system.collectors,
            share=self._share,
            detail=tenant.system.detail,
            resolution_seconds=tenant.system.collection_interval_seconds,
            sample_interval_seconds=sample_interval_seconds,
        )
        self._waiting: list[ClosedInterval] = []
        self._batch: DeliveryBatch | None = None

    def next_batch(self) -> DeliveryBatch | None:
        """Return what to send now: the same batch until it is confirmed, ``None`` if nothing is complete."""
        if self._batch is None:
            self._read()
            self._batch = self._batched() if self._waiting else None
        return self._batch

    def confirm(self, result: DeliveryResult) -> None:
        """Go on behind the batch, which is stored."""
        assert self._batch is not None
        self.progress.acked_seq = max(self._batch.last_seq, result.acked_seq)
        self.progress.delivered_until = self._waiting[-1].end
        self.progress.rows += result.rows
        self.progress.duplicates += result.duplicates
        self.progress.last_error = None
        self._batch, self._waiting = None, []

    def close(self) -> None:
        """Close the spool's file."""
        self._reader.close()

    def _read(self) -> None:
        self._advance()
        self.progress.series = self._share.series
        self.progress.refused_series = self._share.refused_series
        self.progress.refused_series_total = self._share.refused_total

    def _advance(self) -> None:
        samples = 0
        while samples < BATCH_SAMPLES:
            found = self._reader.read()
            if not found:
                return
            for seen in found:
                if seen.seq <= self.progress.acked_seq:
                    self._intervals.prime(seen)
                elif closed := self._intervals.add(seen):
                    self._waiting.append(closed)
                    samples += len(closed.samples)

    def _batched(self) -> DeliveryBatch:
        return DeliveryBatch(
            agent_id=self._identity.agent_id,
            epoch=self._identity.epoch,
            tenant_id=self.tenant.id,
            first_seq=self.progress.acked_seq + 1,
            last_seq=self._waiting[-1].last_seq,
            samples=[sample for closed in self._waiting for sample in closed.samples],
            notes=_notes(self._identity.host, self._waiting),
        )


def _notes(host: str, intervals: Iterable[ClosedInterval]) -> list[DeliveryNote]:
    return [
        DeliveryNote(host, collector, hour, note.intervals, note.gap_seconds, note.bytes)
        for closed in intervals
        for (collector, hour), note in closed.notes.items()
    ]
