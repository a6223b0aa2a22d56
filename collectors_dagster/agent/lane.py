"""One way from the spool to the store: a stretch of records for one tenant, read, closed and sent batch by batch."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from collectors_dagster.agent.given_up import hole_between, read_given_up
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.intervals import ClosedInterval, Intervals, border_records
from collectors_dagster.agent.reader import Observation, SpoolReader
from collectors_dagster.agent.share import Share
from collectors_dagster.integrations.timescale.delivery import DeliveryBatch, DeliveryNote
from collectors_dagster.integrations.timescale.sorting_out import quarantined
from collectors_dagster.security.sealing import Sealer
from collectors_dagster.tenants import Tenant

BATCH_SAMPLES = 10_000
"""A batch is sent when it holds this many samples, or when all that is written was read."""


class Lane:
    """Reads the spool for one tenant, batch by batch.

    Parameters
    ----------
    acked_seq : int
        Everything up to here is stored, or not this lane's.
    until_seq : int or None
        Last record of the stretch; ``None``: it has no end.
    batch_samples : int
        Samples of a batch, at least; a segment's worth more.

    Attributes
    ----------
    full : bool
        Whether the last batch left something in the spool: the lane is behind.
    refusals : int
        How often the store refused the present batch.
    retry_at : float
        Monotonic time before which the lane is left alone.
    gave_up_for : str or None
        Why the last batch was given up that was.
    share : Share
        Which series the tenant gets.
    """

    def __init__(
        self,
        tenant: Tenant,
        identity: Identity,
        acked_seq: int,
        *,
        sample_interval_seconds: float,
        until_seq: int | None = None,
        batch_samples: int = BATCH_SAMPLES,
        sealer: Sealer | None = None,
    ) -> None:
        self.tenant = tenant
        self.acked_seq = acked_seq
        self.until_seq = until_seq
        self.last_seen_seq = acked_seq
        self.full = False
        self.refusals = 0
        self.retry_at = 0.0
        self.gave_up_for: str | None = None
        self._identity = identity
        self._batch_samples = batch_samples
        from_seq = max(0, acked_seq + 1 - border_records(sample_interval_seconds))
        self._reader = SpoolReader(identity.directory, from_seq, sealer)
        self.share = Share(tenant.system.scope, max_series=tenant.system.max_series, tenant_id=tenant.id)
        self._intervals = Intervals(
            identity.host,
            tenant.system.collectors,
            share=self.share,
            detail=tenant.system.detail,
            resolution_seconds=tenant.system.collection_interval_seconds,
            sample_interval_seconds=sample_interval_seconds,
        )
        self._waiting: list[ClosedInterval] = []
        self._exhausted = False
        self._began = False
        self._batch: DeliveryBatch | None = None
        self._batched = 0

    @property
    def done(self) -> bool:
        """Whether everything of the stretch is delivered."""
        return self.acked_seq == self.until_seq

    def bound(self, until_seq: int) -> None:
        """End the lane behind a record that is the last of an interval and was not passed yet."""
        assert self.last_seen_seq <= until_seq
        self.until_seq = until_seq

    def next_batch(self) -> DeliveryBatch | None:
        """Return what to send now: the same batch until it is confirmed, ``None`` if nothing is complete."""
        if self._batch is None:
            if not self._waiting:
                self._read()
            if self._waiting or (self._exhausted and not self.done):
                self._take(len(self._waiting))
        return self._batch

    def confirm(self) -> datetime | None:
        """Go on behind the batch, which is stored; return the end of its newest interval."""
        assert self._batch is not None
        sent, self._waiting = self._waiting[: self._batched], self._waiting[self._batched :]
        self.acked_seq = self._batch.last_seq
        self._batch, self.refusals, self.retry_at = None, 0, 0.0
        return max((closed.end for closed in sent), default=None)

    def narrow(self) -> bool:
        """Halve a batch that the store refuses, to find what it refuses; tell whether there was anything to halve."""
        if self._batched < 2:
            return False
        self._take(self._batched // 2)
        return True

    def give_up(self, reason: str) -> None:
        """Replace the batch by one that only counts it: it is kept elsewhere, and the lane goes on behind it."""
        assert self._batch is not None
        self.gave_up_for, self.retry_at = reason, 0.0
        kept = quarantined(self._batch.samples, reason)
        self._batch = replace(self._batch, samples=(), notes=(), clock_events=(), quarantined=kept)

    def close(self) -> None:
        """Close the spool's file."""
        self._reader.close()

    def _read(self) -> None:
        samples = 0
        while samples < self._batch_samples and not self._exhausted:
            found = self._reader.read()
            if not found:
                self.full = False
                return
            for closed in filter(None, map(self._seen, found)):
                self._waiting.append(closed)
                samples += len(closed.samples)
        self.full = not self._exhausted

    def _seen(self, seen: Observation) -> ClosedInterval | None:
        if self._exhausted:
            return None
        if not self._began and seen.seq > self.acked_seq:
            self._began = True
            self._look_before(seen)
        if self.until_seq is not None and seen.seq > self.until_seq:
            self._exhausted = True
            return self._intervals.finish()
        if seen.seq <= self.acked_seq:
            self._intervals.prime(seen)
            return None
        self.last_seen_seq = seen.seq
        return self._intervals.add(seen)

    def _look_before(self, seen: Observation) -> None:
        """Book what was given up between what is delivered and the first record that is not."""
        end_seq = seen.seq if self.until_seq is None else min(seen.seq, self.until_seq + 1)
        known = read_given_up(self._identity.directory)
        hole = hole_between(known, self.acked_seq, end_seq, seen.wall_ns - seen.span_ns)
        if hole is not None:
            self._waiting.append(self._intervals.lost(hole.from_ns, hole.to_ns, hole.last_seq))

    def _take(self, intervals: int) -> None:
        """Make the batch of the first waiting intervals; the last one of the stretch reaches to its end."""
        taken = self._waiting[:intervals]
        complete = self._exhausted and intervals == len(self._waiting)
        self._batched = intervals
        self._batch = DeliveryBatch(
            agent_id=self._identity.agent_id,
            epoch=self._identity.epoch,
            tenant_id=self.tenant.id,
            first_seq=self.acked_seq + 1,
            last_seq=self.until_seq if complete and self.until_seq is not None else taken[-1].last_seq,
            samples=[sample for closed in taken for sample in closed.samples],
            notes=_notes(self._identity.host, taken),
            clock_events=[event for closed in taken for event in closed.clock_events],
        )


def _notes(host: str, intervals: Iterable[ClosedInterval]) -> list[DeliveryNote]:
    return [
        DeliveryNote(host, collector, hour, note.intervals, note.gap_seconds, note.bytes)
        for closed in intervals
        for (collector, hour), note in closed.notes.items()
    ]
