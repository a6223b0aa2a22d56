"""All lanes of one tenant: the fresh one, which follows the sampling, and those that catch up a backlog.

After an outage the lane is far behind. It is then bounded at a border near the end of the spool, and a fresh lane
begins there: new samples do not wait for old ones. Both make the intervals that one lane would have made, and the
store's cursor knows which ranges are delivered, so that a crash of any moment finds every lane again.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain

from collectors_dagster.agent.fresh import fresh_start, look_back_records
from collectors_dagster.agent.identity import Identity
from collectors_dagster.agent.lane import BATCH_SAMPLES, Lane
from collectors_dagster.agent.reader import SpoolReader
from collectors_dagster.agent.segments import list_segments
from collectors_dagster.agent.timing import NANOSECONDS
from collectors_dagster.integrations.timescale.delivery import Delivered, DeliveryBatch, DeliveryResult
from collectors_dagster.logs import get_logger
from collectors_dagster.security.sealing import Sealer
from collectors_dagster.tenants import Tenant

log = get_logger("delivery")


@dataclass(slots=True)
class LaneProgress:
    """How far a tenant's delivery is.

    Attributes
    ----------
    acked_seq : int
        Everything up to here is stored, or was not due to the tenant.
    backlog_records : int
        Records at most that are still to be caught up, beside the fresh ones.
    delivered_until : datetime or None
        End of the newest interval in the database.
    quarantined_batches : int
        Batches that the store refused for good, since the start.
    series, refused_series, refused_series_total : int
        As the fresh lane's :class:`~collectors_dagster.agent.share.Share` tells.
    """

    acked_seq: int
    backlog_records: int = 0
    delivered_until: datetime | None = None
    rows: int = 0
    duplicates: int = 0
    quarantined_batches: int = 0
    series: int = 0
    refused_series: int = 0
    refused_series_total: int = 0
    last_error: str | None = None


def due_stretches(delivered: Delivered, begun_seq: int) -> list[tuple[int, int | None]]:
    """Return what is to be delivered: the last number before each stretch, and its last one (the newest has none).

    Parameters
    ----------
    begun_seq : int
        First record that is due to the tenant at all.

    Examples
    --------
    >>> due_stretches(Delivered(9, ((20, 29),)), begun_seq=1)
    [(9, 19), (29, None)]
    >>> due_stretches(Delivered(9, ((20, 29),)), begun_seq=26)
    [(29, None)]
    """
    place, found = max(delivered.acked_seq, begun_seq - 1), []
    for first, last in delivered.ahead:
        if first - 1 > place:
            found.append((place, first - 1))
        place = max(place, last)
    return [*found, (place, None)]


class TenantLanes:
    """The lanes of one tenant, oldest first; the last one is the fresh one.

    Parameters
    ----------
    delivered : Delivered
        What the store has.
    begun_seq : int
        First record that is due to the tenant.
    """

    def __init__(
        self,
        tenant: Tenant,
        identity: Identity,
        delivered: Delivered,
        begun_seq: int,
        *,
        sample_interval_seconds: float,
        batch_samples: int = BATCH_SAMPLES,
        sealer: Sealer | None = None,
    ) -> None:
        self.tenant = tenant
        self._sealer = sealer
        self._identity = identity
        self._sample_interval = sample_interval_seconds
        self._batch_samples = batch_samples
        self._lanes = [self._lane(after, until) for after, until in due_stretches(delivered, begun_seq)]
        self.progress = LaneProgress(self.acked_seq)
        self._measure()

    @property
    def acked_seq(self) -> int:
        """Everything up to here is stored, or was not due."""
        return self._lanes[0].acked_seq

    @property
    def fresh(self) -> Lane:
        """The lane that follows the sampling."""
        return self._lanes[-1]

    @property
    def backlog(self) -> Lane | None:
        """The oldest lane that catches up, if any."""
        return self._lanes[0] if len(self._lanes) > 1 else None

    def next_batch(self, lane: Lane) -> DeliveryBatch | None:
        """Return what a lane has to send now."""
        batch = lane.next_batch()
        self._tell_share()
        return None if batch is None else replace(batch, settled_seq=min(self.acked_seq, batch.first_seq - 1))

    def confirm(self, lane: Lane, result: DeliveryResult) -> None:
        """Go on behind a lane's batch, which is stored; a lane that has caught up ends."""
        newest, progress = lane.confirm(), self.progress
        if newest is not None:
            progress.delivered_until = max(newest, progress.delivered_until or newest)
        progress.rows += result.rows
        progress.duplicates += result.duplicates
        progress.last_error = None
        if lane.done:
            self._lanes.remove(lane)
            lane.close()
            log.info("a backlog is caught up", tenant=self.tenant.id, until_seq=lane.until_seq)
        self._measure()

    def split(self) -> None:
        """Begin a new fresh lane near the end of the spool, if the present one is behind and that is ahead of it."""
        behind = self.fresh
        start = self._fresh_start() if behind.full else None
        if start is None or start < behind.last_seen_seq:
            return
        behind.bound(start)
        self._lanes.append(self._lane(start, None))
        self._measure()
        log.info("fresh samples go first; the backlog is caught up beside them", tenant=self.tenant.id, from_seq=start)

    def close(self) -> None:
        """Close the spool's files."""
        for lane in self._lanes:
            lane.close()

    def _lane(self, after_seq: int, until_seq: int | None) -> Lane:
        return Lane(
            self.tenant,
            self._identity,
            after_seq,
            sample_interval_seconds=self._sample_interval,
            until_seq=until_seq,
            batch_samples=self._batch_samples,
            sealer=self._sealer,
        )

    def _fresh_start(self) -> int | None:
        resolution = self.tenant.system.collection_interval_seconds
        segments = list_segments(self._identity.directory)
        if not segments or segments[-1].first_seq <= self.fresh.last_seen_seq:
            return None
        first = segments[-1].first_seq - look_back_records(resolution, self._sample_interval)
        reader = SpoolReader(self._identity.directory, max(0, first), self._sealer)
        try:
            newest = chain.from_iterable(iter(reader.read, []))  # one segment after the other: memory is counted
            return fresh_start(newest, round(resolution * NANOSECONDS))
        finally:
            reader.close()

    def _measure(self) -> None:
        self.progress.acked_seq = self.acked_seq
        self.progress.backlog_records = sum(
            lane.until_seq - lane.acked_seq for lane in self._lanes if lane.until_seq is not None
        )

    def _tell_share(self) -> None:
        share, progress = self.fresh.share, self.progress
        progress.series = share.series
        progress.refused_series = share.refused_series
        progress.refused_series_total = share.refused_total
